package server

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
)

// watched is the drift of a served model "m".
func watched(t *testing.T, size int) *drift {
	models := live.NewModels()
	_, err := models.Swap(plainModel{live.Info{Model: api.Model{ID: "m", Revision: "r1", Mode: "wa", Modes: []string{"wa"}, ContextLength: 1}}})
	require.NoError(t, err)
	return newDrift(size, models)
}

// plainModel is a model that describes itself and scores nothing.
type plainModel struct{ info live.Info }

func (m plainModel) Info() live.Info { return m.info }

func (plainModel) Lane(string) (*batch.Lane, error) { panic("not asked for") }

func (plainModel) Prepare(*api.Input, live.PrepareOptions) ([]live.Prepared, error) {
	panic("not asked for")
}

func (plainModel) Aggregate([]float32, string, float64) (float64, float64, error) {
	panic("not asked for")
}

// gauges returns the collector's values by name and labels.
func gauges(t *testing.T, d *drift) map[string]float64 {
	reg := prometheus.NewRegistry()
	reg.MustRegister(d)
	families, err := reg.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := strings.TrimPrefix(f.GetName(), "warm_reward_")
			for _, l := range m.Label {
				if l.GetName() != "model" {
					key += " " + l.GetValue()
				}
			}
			out[key] = m.Gauge.GetValue()
		}
	}
	return out
}

// draw gives n answers of a normal distribution whose reward grows with length.
func draw(rng *rand.Rand, n int, mean, std, perToken, spread float64) []api.Reward {
	out := make([]api.Reward, n)
	for i := range out {
		tokens := 50 + rng.IntN(100)
		s := float32(spread * (0.5 + rng.Float64()))
		out[i] = api.Reward{Reward: float32(mean + std*rng.NormFloat64() + perToken*float64(tokens-100)), Tokens: tokens, Std: &s}
	}
	return out
}

func TestDriftIsMeasuredAgainstTheFirstRewards(t *testing.T) {
	const n = 2000
	rng := rand.New(rand.NewPCG(1, 2))
	d := watched(t, n)
	d.observe("m", "r1", "both", draw(rng, n-1, 1, 2, 0, 0.5))
	assert.NotContains(t, gauges(t, d), "reference_mean both r1", "the reference is not complete")
	d.observe("m", "r1", "both", draw(rng, 1, 1, 2, 0, 0.5))
	got := gauges(t, d)
	assert.InDelta(t, 1, got["reference_mean both r1"], 0.2)
	assert.InDelta(t, 2, got["reference_std both r1"], 0.15)
	assert.NotContains(t, got, "drift_smd both r1", "there is nothing to compare yet")

	// The same distribution: no drift.
	d.observe("m", "r1", "both", draw(rng, n, 1, 2, 0, 0.5))
	got = gauges(t, d)
	assert.InDelta(t, 0, got["drift_smd both r1"], 4*math.Sqrt(2.0/n))
	assert.InDelta(t, 1, got["drift_std_ratio both r1"], 0.1)
	assert.Less(t, got["drift_psi both r1"], 0.05)
	assert.InDelta(t, 0, got["length_correlation both r1"], 0.1)
	assert.InDelta(t, 1, got["disagreement_ratio r1"], 0.1)
	assert.InDelta(t, 0.5, got["disagreement r1"], 0.05)

	// One and a half deviations up, half as wide, growing with length, and the
	// members disagree three times as much: a policy that found a hole.
	d.observe("m", "r1", "both", draw(rng, n, 4, 1, 0.03, 1.5))
	got = gauges(t, d)
	assert.InDelta(t, 1.5, got["drift_smd both r1"], 0.15)
	wide := math.Sqrt(1 + 0.03*0.03*100*100/12)
	assert.InDelta(t, wide/2, got["drift_std_ratio both r1"], 0.06)
	assert.Greater(t, got["drift_psi both r1"], 0.25)
	assert.InDelta(t, 0.03*100/math.Sqrt(12)/wide, got["length_correlation both r1"], 0.06)
	assert.InDelta(t, 3, got["disagreement_ratio r1"], 0.2)
	assert.InDelta(t, 4, got["recent_mean both r1"], 0.15)
}

func TestModesAndRevisionsAreWatchedApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	d := watched(t, 100)
	d.observe("m", "r1", "wa", draw(rng, 200, 0, 1, 0, 1))
	d.observe("m", "r2", "wa", draw(rng, 200, 9, 1, 0, 1))
	d.observe("m", "r2", "member:a", draw(rng, 200, -9, 1, 0, 1))
	got := gauges(t, d)
	assert.InDelta(t, 0, got["reference_mean r1 wa"]+got["reference_mean wa r1"], 0.5)
	for _, key := range []string{"wa r1", "wa r2", "member:a r2"} {
		assert.Contains(t, got, "drift_smd "+key)
		assert.InDelta(t, 0, got["drift_smd "+key], 0.7, key)
	}
}

func TestOldRevisionsAndRemovedModelsAreForgotten(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	d := watched(t, 10)
	var forgotten []string
	d.forget = func(model, revision string) { forgotten = append(forgotten, model+" "+revision) }
	for i := range 6 {
		d.observe("m", fmt.Sprint("r", i), "wa", draw(rng, 20, 0, 1, 0, 1))
		d.observe("m", "r0", "wa", draw(rng, 1, 0, 1, 0, 1)) // still asked for
	}
	assert.Equal(t, []string{"m r1", "m r2", "m r3"}, forgotten)
	d.spread("m", "r9", []float64{1})
	assert.Equal(t, "m r4", forgotten[3])
	_, ok := d.models.Remove("m")
	require.True(t, ok)
	assert.Empty(t, gauges(t, d))
	assert.ElementsMatch(t, []string{"m r0", "m r5", "m r9"}, forgotten[4:])
	assert.Empty(t, d.rewards)
	assert.Empty(t, d.spreads)
}

func TestConstantsHaveNoDrift(t *testing.T) {
	d := watched(t, 100)
	same := make([]api.Reward, 300)
	for i := range same {
		same[i] = api.Reward{Reward: 2, Tokens: 7}
	}
	d.observe("m", "r1", "wa", same)
	got := gauges(t, d)
	assert.Equal(t, 2.0, got["recent_mean wa r1"])
	assert.Equal(t, 0.0, got["drift_psi wa r1"])
	for _, key := range []string{"drift_smd", "drift_std_ratio", "length_correlation"} {
		assert.NotContains(t, got, key+" wa r1", "a division by zero is not a figure")
	}
}

func TestARingHoldsTheLastValuesInTheirOrder(t *testing.T) {
	var r ring
	for i := range 25 {
		r.add(float64(i), 10)
	}
	assert.Equal(t, []float64{22, 23, 24}, r.last(3))
	assert.Len(t, r.last(10), 10)
	assert.Equal(t, 15.0, r.last(10)[0])
}

func BenchmarkDriftObserve(b *testing.B) {
	d := newDrift(1000, live.NewModels())
	data := draw(rand.New(rand.NewPCG(1, 2)), 1, 0, 1, 0, 1)
	b.ReportAllocs()
	for b.Loop() {
		d.observe("m", "r", "wa", data)
	}
}
