package contest

import (
	"cmp"
	"fmt"
	"iter"
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

// Add adds the n-th part of other outcomes.
func (o *Outcomes) Add(other Outcomes, n int) {
	o.Win += other.Win / float64(n)
	o.Tie += other.Tie / float64(n)
	o.Loss += other.Loss / float64(n)
}

// Sum returns the win rates of outcomes, and their means in percent: wins, ties and losses.
func Sum(results []Outcomes) (rates []float64, percent []string) {
	var mean Outcomes
	for _, o := range results {
		rates = append(rates, o.Half())
		mean.Add(o, len(results))
	}
	return rates, []string{Percent(mean.Win), Percent(mean.Tie), Percent(mean.Loss)}
}

// Half is the win rate with a tie as half a win.
func (o Outcomes) Half() float64 { return o.Win + o.Tie/2 }

// Duel returns the outcomes of independent samples with the probabilities p and q,
// judged by the values that both share.
func Duel(p, q, values []float64) Outcomes {
	var o Outcomes
	below := 0.0 // of q
	for tied := range Tied(values) {
		pHere, qHere := 0.0, 0.0
		for _, i := range tied {
			pHere += p[i]
			qHere += q[i]
		}
		o.Win += pHere * below
		o.Tie += pHere * qHere
		below += qHere
	}
	o.Loss = max(0, 1-o.Win-o.Tie)
	return o
}

// Tied goes through the places of values from the smallest value on, those of equal ones together.
func Tied(values []float64) iter.Seq[[]int] {
	compare := func(a, b int) int { return cmp.Compare(values[a], values[b]) }
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(compare(a, b), a-b) })
	return func(yield func([]int) bool) {
		for rest := order; len(rest) > 0; {
			n := 1
			for n < len(rest) && compare(rest[0], rest[n]) == 0 {
				n++
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}
