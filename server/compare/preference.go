package compare

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Estimate is a figure with its 95 % interval.
type Estimate struct {
	Value, Low, High float64
}

// z95 is the quantile of the normal distribution that leaves 2.5 % above it.
var z95 = distuv.UnitNormal.Quantile(0.975)

// Share returns the share k of n with Wilson's interval. n is at least 1.
func Share(k, n int) Estimate {
	if k < 0 || n < 1 || k > n {
		panic(fmt.Sprintf("compare: share of %d in %d, want 0 ≤ k ≤ n and n ≥ 1", k, n))
	}
	p, m, z2 := float64(k)/float64(n), float64(n), z95*z95
	middle := (p + z2/(2*m)) / (1 + z2/m)
	half := z95 / (1 + z2/m) * math.Sqrt(p*(1-p)/m+z2/(4*m*m))
	// The ends of the scale are reached exactly, whatever the rounding.
	return Estimate{Value: p, Low: max(0, min(p, middle-half)), High: min(1, max(p, middle+half))}
}

// Preferences counts how a scorer judged pairs.
type Preferences struct {
	Wins   int // the chosen answer's score is the higher one
	Ties   int // the scores are equal
	Losses int
}

// Count judges the pairs (chosen[i], rejected[i]), which hold no NaN.
func Count(chosen, rejected []float64) Preferences {
	sameLength(chosen, rejected)
	var p Preferences
	for i := range chosen {
		switch {
		case chosen[i] > rejected[i]:
			p.Wins++
		case chosen[i] == rejected[i]:
			p.Ties++
		default:
			p.Losses++
		}
	}
	return p
}

// Pairs returns how many were judged.
func (p Preferences) Pairs() int { return p.Wins + p.Ties + p.Losses }

// Accuracy is the share of wins: a tie counts against it.
func (p Preferences) Accuracy() Estimate { return Share(p.Wins, p.Pairs()) }

// TiesAsHalf is the accuracy with each tie as half a win.
func (p Preferences) TiesAsHalf() float64 {
	return (float64(p.Wins) + float64(p.Ties)/2) / float64(p.Pairs())
}

// MeanMargin is the mean of chosen[i] − rejected[i].
func MeanMargin(chosen, rejected []float64) float64 {
	sameLength(chosen, rejected)
	sum := 0.0
	for i := range chosen {
		sum += chosen[i] - rejected[i]
	}
	return sum / float64(len(chosen))
}

// Agreement is the share of pairs on which two scorers' margins have one sign:
// both prefer the same answer, or both see a tie.
func Agreement(a, b []float64) Estimate {
	sameLength(a, b)
	same := 0
	for i := range a {
		if sign(a[i]) == sign(b[i]) {
			same++
		}
	}
	return Share(same, len(a))
}

func sign(v float64) int {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// AccuracyDifference returns the accuracy of the scorer with the margins a
// less that of b, on the same pairs, and the two-sided p-value of McNemar's
// exact test that the two are equally good.
//
// The interval is Agresti and Min's: Wald's, after half a pair was added to
// each of the four cells.
func AccuracyDifference(a, b []float64) (diff Estimate, p float64) {
	sameLength(a, b)
	onlyA, onlyB := 0, 0
	for i := range a {
		switch winA, winB := a[i] > 0, b[i] > 0; {
		case winA && !winB:
			onlyA++
		case winB && !winA:
			onlyB++
		}
	}
	n := float64(len(a)) + 2
	pa, pb := (float64(onlyA)+0.5)/n, (float64(onlyB)+0.5)/n
	middle := pa - pb
	half := z95 * math.Sqrt((pa+pb-middle*middle)/n)
	value := float64(onlyA-onlyB) / float64(len(a))
	diff = Estimate{Value: value, Low: max(-1, min(value, middle-half)), High: min(1, max(value, middle+half))}
	if onlyA+onlyB == 0 {
		return diff, 1
	}
	fair := distuv.Binomial{N: float64(onlyA + onlyB), P: 0.5}
	return diff, min(1, 2*fair.CDF(float64(min(onlyA, onlyB))))
}

func sameLength(a, b []float64) {
	if len(a) != len(b) || len(a) == 0 {
		panic(fmt.Sprintf("compare: %d and %d values, want equally many and at least one", len(a), len(b)))
	}
}
