package lab

import (
	"fmt"

	"github.com/warmserve/warmserve/trainer/eval"
)

// Estimate is a figure with its 95 % interval.
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

// resamples of every interval.
const resamples = 1000

// Mean estimates the mean of values over items that come in clusters.
func Mean(values []float64, clusters []string) (Estimate, error) {
	mean := func(index []int) float64 {
		sum := 0.0
		for _, i := range index {
			sum += values[i]
		}
		return sum / float64(len(index))
	}
	all := make([]int, len(values))
	for i := range all {
		all[i] = i
	}
	in, err := eval.Bootstrap(len(values), mean, eval.Resampling{Resamples: resamples, Seed: 1, Clusters: clusters})
	if err != nil {
		return Estimate{}, err
	}
	return Estimate{mean(all), in.Low, in.High}, nil
}

// wins is 1 for each pair whose chosen answer has the larger reward.
func wins(margins []float64) []float64 {
	out := make([]float64, len(margins))
	for i, m := range margins {
		if m > 0 {
			out[i] = 1
		}
	}
	return out
}

// Accuracy estimates the accuracy of margins.
func Accuracy(margins []float64, clusters []string) (Estimate, error) {
	return Mean(wins(margins), clusters)
}

// Difference estimates how much more accurate a is than b, both judged on the
// same pairs: the bootstrap is paired.
func Difference(a, b []float64, clusters []string) (Estimate, error) {
	x, y := wins(a), wins(b)
	for i := range x {
		x[i] -= y[i]
	}
	return Mean(x, clusters)
}

// Judge turns a difference into an outcome: seen when all of its interval is
// above 0, contradicted when all is below.
func (e Estimate) Judge() Outcome {
	switch {
	case e.Low > 0:
		return Seen
	case e.High < 0:
		return Contradicted
	}
	return Unclear
}
