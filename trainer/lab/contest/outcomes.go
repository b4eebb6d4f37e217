package contest

import (
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/eval"
)

// The kinds of selectors.
const (
	KindSingle = "single RM"
	KindWA     = "WA"
	KindENS    = "ENS (mean)"
	KindMin    = "ENS (min)"
)

// MeanStd returns the mean and the population's standard deviation.
func MeanStd(values []float64) (mean, std float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		std += (v - mean) * (v - mean) / float64(len(values))
	}
	return mean, math.Sqrt(std)
}

// Labels names a set of labels.
func Labels(swapped float64) string {
	if swapped == 0 {
		return "clean labels"
	}
	return fmt.Sprintf("%.0f %% of labels swapped", 100*swapped)
}

// Deviations prints a figure in standard deviations, with its interval.
func Deviations(e eval.Estimate) string {
	return fmt.Sprintf("%+.2f [%+.2f, %+.2f]", e.Value, e.Low, e.High)
}

// Percent prints a share in percent.
func Percent(share float64) string { return fmt.Sprintf("%.1f", 100*share) }

// Outcomes are the probabilities that one side's sample has the larger value, that
// the other's has, and that neither has.
type Outcomes struct{ Win, Tie, Loss float64 }

// Half is the win rate with a tie as half a win.
func (o Outcomes) Half() float64 { return o.Win + o.Tie/2 }

// Duel returns the outcomes of independent samples with the probabilities p and q,
// judged by the values that both share.
func Duel(p, q, values []float64) Outcomes {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case values[a] < values[b]:
			return -1
		case values[a] > values[b]:
			return 1
		}
		return a - b
	})
	var o Outcomes
	below := 0.0 // of q
	for lo := 0; lo < len(order); {
		hi, pHere, qHere := lo, 0.0, 0.0
		for ; hi < len(order) && values[order[hi]] == values[order[lo]]; hi++ {
			pHere += p[order[hi]]
			qHere += q[order[hi]]
		}
		o.Win += pHere * below
		o.Tie += pHere * qHere
		below += qHere
		lo = hi
	}
	o.Loss = max(0, 1-o.Win-o.Tie)
	return o
}
