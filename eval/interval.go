package eval

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Estimate is a figure with its interval, of 95 % where nothing else is said.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// String prints the estimate and its interval.
func (e Estimate) String() string { return fmt.Sprintf("%.4f [%.4f, %.4f]", e.Value, e.Low, e.High) }

// Percent prints an accuracy in percent, with its interval.
func (e Estimate) Percent() string {
	return fmt.Sprintf("%.1f [%.1f, %.1f]", 100*e.Value, 100*e.Low, 100*e.High)
}

// Points prints a difference of accuracies in percentage points.
func (e Estimate) Points() string {
	return fmt.Sprintf("%+.2f [%+.2f, %+.2f]", 100*e.Value, 100*e.Low, 100*e.High)
}

// z95 is the quantile of the normal distribution that leaves 2.5 % above it.
var z95 = distuv.UnitNormal.Quantile(0.975)

// Share is the share of k among n independent trials with Wilson's score interval. It stays within
// [0, 1] and is sound for few trials and for shares near 0 and 1, where the usual ±1.96 standard
// errors are not. It panics unless 0 ≤ k ≤ n and n ≥ 1: those are the caller's own numbers.
//
//	centre = (p + z²/2n) / (1 + z²/n), half width = z/(1 + z²/n) · √(p(1−p)/n + z²/4n²)
func Share(k, n int) Estimate {
	if n < 1 || k < 0 || k > n {
		panic(fmt.Sprintf("eval: share of %d in %d, want 0 ≤ k ≤ n and n ≥ 1", k, n))
	}
	p, m := float64(k)/float64(n), float64(n)
	scale := 1 / (1 + z95*z95/m)
	centre := (p + z95*z95/(2*m)) * scale
	half := z95 * scale * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	// The ends of the scale are reached exactly, whatever the rounding.
	return Estimate{Value: p, Low: max(0, min(p, centre-half)), High: min(1, max(p, centre+half))}
}

// Resampling says how [Bootstrap] draws.
type Resampling struct {
	// Resamples is how many samples are drawn, at least 100. Default 2000.
	Resamples int
	// Level is the confidence level in (0, 1). Default 0.95.
	Level float64
	// Seed chooses the draws: one seed, one result.
	Seed uint64
	// Clusters names the cluster of each item when items are not independent, such as pairs that
	// share a text or a debate. Whole clusters are drawn then. Nil: every item is its own.
	Clusters []string
}

// Bootstrap is a statistic of n items with its percentile interval. statistic is given the indices of
// all of them, and those of samples drawn with replacement, and must neither keep nor change them.
// Values that are NaN are an error: a statistic that some samples leave undefined has no such interval.
//
// The draws depend on the seed alone, not on the machine or the time.
func Bootstrap(n int, statistic func(index []int) float64, o Resampling) (Estimate, error) {
	o.Resamples = cmp.Or(o.Resamples, 2000)
	o.Level = cmp.Or(o.Level, 0.95)
	switch {
	case n < 1:
		return Estimate{}, ErrEmpty
	case o.Resamples < 100:
		return Estimate{}, fmt.Errorf("eval: %d resamples are too few for an interval, want at least 100",
			o.Resamples)
	case !(o.Level > 0 && o.Level < 1):
		return Estimate{}, fmt.Errorf("eval: level %v is outside (0, 1)", o.Level)
	case o.Clusters != nil && len(o.Clusters) != n:
		return Estimate{}, fmt.Errorf("%w: %d clusters for %d items", ErrLength, len(o.Clusters), n)
	}
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	whole := statistic(index)
	units := clusters(n, o.Clusters)
	r := rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15)) // the second word only has to be fixed
	values := make([]float64, o.Resamples)
	for i := range values {
		index = index[:0]
		for range units {
			index = append(index, units[r.IntN(len(units))]...)
		}
		if values[i] = statistic(index); math.IsNaN(values[i]) {
			return Estimate{}, errors.New("eval: the statistic is NaN for a sample")
		}
	}
	slices.Sort(values)
	tail := (1 - o.Level) / 2
	return Estimate{
		Value: whole,
		Low:   stat.Quantile(tail, stat.LinInterp, values, nil),
		High:  stat.Quantile(1-tail, stat.LinInterp, values, nil),
	}, nil
}

// clusters groups the items 0 … n−1, in the order of each cluster's first item.
func clusters(n int, names []string) [][]int {
	var out [][]int
	at := map[string]int{}
	for i := range n {
		if names == nil {
			out = append(out, []int{i})
			continue
		}
		j, ok := at[names[i]]
		if !ok {
			j = len(out)
			at[names[i]] = j
			out = append(out, nil)
		}
		out[j] = append(out[j], i)
	}
	return out
}

// StrictInterval is the strict accuracy of pairs with its bootstrap interval.
func StrictInterval(chosen, rejected []float64, o Resampling) (Estimate, error) {
	if err := check(chosen, rejected); err != nil {
		return Estimate{}, err
	}
	return Bootstrap(len(chosen), func(index []int) float64 {
		wins := 0
		for _, i := range index {
			if chosen[i] > rejected[i] {
				wins++
			}
		}
		return float64(wins) / float64(len(index))
	}, o)
}
