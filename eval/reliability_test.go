package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logit is the margin of a probability.
func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// TestReliabilityOfSixPairsByHand has two bins of three pairs: confidences 0.5 (a tie), 0.6 (right),
// 0.7 (wrong), and 0.8, 0.9 (right), 0.75 (wrong).
func TestReliabilityOfSixPairsByHand(t *testing.T) {
	margins := []float64{logit(0.8), -logit(0.7), logit(0.9), 0, logit(0.6), -logit(0.75)}
	r, err := Reliable(margins, 2, 1)
	require.NoError(t, err)
	require.Len(t, r.Bins, 2)
	const exact = 1e-14 // a few roundings of numbers below 1
	first, second := r.Bins[0], r.Bins[1]
	assert.Equal(t, []int{3, 3}, []int{first.Pairs, second.Pairs})
	assert.InDelta(t, 0.5, first.Low, exact)
	assert.InDelta(t, 0.7, first.High, exact)
	assert.InDelta(t, 0.6, first.Confidence, exact)
	assert.InDelta(t, 0.5, first.Observed, exact, "a tie is half right: (0.5 + 1 + 0) / 3")
	assert.InDelta(t, 2.45/3, second.Confidence, exact)
	assert.InDelta(t, 2.0/3, second.Observed, exact)
	assert.InDelta(t, (3*0.1+2.45-2)/6, r.ECE, exact)
	assert.InDelta(t, (0.04+0.49+0.01+0.25+0.16+0.5625)/6, r.Brier, exact)
	assert.InDelta(t, -math.Log(0.8*0.3*0.9*0.5*0.6*0.25)/6, r.LogLoss, exact)
	assert.Less(t, r.Tempered, r.LogLoss)
	assert.Greater(t, r.Temperature, 1.0, "it is too sure of itself")
}

// calibrated draws margins of which each is of the better answer with the probability σ(|m|).
func calibrated(seed uint64, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float64, n)
	for i := range out {
		m := 1.5 * r.NormFloat64()
		if r.Float64() >= sigmoid(m) {
			m = -m
		}
		out[i] = m
	}
	return out
}

func TestTheErrorOfACalibratedModelVanishes(t *testing.T) {
	last := 1.0
	for _, n := range []int{500, 4000, 32000} {
		r, err := Reliable(calibrated(3, n), 10, 1)
		require.NoError(t, err)
		// A bin of n/10 pairs is off by 0.4 of √(10·0.2/n) on average; thrice that is never seen.
		assert.Less(t, r.ECE, 3*0.4*math.Sqrt(2/float64(n)))
		assert.Less(t, r.ECE, last)
		// The floor is the same chance once more: a mean of absolute values of ten bins.
		assert.InDelta(t, r.Floor, r.ECE, r.Floor)
		assert.InDelta(t, r.LogLoss, r.Tempered, 2/float64(n), "the gain of one fitted number is 1/2n on average")
		last = r.ECE
	}
}

func TestScalingMarginsScalesTheTemperatureThatMendsThem(t *testing.T) {
	base := calibrated(4, 10000)
	for _, factor := range []float64{0.25, 1, 3, 20} {
		t.Run(fmt.Sprint("factor ", factor), func(t *testing.T) {
			margins := make([]float64, len(base))
			for i, m := range base {
				margins[i] = factor * m
			}
			r, err := Reliable(margins, 10, 1)
			require.NoError(t, err)
			// The standard error of a slope on 10,000 pairs is about 2 %.
			assert.InEpsilon(t, factor, r.Temperature, 0.08)
			if factor != 1 {
				assert.Greater(t, r.ECE, 3*r.Floor, "it is not calibrated")
				assert.Less(t, r.Tempered, r.LogLoss)
			}
			for i := range margins {
				margins[i] /= r.Temperature
			}
			mended, err := Reliable(margins, 10, 1)
			require.NoError(t, err)
			assert.InDelta(t, 1, mended.Temperature, 1e-9, "the root is found to 50 bits")
			assert.Less(t, mended.ECE, 3*mended.Floor)
			assert.InDelta(t, r.Tempered, mended.LogLoss, 1e-12)
		})
	}
}

func TestTemperaturesThatDoNotExist(t *testing.T) {
	for name, c := range map[string]struct {
		margins           []float64
		temperature, loss float64
	}{
		"every pair right":         {[]float64{1, 2, 0.5}, 0, 0},
		"ties and nothing wrong":   {[]float64{1, 0}, 0, 0},
		"worse than a coin":        {[]float64{-1, -2, 0.5}, math.Inf(1), math.Ln2},
		"nothing but ties":         {[]float64{0, 0}, math.Inf(1), math.Ln2},
		"a mean margin of nothing": {[]float64{1, -1}, math.Inf(1), math.Ln2},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Reliable(c.margins, 1, 1)
			require.NoError(t, err)
			assert.Equal(t, c.temperature, r.Temperature)
			assert.InDelta(t, c.loss, r.Tempered, 1e-15)
		})
	}
	r, err := Reliable([]float64{1e300, -1e-300, 800}, 1, 1)
	require.NoError(t, err)
	assert.False(t, math.IsNaN(r.ECE+r.Brier+r.LogLoss+r.Tempered), "%+v", r)
}

func TestPropertiesOfReliability(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for trial := range 100 {
		n := 1 + r.IntN(80)
		margins := scores(r, n, trial%2 == 0)
		bins := 1 + r.IntN(n)
		a, err := Reliable(margins, bins, 1)
		require.NoError(t, err)
		pairs, sum := 0, 0.0
		for i, b := range a.Bins {
			pairs += b.Pairs
			sum += float64(b.Pairs) * math.Abs(b.Confidence-b.Observed) / float64(n)
			assert.True(t, b.Pairs == n/bins || b.Pairs == n/bins+1, "equal mass")
			assert.True(t, 0.5 <= b.Low && b.Low <= b.Confidence+1e-15 && b.Confidence <= b.High+1e-15 && b.High <= 1)
			assert.True(t, i == 0 || a.Bins[i-1].High <= b.Low)
		}
		assert.Equal(t, n, pairs)
		assert.InDelta(t, sum, a.ECE, 1e-14) // sums of n terms below 1
		assert.LessOrEqual(t, a.Tempered, a.LogLoss+1e-15)

		distinct := slices.Clone(margins)
		slices.Sort(distinct)
		if len(slices.Compact(distinct)) == n { // pairs of one confidence may change bins
			perm := make([]float64, n)
			for i, j := range r.Perm(n) {
				perm[i] = margins[j]
			}
			b, err := Reliable(perm, bins, 1)
			require.NoError(t, err)
			assert.Equal(t, a.Bins, b.Bins, "the order of pairs does not matter")
		}
	}
}

func TestTheIntervalOfTheErrorHoldsItAndNarrows(t *testing.T) {
	width := 1.0
	for _, n := range []int{200, 3200} {
		margins := calibrated(6, n)
		for i := range margins {
			margins[i] *= 3 // really off by about 0.13
		}
		r, err := Reliable(margins, 10, 1)
		require.NoError(t, err)
		in, err := ECEInterval(margins, 10, Resampling{Resamples: 400, Seed: 1})
		require.NoError(t, err)
		assert.True(t, in.Low < r.ECE && r.ECE < in.High, "%v in %v", r.ECE, in)
		assert.Less(t, in.High-in.Low, 0.6*width, "four times the pairs halve it")
		width = in.High - in.Low
	}
	// Whole clusters: one cluster is always drawn whole, so that nothing scatters.
	margins := calibrated(7, 50)
	r, err := Reliable(margins, 5, 1)
	require.NoError(t, err)
	in, err := ECEInterval(margins, 5, Resampling{Clusters: make([]string, 50)})
	require.NoError(t, err)
	assert.Equal(t, Estimate{r.ECE, r.ECE, r.ECE}, in)
}

func TestReliabilityRefusesWhatItCannotMeasure(t *testing.T) {
	_, err := Reliable(nil, 1, 1)
	assert.ErrorIs(t, err, ErrEmpty)
	_, err = Reliable([]float64{math.NaN()}, 1, 1)
	assert.ErrorIs(t, err, ErrNotFinite)
	for _, bins := range []int{0, 3} {
		_, err = Reliable([]float64{1, 2}, bins, 1)
		assert.ErrorContains(t, err, "bins")
		_, err = ECEInterval([]float64{1, 2}, bins, Resampling{})
		assert.ErrorContains(t, err, "bins")
	}
	assert.Equal(t, []int{1, 1, 2, 10, 10}, []int{DefaultBins(1), DefaultBins(39), DefaultBins(40), DefaultBins(200), DefaultBins(1 << 20)})
}

func BenchmarkECEInterval(b *testing.B) {
	margins := calibrated(8, 2000)
	for b.Loop() {
		if _, err := ECEInterval(margins, 10, Resampling{}); err != nil {
			b.Fatal(err)
		}
	}
}
