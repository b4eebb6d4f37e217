package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"
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
	assert.Equal(t, 0.5, a.Strict())
	assert.Equal(t, 0.625, a.Half())
}

func TestAModelThatTiesEverythingHasAccuracyZero(t *testing.T) {
	a, err := Compare([]float64{1, 1}, []float64{1, 1})
	require.NoError(t, err)
	assert.Equal(t, 0.0, a.Strict())
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
			for _, f := range []func(x, y []float64) (float64, error){Pearson, Spearman, Kendall} {
				_, err = f(c.chosen, c.rejected)
				assert.ErrorIs(t, err, c.want)
			}
			_, err = StrictInterval(c.chosen, c.rejected, Resampling{})
			assert.ErrorIs(t, err, c.want)
			_, err = ByGroup(make([]string, len(c.chosen)), c.chosen, c.rejected)
			assert.ErrorIs(t, err, c.want)
			_, err = LengthMatched(c.chosen, c.rejected, nil, nil, 1)
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

		all, err := LengthMatched(c, d, make([]int, n), make([]int, n), 0)
		require.NoError(t, err)
		assert.Equal(t, a, all, "equal lengths match at any tolerance")
	}
}

func TestGroupsAddUpToTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	c, d := scores(r, 500, true), scores(r, 500, true)
	groups := make([]string, 500)
	for i := range groups {
		groups[i] = fmt.Sprint("g", r.IntN(7))
	}
	whole, err := Compare(c, d)
	require.NoError(t, err)
	parts, err := ByGroup(groups, c, d)
	require.NoError(t, err)
	require.Len(t, parts, 7)
	var wins, ties, pairs int
	margin, macro := 0.0, 0.0
	for i, g := range parts {
		assert.Equal(t, fmt.Sprint("g", i), g.Name, "sorted by name")
		wins, ties, pairs = wins+g.Wins, ties+g.Ties, pairs+g.Pairs
		margin += g.Margin * float64(g.Pairs)
		macro += g.Strict() / 7
	}
	assert.Equal(t, []int{whole.Wins, whole.Ties, whole.Pairs}, []int{wins, ties, pairs})
	assert.InDelta(t, whole.Margin, margin/500, 1e-12) // two orders of one sum
	assert.InDelta(t, macro, Macro(parts), 1e-15)      // two orders of one mean
	assert.True(t, math.IsNaN(Macro(nil)))
	_, err = ByGroup(groups[1:], c, d)
	assert.ErrorIs(t, err, ErrLength)
}

func TestLengthMatchingTakesPairsWithinTheTolerance(t *testing.T) {
	c, d := []float64{1, 0, 1, 0}, []float64{0, 1, 0, 1}
	cl, dl := []int{100, 100, 100, 0}, []int{90, 89, 112, 0}
	for tolerance, pairs := range map[float64]int{0: 1, 0.1: 2, 0.11: 4, 1: 4} {
		a, err := LengthMatched(c, d, cl, dl, tolerance)
		require.NoError(t, err)
		assert.Equal(t, pairs, a.Pairs, "%v", tolerance)
	}
	_, err := LengthMatched(c, d, []int{1, 1, 1, 1}, []int{2, 2, 2, 2}, 0.1)
	assert.ErrorIs(t, err, ErrEmpty)
	_, err = LengthMatched(c, d, cl[1:], dl, 0.1)
	assert.ErrorIs(t, err, ErrLength)
	_, err = LengthMatched(c, d, []int{-1, 1, 1, 1}, dl, 0.1)
	assert.ErrorContains(t, err, "negative")
	for _, bad := range []float64{-0.1, 1.1, math.NaN()} {
		_, err = LengthMatched(c, d, cl, dl, bad)
		assert.ErrorContains(t, err, "tolerance")
	}
}

// The values are method 3 of table I in Newcombe, Two-sided confidence intervals for the single
// proportion, Statistics in Medicine 17, 1998; it prints four digits.
func TestWilsonIntervalsAreTheKnownOnes(t *testing.T) {
	for _, c := range []struct {
		wins, n   int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}} {
		in := Wilson(c.wins, c.n, 0.95)
		assert.InDelta(t, c.low, in.Low, 5e-5, "%+v", c)
		assert.InDelta(t, c.high, in.High, 5e-5, "%+v", c)
	}
	assert.Panics(t, func() { Wilson(2, 1, 0.95) })
	assert.Panics(t, func() { Wilson(0, 0, 0.95) })
	assert.Panics(t, func() { Wilson(0, 1, 1) })
}

// A Wilson bound is where the score test just does not reject: |p − bound| = z·√(bound(1−bound)/n).
func TestWilsonBoundsSolveTheScoreEquation(t *testing.T) {
	const z = 1.959963984540054
	for n := 1; n < 60; n += 7 {
		for wins := range n + 1 {
			in := Wilson(wins, n, 0.95)
			p := float64(wins) / float64(n)
			for _, b := range []float64{in.Low, in.High} {
				if b > 0 && b < 1 {
					assert.InDelta(t, math.Abs(p-b), z*math.Sqrt(b*(1-b)/float64(n)), 1e-9) // z to 1e-15, a root of it
				}
			}
			assert.LessOrEqual(t, in.Low, p)
			assert.GreaterOrEqual(t, in.High, p)
			mirror := Wilson(n-wins, n, 0.95)
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
	w := a.Interval(0.95)
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
	assert.Equal(t, Interval{3, 3}, in)
}

// kendallByPairs is τ-b from its definition.
func kendallByPairs(x, y []float64) float64 {
	var agree, nx, ny float64
	for i := range x {
		for j := range i {
			dx, dy := x[i]-x[j], y[i]-y[j]
			switch {
			case dx*dy > 0:
				agree++
			case dx*dy < 0:
				agree--
			}
			if dx != 0 {
				nx++
			}
			if dy != 0 {
				ny++
			}
		}
	}
	return agree / math.Sqrt(nx*ny)
}

func TestKendallIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	for trial := range 300 {
		n := 3 + r.IntN(40)
		x, y := scores(r, n, trial%2 == 0), scores(r, n, trial%3 == 0)
		got, err := Kendall(x, y)
		if err != nil {
			assert.ErrorIs(t, err, ErrConstant)
			continue
		}
		assert.InDelta(t, kendallByPairs(x, y), got, 1e-14) // counts are exact; a root and two divisions
		if trial%2 == 1 && trial%3 != 0 {
			assert.InDelta(t, stat.Kendall(x, y, nil), got, 1e-12, "without ties τ-b is gonum's τ-a")
		}
	}
}

func TestPropertiesOfAgreement(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	measures := map[string]func(x, y []float64) (float64, error){"Pearson": Pearson, "Spearman": Spearman, "Kendall": Kendall}
	for name, f := range measures {
		t.Run(name, func(t *testing.T) {
			for trial := range 100 {
				n := 5 + r.IntN(50)
				x, y := scores(r, n, trial%2 == 0), scores(r, n, false)
				if trial%2 == 0 {
					x[0], x[1] = 0, 1 // never constant
				}
				v, err := f(x, y)
				require.NoError(t, err)
				assert.True(t, v >= -1 && v <= 1)
				apply := func(s []float64, g func(float64) float64) []float64 {
					out := make([]float64, len(s))
					for i := range s {
						out[i] = g(s[i])
					}
					return out
				}
				same := func(want float64, a, b []float64, what string) {
					got, err := f(a, b)
					require.NoError(t, err)
					assert.InDelta(t, want, got, 1e-9, what) // sums of 50 products of rounded scores
				}
				same(v, y, x, "the sides may be exchanged")
				same(1, x, x, "a vector agrees with itself")
				same(-1, x, apply(x, func(v float64) float64 { return -v }), "and opposes its negative")
				same(v, apply(x, func(v float64) float64 { return 3*v + 100 }), y, "shift and scale do not matter")
				same(v, apply(x, func(v float64) float64 { return v * 1e200 }), y, "nor does a scale whose square overflows")
				if name != "Pearson" {
					same(v, apply(x, math.Exp), y, "only order matters")
				}
			}
		})
	}
}

// The values are worked out by hand. Pearson: sums of products 10, 10.8 and 14. Spearman: ranks
// 1 2.5 2.5 4 5 and 2 1 3.5 3.5 5 with sums 7.25, 9.5 and 9.5. Kendall: 7 pairs agree, 1 does not,
// and each side ties one of the 10.
func TestAgreementOfAKnownExample(t *testing.T) {
	x, y := []float64{1, 2, 2, 4, 5}, []float64{2, 1, 3, 3, 6}
	for name, c := range map[string]struct {
		f    func(x, y []float64) (float64, error)
		want float64
	}{"Pearson": {Pearson, 10 / math.Sqrt(10.8*14)}, "Spearman": {Spearman, 7.25 / 9.5}, "Kendall": {Kendall, 6.0 / 9}} {
		got, err := c.f(x, y)
		require.NoError(t, err, name)
		assert.InDelta(t, c.want, got, 1e-12, name) // a handful of roundings
	}
}

func TestConstantScoresHaveNoCorrelation(t *testing.T) {
	for _, f := range []func(x, y []float64) (float64, error){Pearson, Spearman, Kendall} {
		_, err := f([]float64{1, 1, 1}, []float64{1, 2, 3})
		assert.ErrorIs(t, err, ErrConstant)
		_, err = f([]float64{1, 2, 3}, []float64{5, 5, 5})
		assert.ErrorIs(t, err, ErrConstant)
		_, err = f([]float64{1}, []float64{1})
		assert.ErrorIs(t, err, ErrConstant)
	}
}

func BenchmarkKendall(b *testing.B) {
	r := rand.New(rand.NewPCG(6, 1))
	x, y := scores(r, 10_000, true), scores(r, 10_000, true)
	for b.Loop() {
		_, _ = Kendall(x, y)
	}
}

func BenchmarkStrictInterval(b *testing.B) {
	r := rand.New(rand.NewPCG(6, 1))
	c, d := scores(r, 5000, false), scores(r, 5000, false)
	for b.Loop() {
		_, _ = StrictInterval(c, d, Resampling{})
	}
}
