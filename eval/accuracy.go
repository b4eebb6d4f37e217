package eval

import (
	"errors"
	"fmt"
	"math"
)

// ErrEmpty is returned when there is nothing to judge.
var ErrEmpty = errors.New("eval: no pairs")

// ErrLength is returned when slices that belong together differ in length.
var ErrLength = errors.New("eval: slices differ in length")

// ErrNotFinite is returned when a score is NaN or infinite: no preference can be read from it.
var ErrNotFinite = errors.New("eval: a score is not finite")

// Accuracy is how the scores of some pairs stand to their preferences.
type Accuracy struct {
	// Pairs = Wins + Ties + Losses; at least 1.
	Pairs int
	// Wins have chosen > rejected strictly, Ties chosen == rejected, Losses chosen < rejected.
	Wins, Ties, Losses int
	// Margin is the mean of chosen − rejected, in the unit of the scores.
	Margin float64
}

// Strict is the share of wins, in [0, 1], with its interval; ties count as losses. It is the headline
// figure. The interval holds for pairs that are independent; where texts recur among pairs it is too
// narrow, use [Bootstrap] with clusters.
func (a Accuracy) Strict() Estimate { return Share(a.Wins, a.Pairs) }

// Half is the share of wins with half a win for each tie, in [0, 1].
func (a Accuracy) Half() float64 { return (float64(a.Wins) + float64(a.Ties)/2) / float64(a.Pairs) }

// Compare judges pairs: chosen[i] and rejected[i] are the scores of pair i.
func Compare(chosen, rejected []float64) (Accuracy, error) {
	if err := check(chosen, rejected); err != nil {
		return Accuracy{}, err
	}
	return Count(chosen, rejected), nil
}

// Count is Compare of scores that are known to be finite, of as many chosen answers as rejected ones.
func Count(chosen, rejected []float64) Accuracy {
	sameLength(chosen, rejected)
	a := Accuracy{Pairs: len(chosen)}
	sum, lost := 0.0, 0.0 // Neumaier's sum: margins of both signs cancel
	for i, c := range chosen {
		r := rejected[i]
		switch {
		case c > r:
			a.Wins++
		case c < r:
			a.Losses++
		default:
			a.Ties++
		}
		m := c - r
		t := sum + m
		if math.Abs(sum) >= math.Abs(m) {
			lost += (sum - t) + m
		} else {
			lost += (m - t) + sum
		}
		sum = t
	}
	a.Margin = (sum + lost) / float64(a.Pairs)
	return a
}

// check demands two slices of one length, not empty, of finite numbers.
func check(a, b []float64) error {
	if len(a) != len(b) {
		return fmt.Errorf("%w: %d and %d", ErrLength, len(a), len(b))
	}
	if len(a) == 0 {
		return ErrEmpty
	}
	for _, s := range [][]float64{a, b} {
		for i, v := range s {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("%w: index %d is %v", ErrNotFinite, i, v)
			}
		}
	}
	return nil
}

// LengthMatchedPairs returns the indices of the pairs whose answers are about equally long, where a
// model that prefers the longer answer cannot profit from it:
// |a − b| ≤ tolerance · max(a, b). Lengths are in any one unit, not negative; tolerance is in [0, 1],
// where 0.1 means ten percent and 1 takes every pair. When no pair matches the error is ErrEmpty.
func LengthMatchedPairs(chosenLen, rejectedLen []int, tolerance float64) ([]int, error) {
	if len(rejectedLen) != len(chosenLen) {
		return nil, fmt.Errorf("%w: %d lengths of chosen answers, %d of rejected ones", ErrLength,
			len(chosenLen), len(rejectedLen))
	}
	if !(tolerance >= 0 && tolerance <= 1) {
		return nil, fmt.Errorf("eval: tolerance %v is outside [0, 1]", tolerance)
	}
	var index []int
	for i, c := range chosenLen {
		r := rejectedLen[i]
		if c < 0 || r < 0 {
			return nil, fmt.Errorf("eval: pair %d has a negative length", i)
		}
		if math.Abs(float64(c-r)) <= tolerance*float64(max(c, r)) {
			index = append(index, i)
		}
	}
	if index == nil {
		return nil, ErrEmpty
	}
	return index, nil
}
