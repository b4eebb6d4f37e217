package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scores draws n scores; coarse ones tie often.
func scores(r *rand.Rand, n int, coarse bool) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = r.NormFloat64() * 3
		if coarse {
			out[i] = math.Round(out[i])
		}
	}
	return out
}

func TestWinsTiesAndLossesAreCountedApart(t *testing.T) {
	a, err := Compare([]float64{2, 1, 0, 5}, []float64{1, 1, 3, -1})
	require.NoError(t, err)
	assert.Equal(t, Accuracy{Pairs: 4, Wins: 2, Ties: 1, Losses: 1, Margin: 1}, a)
	assert.Equal(t, 0.5, a.Strict().Value)
	assert.Equal(t, 0.625, a.Half())
}

func TestAModelThatTiesEverythingHasAccuracyZero(t *testing.T) {
	a, err := Compare([]float64{1, 1}, []float64{1, 1})
	require.NoError(t, err)
	assert.Equal(t, 0.0, a.Strict().Value)
	assert.Equal(t, 0.5, a.Half())
}

func TestBadScoresAreRefused(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for name, c := range map[string]struct {
		chosen, rejected []float64
		want             error
	}{
		"none":                    {nil, nil, ErrEmpty},
		"lengths that differ":     {[]float64{1}, []float64{1, 2}, ErrLength},
		"a chosen score of NaN":   {[]float64{nan}, []float64{1}, ErrNotFinite},
		"a rejected score of inf": {[]float64{1}, []float64{inf}, ErrNotFinite},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compare(c.chosen, c.rejected)
			assert.ErrorIs(t, err, c.want)
			_, err = StrictInterval(c.chosen, c.rejected, Resampling{})
			assert.ErrorIs(t, err, c.want)
		})
	}
}

func TestPropertiesOfAccuracy(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for trial := range 200 {
		n := 1 + r.IntN(60)
		c, d := scores(r, n, trial%2 == 0), scores(r, n, trial%2 == 0)
		a, err := Compare(c, d)
		require.NoError(t, err)
		assert.Equal(t, a.Pairs, a.Wins+a.Ties+a.Losses)

		back, err := Compare(d, c)
		require.NoError(t, err)
		assert.Equal(t, []int{a.Wins, a.Ties, a.Losses}, []int{back.Losses, back.Ties, back.Wins}, "exchanging the sides exchanges wins and losses")
		assert.InDelta(t, 1, a.Half()+back.Half(), 1e-15) // one rounding of each share
		assert.Equal(t, a.Margin, -back.Margin)

		perm := r.Perm(n)
		pc, pd := make([]float64, n), make([]float64, n)
		for i, j := range perm {
			pc[i], pd[i] = 2*c[j]+7, 2*d[j]+7
		}
		moved, err := Compare(pc, pd)
		require.NoError(t, err)
		assert.Equal(t, []int{a.Wins, a.Ties, a.Losses}, []int{moved.Wins, moved.Ties, moved.Losses}, "order, shift and scale do not matter")
		assert.InDelta(t, 2*a.Margin, moved.Margin, 1e-12) // rounding of 2x+7 at |x| < 20

		all, err := LengthMatchedPairs(make([]int, n), make([]int, n), 0)
		require.NoError(t, err)
		assert.Len(t, all, n, "equal lengths match at any tolerance")
	}
}

func TestLengthMatchingTakesPairsWithinTheTolerance(t *testing.T) {
	cl, dl := []int{100, 100, 100, 0}, []int{90, 89, 112, 0}
	for tolerance, pairs := range map[float64]int{0: 1, 0.1: 2, 0.11: 4, 1: 4} {
		index, err := LengthMatchedPairs(cl, dl, tolerance)
		require.NoError(t, err)
		assert.Len(t, index, pairs, "%v", tolerance)
	}
	_, err := LengthMatchedPairs([]int{1, 1, 1, 1}, []int{2, 2, 2, 2}, 0.1)
	assert.ErrorIs(t, err, ErrEmpty)
	_, err = LengthMatchedPairs(cl[1:], dl, 0.1)
	assert.ErrorIs(t, err, ErrLength)
	_, err = LengthMatchedPairs([]int{-1, 1, 1, 1}, dl, 0.1)
	assert.ErrorContains(t, err, "negative")
	for _, bad := range []float64{-0.1, 1.1, math.NaN()} {
		_, err = LengthMatchedPairs(cl, dl, bad)
		assert.ErrorContains(t, err, "tolerance")
	}
}

// A Wilson bound is where the score test just does not reject: |p − bound| = z·√(bound(1−bound)/n).
func TestWilsonBoundsSolveTheScoreEquation(t *testing.T) {
	const z = 1.959963984540054
	for n := 1; n < 60; n += 7 {
		for wins := range n + 1 {
			in := Share(wins, n)
			p := float64(wins) / float64(n)
			for _, b := range []float64{in.Low, in.High} {
				if b > 0 && b < 1 {
					assert.InDelta(t, math.Abs(p-b), z*math.Sqrt(b*(1-b)/float64(n)), 1e-9) // z to 1e-15, a root of it
				}
			}
			assert.LessOrEqual(t, in.Low, p)
			assert.GreaterOrEqual(t, in.High, p)
			mirror := Share(n-wins, n)
			assert.InDelta(t, 1-in.High, mirror.Low, 1e-12)
		}
	}
}

func TestBootstrapIsSeededAndCoversWhatWilsonCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	c, d := scores(r, 800, false), scores(r, 800, false)
	for i := range c {
		c[i] += 2
	}
	a, err := Compare(c, d)
	require.NoError(t, err)
	one, err := StrictInterval(c, d, Resampling{Seed: 7})
	require.NoError(t, err)
	two, err := StrictInterval(c, d, Resampling{Seed: 7})
	require.NoError(t, err)
	other, err := StrictInterval(c, d, Resampling{Seed: 8})
	require.NoError(t, err)
	assert.Equal(t, one, two)
	assert.NotEqual(t, one, other)
	// With 800 pairs both intervals are near ±1.96 standard errors (±0.033 here). They differ by the
	// bootstrap's own noise, about 0.1 standard errors = 0.002 for 2,000 samples; five times that is allowed.
	w := a.Strict()
	assert.InDelta(t, w.Low, one.Low, 0.01)
	assert.InDelta(t, w.High, one.High, 0.01)
}

func TestClustersWidenTheInterval(t *testing.T) {
	// 20 clusters of 50 equal pairs hold 20 independent facts, not 1,000.
	c, d, names := make([]float64, 1000), make([]float64, 1000), make([]string, 1000)
	for i := range c {
		names[i] = fmt.Sprint(i / 50)
		c[i] = float64(i / 50 % 2)
		d[i] = 0.5
	}
	free, err := StrictInterval(c, d, Resampling{})
	require.NoError(t, err)
	clustered, err := StrictInterval(c, d, Resampling{Clusters: names})
	require.NoError(t, err)
	// The widths' ratio is √50 = 7.1 in expectation.
	assert.Greater(t, clustered.High-clustered.Low, 4*(free.High-free.Low))
}

func TestBootstrapRefusesWhatGivesNoInterval(t *testing.T) {
	zero := func([]int) float64 { return 0 }
	_, err := Bootstrap(0, zero, Resampling{})
	assert.ErrorIs(t, err, ErrEmpty)
	_, err = Bootstrap(3, zero, Resampling{Resamples: 99})
	assert.ErrorContains(t, err, "too few")
	_, err = Bootstrap(3, zero, Resampling{Level: 1})
	assert.ErrorContains(t, err, "level")
	_, err = Bootstrap(3, zero, Resampling{Clusters: []string{"a"}})
	assert.ErrorIs(t, err, ErrLength)
	_, err = Bootstrap(3, func([]int) float64 { return math.NaN() }, Resampling{})
	assert.ErrorContains(t, err, "NaN")
	in, err := Bootstrap(3, func(index []int) float64 { return float64(len(index)) }, Resampling{})
	require.NoError(t, err)
	assert.Equal(t, Estimate{3, 3, 3}, in)
}

func BenchmarkStrictInterval(b *testing.B) {
	r := rand.New(rand.NewPCG(6, 1))
	c, d := scores(r, 5000, false), scores(r, 5000, false)
	for b.Loop() {
		_, _ = StrictInterval(c, d, Resampling{})
	}
}
