package lab

import (
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/eval"
)

// Tolerance is how far an accuracy may fall and still count as no worse: two
// percentage points, about what separates two members of one recipe.
const Tolerance = 0.02

// About tells an equality: seen when the difference lies within the tolerance,
// contradicted when it lies outside of it.
func About(difference eval.Estimate) Outcome {
	switch {
	case difference.Low >= -Tolerance && difference.High <= Tolerance:
		return Seen
	case difference.Low > Tolerance || difference.High < -Tolerance:
		return Contradicted
	}
	return Unclear
}

// NoWorse judges a difference that should not be below 0: seen when the interval
// leaves no more than the tolerance, contradicted when all of it is below.
func NoWorse(difference eval.Estimate) Outcome {
	switch {
	case difference.Low >= -Tolerance:
		return Seen
	case difference.High < 0:
		return Contradicted
	}
	return Unclear
}

// Minus is a − b, item by item.
func Minus(a, b []float64) []float64 {
	out := slices.Clone(a)
	for i := range out {
		out[i] -= b[i]
	}
	return out
}

// Averaged is the mean of several lists, item by item.
func Averaged(lists [][]float64) []float64 {
	out := slices.Clone(lists[0])
	for _, list := range lists[1:] {
		for i, v := range list {
			out[i] += v
		}
	}
	for i := range out {
		out[i] /= float64(len(lists))
	}
	return out
}

// Bootstrap estimates a statistic of n items that come in clusters, as every interval of a lab is made.
func Bootstrap(n int, statistic func(index []int) float64, clusters []string) (eval.Estimate, error) {
	return eval.Bootstrap(n, statistic, eval.Resampling{Resamples: 1000, Seed: 1, Clusters: clusters})
}

// Mean estimates the mean of values over items that come in clusters.
func Mean(values []float64, clusters []string) (eval.Estimate, error) {
	return Bootstrap(len(values), func(index []int) float64 {
		sum := 0.0
		for _, i := range index {
			sum += values[i]
		}
		return sum / float64(len(index))
	}, clusters)
}

// Wins is 1 for each pair whose chosen answer has the larger reward.
func Wins(margins []float64) []float64 {
	out := make([]float64, len(margins))
	for i, m := range margins {
		if m > 0 {
			out[i] = 1
		}
	}
	return out
}

// Accuracy estimates the accuracy of margins.
func Accuracy(margins []float64, clusters []string) (eval.Estimate, error) {
	return Mean(Wins(margins), clusters)
}

// Difference estimates how much more accurate a is than b, both judged on the
// same pairs: the bootstrap is paired.
func Difference(a, b []float64, clusters []string) (eval.Estimate, error) {
	return Mean(Minus(Wins(a), Wins(b)), clusters)
}

// Judge turns a difference into an outcome: seen when all of its interval is
// above 0, contradicted when all is below.
func Judge(e eval.Estimate) Outcome {
	switch {
	case e.Low > 0:
		return Seen
	case e.High < 0:
		return Contradicted
	}
	return Unclear
}

// Clustered says how many pairs there are and how many clusters of them are resampled.
func Clustered(clusters []string) string {
	return fmt.Sprintf("%d pairs in %d clusters", len(clusters), Distinct(clusters))
}

// Deciding says how many items, such as debates, would decide what an interval over n of them
// leaves unclear: n · (half of its width / distance to the nearest bound)². It is "" where a
// judge decides already.
func Deciding(judge func(eval.Estimate) Outcome, e eval.Estimate, n int, unit string) string {
	if judge(e) != Unclear {
		return ""
	}
	half := (e.High - e.Low) / 2
	decided := func(share float64) bool { // of the width
		return judge(eval.Estimate{Value: e.Value, Low: e.Value - share*half, High: e.Value + share*half}) != Unclear
	}
	const least = 1e-2 // ten thousand times as many items
	if !decided(least) {
		return fmt.Sprintf("; ten thousand times as many %s would not decide it", unit)
	}
	low, high := least, 1.0
	for range 40 {
		if mid := (low + high) / 2; decided(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	// The share is a bisection's: a thousandth more is no other item.
	return fmt.Sprintf("; about %d %s would decide it", max(n+1, int(math.Ceil(float64(n)/(low*low)*(1-1e-9)))), unit)
}
