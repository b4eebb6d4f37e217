package eval

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

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
	diff = Estimate{Value: value, Low: max(-1, min(value, middle-half)),
		High: min(1, max(value, middle+half))}
	if onlyA+onlyB == 0 {
		return diff, 1
	}
	fair := distuv.Binomial{N: float64(onlyA + onlyB), P: 0.5}
	return diff, min(1, 2*fair.CDF(float64(min(onlyA, onlyB))))
}

func sameLength(a, b []float64) {
	if len(a) != len(b) || len(a) == 0 {
		panic(fmt.Sprintf("eval: %d and %d values, want equally many and at least one", len(a), len(b)))
	}
}
