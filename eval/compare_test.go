package eval_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/warmserve/warmserve/eval"
)

func TestTiesAreCountedApartAndAgainstTheAccuracy(t *testing.T) {
	p := eval.Count([]float64{1, 2, 3, 0}, []float64{0, 2, 4, -1})
	assert.Equal(t, eval.Accuracy{Pairs: 4, Wins: 2, Ties: 1, Losses: 1, Margin: 0.25}, p)
	assert.Equal(t, 0.5, p.Strict().Value)
	assert.Equal(t, 0.625, p.Half())
}

func TestWilsonsInterval(t *testing.T) {
	// Newcombe, Stat. Med. 17 (1998), table I, method 3.
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}, {29, 29, 0.8830, 1}} {
		s := eval.Share(c.k, c.n)
		assert.InDelta(t, c.low, s.Low, 5e-5, "%d of %d", c.k, c.n)
		assert.InDelta(t, c.high, s.High, 5e-5, "%d of %d", c.k, c.n)
	}
}

// TestIntervalsHoldWhatTheyClaim draws samples whose true figure is known: of
// 2,000 intervals about 95 % contain it. Binomial noise is 0.5 %, and the
// intervals are approximations: three points are allowed.
func TestIntervalsHoldWhatTheyClaim(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const draws, n, rho = 2000, 60, 0.6
	hits := map[string]int{}
	in := func(name string, e eval.Estimate, truth float64) {
		if e.Low <= truth && truth <= e.High {
			hits[name]++
		}
	}
	for range draws {
		x, y, a, b := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
		wins := 0
		for i := range n {
			x[i] = rng.NormFloat64()
			y[i] = rho*x[i] + math.Sqrt(1-rho*rho)*rng.NormFloat64()
			common := rng.Float64() < 0.7
			win := func(p float64) float64 {
				if common || rng.Float64() < p {
					return 1
				}
				return -1
			}
			a[i], b[i] = win(0.6), win(0.3)
			if rng.Float64() < 0.8 {
				wins++
			}
		}
		in("share", eval.Share(wins, n), 0.8)
		diff, _ := eval.AccuracyDifference(a, b)
		in("difference", diff, 0.3*(0.6-0.3))
		r, ok := eval.Pearson(x, y, n)
		require.True(t, ok)
		in("pearson", r, rho)
		r, _ = eval.Spearman(x, y, n)
		in("spearman", r, 6/math.Pi*math.Asin(rho/2))
		r, _ = eval.Kendall(x, y, n)
		in("kendall", r, 2/math.Pi*math.Asin(rho))
	}
	for name, k := range hits {
		assert.InDelta(t, 0.95, float64(k)/draws, 0.03, name)
	}
	assert.Len(t, hits, 5)
}

// slowTau is the definition, pair by pair.
func slowTau(x, y []float64) float64 {
	s, tx, ty := 0.0, 0.0, 0.0
	sgn := func(v float64) float64 {
		if v == 0 {
			return 0
		}
		return math.Copysign(1, v)
	}
	for i := range x {
		for j := range i {
			dx, dy := sgn(x[i]-x[j]), sgn(y[i]-y[j])
			s += dx * dy
			tx += dx * dx
			ty += dy * dy
		}
	}
	return s / math.Sqrt(tx*ty)
}

func TestKendallIsTheDefinitionWithAndWithoutTies(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := 2; n < 70; n++ {
		x, y, cx, cy := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range n {
			x[i], y[i] = rng.NormFloat64(), rng.NormFloat64()
			cx[i], cy[i] = float64(rng.IntN(4)), float64(rng.IntN(3))
		}
		got, ok := eval.Kendall(x, y, n)
		require.True(t, ok)
		assert.InDelta(t, stat.Kendall(x, y, nil), got.Value, 1e-12, "gonum, without ties, n = %d", n)
		want := slowTau(cx, cy)
		got, ok = eval.Kendall(cx, cy, n)
		require.Equal(t, !math.IsNaN(want), ok)
		if ok {
			assert.InDelta(t, want, got.Value, 1e-12, "with ties, n = %d", n)
		}
	}
}

func TestCorrelationsOfMonotoneAndConstantScores(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6}
	cube := []float64{1, 8, 27, 64, 125, 216}
	for name, f := range map[string]func(x, y []float64, n int) (eval.Estimate, bool){"spearman": eval.Spearman, "kendall": eval.Kendall} {
		r, ok := f(x, cube, 6)
		require.True(t, ok)
		assert.Equal(t, eval.Estimate{Value: 1, Low: 1, High: 1}, r, name)
		_, ok = f(x, []float64{2, 2, 2, 2, 2, 2}, 6)
		assert.False(t, ok, "%s of a constant", name)
	}
	r, ok := eval.Pearson(x, cube, 6)
	require.True(t, ok)
	assert.Less(t, r.Value, 1.0)
	r, ok = eval.Spearman([]float64{1, 2}, []float64{2, 1}, 1)
	require.True(t, ok)
	assert.Equal(t, eval.Estimate{Value: -1, Low: -1, High: 1}, r, "a sample too small for an interval")
	// Equal values share their mean rank: ranks 1.5, 1.5, 3 against 1, 2, 3.
	r, _ = eval.Spearman([]float64{7, 7, 9}, []float64{1, 2, 3}, 3)
	assert.InDelta(t, math.Sqrt(3)/2, r.Value, 1e-15)
}

func TestMcNemar(t *testing.T) {
	a := []float64{1, 1, 1, 1, 1, 1, -1, 1, -1}
	b := []float64{-1, -1, -1, -1, -1, 0, 1, 1, -1}
	diff, p := eval.AccuracyDifference(a, b)
	assert.InDelta(t, 5.0/9, diff.Value, 1e-15)
	assert.InDelta(t, 2*distuv.Binomial{N: 7, P: 0.5}.CDF(1), p, 1e-15)
	back, q := eval.AccuracyDifference(b, a)
	assert.InDelta(t, -diff.Low, back.High, 1e-15)
	assert.Equal(t, p, q)
	same, p := eval.AccuracyDifference(a, a)
	assert.Equal(t, 0.0, same.Value)
	assert.Equal(t, 1.0, p)
	assert.Equal(t, 1.0, eval.Agreement(a, a).Value)
	assert.InDelta(t, 2.0/9, eval.Agreement(a, b).Value, 1e-15, "a tie agrees with a tie alone")
	assert.Equal(t, 2.0, eval.MeanAbsolute([]float64{1, 2}, []float64{-1, 4}))
}
