package server_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

func sampling(share float64) *servertest.Model {
	return servertest.New("m", func(i *live.Info) { i.Sample = share })
}

func (h *harness) eventuallyMetric(line string) {
	h.t.Helper()
	eventually(h.t, line, func() bool { return strings.Contains(string(h.get("/metrics").body), line) })
}

func TestASampleOfTheTrafficIsScoredByTheEnsembleToo(t *testing.T) {
	h := start(t, server.Config{}, sampling(1))
	for i := range 10 {
		got := h.post(fmt.Sprintf(`{"inputs":[{"prompt":"p","responses":["a%d","b"]}]}`, i)).rewards(t)
		assert.Nil(t, got.Data[0].Ensemble, "the answer is that of the average alone")
		assert.Nil(t, got.Data[0].Std)
	}
	h.post(`{"mode":"member:one","inputs":[{"text":"x"}]}`).rewards(t)
	h.eventuallyMetric(`warm_ab_samples_total{model="m",outcome="scored"} 10`)
	metrics := string(h.get("/metrics").body)
	assert.Contains(t, metrics, `warm_reward_std_count{model="m",revision="sha256:m"} 20`)
	assert.Contains(t, metrics, `warm_reward_gap_count{model="m",revision="sha256:m"} 20`)
	assert.Contains(t, metrics, `warm_batch_seconds_count{lane="m/member:two/background"}`)
	assert.Contains(t, metrics, `warm_reward_count{mode="wa",model="m",revision="sha256:m"} 20`)
	assert.NotContains(t, metrics, `warm_reward_count{mode="ens"`, "what nobody asked for is no traffic")

	// The figures are those of the mode both.
	both := h.post(`{"mode":"both","inputs":[{"text":"xyz"}]}`).rewards(t)
	before := histogramSum(t, h, "warm_reward_gap_sum")
	h.post(`{"inputs":[{"text":"xyz"}]}`).rewards(t)
	h.eventuallyMetric(`warm_ab_samples_total{model="m",outcome="scored"} 11`)
	assert.InDelta(t, math.Abs(float64(both.Data[0].Reward)-float64(*both.Data[0].Ensemble)), histogramSum(t, h, "warm_reward_gap_sum")-before, 1e-6)
}

func histogramSum(t *testing.T, h *harness, name string) float64 {
	for line := range strings.Lines(string(h.get("/metrics").body)) {
		if strings.HasPrefix(line, name) {
			var v float64
			_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v)
			require.NoError(t, err)
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestTheShareOfSampledTrafficIsTheOneAskedFor(t *testing.T) {
	for share, bounds := range map[float64][2]int{0: {0, 0}, 0.2: {20, 65}} {
		m := sampling(share)
		h := start(t, server.Config{}, m)
		for range 200 {
			h.post(one).rewards(t)
		}
		eventually(t, "samples end", func() bool {
			text := string(h.get("/metrics").body)
			return strings.Contains(text, "warm_queue_sequences 0")
		})
		n := len(m.Fakes["member:one"].Calls())
		// 40 of 200 are expected, with a standard deviation of 5.7.
		assert.GreaterOrEqual(t, n, bounds[0])
		assert.LessOrEqual(t, n, bounds[1])
	}
}

func TestASampleNeverDelaysOrFailsAnAnswer(t *testing.T) {
	m := sampling(1)
	entered, open := make(chan struct{}, 100), make(chan struct{})
	m.Fakes["member:one"].Before = func([]batch.Sequence) error {
		entered <- struct{}{}
		<-open
		return nil
	}
	m.Fakes["member:two"].Before = func(seqs []batch.Sequence) error {
		if seqs[0].IDs[0] == '!' {
			panic("a member that breaks")
		}
		return fmt.Errorf("a member that fails")
	}
	h := start(t, server.Config{}, m)
	h.post(one).rewards(t)
	<-entered
	// The engine computes the sample's first sequence now. What comes waits for
	// that one, and not for the others of the sample.
	var waits []<-chan *reply
	for range 5 {
		waits = append(waits, h.async(`{"inputs":[{"text":"!"}]}`))
	}
	h.eventuallyMetric("warm_queue_sequences 6")
	close(open)
	for _, w := range waits {
		(<-w).rewards(t)
	}
	h.eventuallyMetric(`warm_ab_samples_total{model="m",outcome="failed"} 6`)
	assert.NotContains(t, string(h.get("/metrics").body), `outcome="scored"`)
	assert.Equal(t, http.StatusOK, h.get("/readyz").status)
}

// TestAReplacedModelIsLetGoByItsSamples swaps a model one of whose samples is
// stuck: a load that waits for the old one's memory must not wait for it.
func TestAReplacedModelIsLetGoByItsSamples(t *testing.T) {
	m := sampling(1)
	entered, open := make(chan struct{}), make(chan struct{})
	defer close(open)
	m.Fakes["member:one"].Before = func([]batch.Sequence) error {
		close(entered)
		<-open
		return nil
	}
	h := start(t, server.Config{}, m)
	h.post(one).rewards(t)
	<-entered
	drained, err := h.models.Swap(servertest.New("m"))
	require.NoError(t, err)
	select {
	case <-drained:
	case <-time.After(5 * time.Second):
		t.Fatal("a sample kept hold of its model")
	}
	h.eventuallyMetric(`warm_ab_samples_total{model="m",outcome="dropped"} 1`)
}

func TestASampleNeedsAnEnsemble(t *testing.T) {
	models := live.NewModels()
	_, err := models.Swap(servertest.New("m", func(i *live.Info) { i.Sample, i.Modes = 0.1, []string{api.ModeWA} }))
	assert.ErrorContains(t, err, "a sample needs the modes wa and ens")
	_, err = models.Swap(servertest.New("m", func(i *live.Info) { i.Sample = 1.5 }))
	assert.ErrorContains(t, err, "sample 1.5, want a share in [0, 1]")
}

func TestAServerThatStopsDoesNotWaitForItsSamples(t *testing.T) {
	m := sampling(1)
	open := make(chan struct{})
	defer close(open)
	m.Fakes["member:one"].Before = func([]batch.Sequence) error { <-open; return nil }
	url, stop, done := run(t, server.Config{DrainTimeout: 500 * time.Millisecond}, m)
	for range 3 {
		status, _, err := fetch(url+"/livez", "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
	}
	status, _, err := fetch(url+"/v1/reward", one)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	time.AfterFunc(50*time.Millisecond, func() { stop() })
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the server hangs")
	}
}
