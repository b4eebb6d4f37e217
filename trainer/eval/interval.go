package eval

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is a range that holds the true value at a given confidence level.
type Interval struct{ Low, High float64 }

// Wilson is the Wilson score interval of a share of wins among n independent trials. It stays
// within [0, 1] and is sound for few trials and for shares near 0 and 1, where the usual
// ±1.96 standard errors are not. It panics unless 0 ≤ wins ≤ n, n ≥ 1 and 0 < level < 1: those are
// the caller's own numbers.
//
//	centre = (p + z²/2n) / (1 + z²/n), half width = z/(1 + z²/n) · √(p(1−p)/n + z²/4n²)
func Wilson(wins, n int, level float64) Interval {
	if n < 1 || wins < 0 || wins > n || !(level > 0 && level < 1) {
		panic(fmt.Sprintf("eval: Wilson(%d, %d, %v): want 0 ≤ wins ≤ n, n ≥ 1, 0 < level < 1", wins, n, level))
	}
	z := distuv.UnitNormal.Quantile(1 - (1-level)/2)
	p, m := float64(wins)/float64(n), float64(n)
	scale := 1 / (1 + z*z/m)
	centre := (p + z*z/(2*m)) * scale
	half := z * scale * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	in := Interval{centre - half, centre + half}
	// The bounds are exactly 0 and 1 at the ends, where rounding may miss them.
	if wins == 0 {
		in.Low = 0
	}
	if wins == n {
		in.High = 1
	}
	return in
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

// Bootstrap is the percentile interval of a statistic over n items. statistic is given the indices
// of a sample, drawn with replacement, and must neither keep nor change them. Values that are NaN
// are an error: a statistic that some samples leave undefined has no such interval.
//
// The draws depend on the seed alone, not on the machine or the time.
func Bootstrap(n int, statistic func(index []int) float64, o Resampling) (Interval, error) {
	if o.Resamples == 0 {
		o.Resamples = 2000
	}
	if o.Level == 0 {
		o.Level = 0.95
	}
	switch {
	case n < 1:
		return Interval{}, ErrEmpty
	case o.Resamples < 100:
		return Interval{}, fmt.Errorf("eval: %d resamples are too few for an interval, want at least 100", o.Resamples)
	case !(o.Level > 0 && o.Level < 1):
		return Interval{}, fmt.Errorf("eval: level %v is outside (0, 1)", o.Level)
	case o.Clusters != nil && len(o.Clusters) != n:
		return Interval{}, fmt.Errorf("%w: %d clusters for %d items", ErrLength, len(o.Clusters), n)
	}
	units := clusters(n, o.Clusters)
	r := rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15)) // the second word only has to be fixed
	values := make([]float64, o.Resamples)
	index := make([]int, 0, n)
	for i := range values {
		index = index[:0]
		for range units {
			index = append(index, units[r.IntN(len(units))]...)
		}
		if values[i] = statistic(index); math.IsNaN(values[i]) {
			return Interval{}, errors.New("eval: the statistic is NaN for a sample")
		}
	}
	slices.Sort(values)
	tail := (1 - o.Level) / 2
	return Interval{
		Low:  stat.Quantile(tail, stat.LinInterp, values, nil),
		High: stat.Quantile(1-tail, stat.LinInterp, values, nil),
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

// StrictInterval is the bootstrap interval of the strict accuracy of pairs.
func StrictInterval(chosen, rejected []float64, o Resampling) (Interval, error) {
	if err := check(chosen, rejected); err != nil {
		return Interval{}, err
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
