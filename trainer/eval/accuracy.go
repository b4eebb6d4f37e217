package eval

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
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

// Strict is the share of wins, in [0, 1]; ties count as losses. It is the headline figure.
func (a Accuracy) Strict() float64 { return float64(a.Wins) / float64(a.Pairs) }

// Half is the share of wins with half a win for each tie, in [0, 1].
func (a Accuracy) Half() float64 { return (float64(a.Wins) + float64(a.Ties)/2) / float64(a.Pairs) }

// Interval is the Wilson interval of Strict. level is in (0, 1), such as 0.95. It holds for pairs
// that are independent; where texts recur among pairs it is too narrow, use [Bootstrap] with clusters.
func (a Accuracy) Interval(level float64) Interval { return Wilson(a.Wins, a.Pairs, level) }

// Compare judges pairs: chosen[i] and rejected[i] are the scores of pair i.
func Compare(chosen, rejected []float64) (Accuracy, error) {
	if err := check(chosen, rejected); err != nil {
		return Accuracy{}, err
	}
	return compare(chosen, rejected, nil), nil
}

// compare judges the pairs of index, or all when index is nil. The slices have been checked.
func compare(chosen, rejected []float64, index []int) Accuracy {
	a := Accuracy{}
	sum, lost := 0.0, 0.0 // Neumaier's sum: margins of both signs cancel
	add := func(i int) {
		c, r := chosen[i], rejected[i]
		a.Pairs++
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
	if index == nil {
		for i := range chosen {
			add(i)
		}
	}
	for _, i := range index {
		add(i)
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

// Group is the accuracy of the pairs that share a name.
type Group struct {
	Name string
	Accuracy
}

// ByGroup judges the pairs of each group; groups[i] is the group of pair i. The result is sorted by name.
func ByGroup(groups []string, chosen, rejected []float64) ([]Group, error) {
	if err := check(chosen, rejected); err != nil {
		return nil, err
	}
	if len(groups) != len(chosen) {
		return nil, fmt.Errorf("%w: %d groups for %d pairs", ErrLength, len(groups), len(chosen))
	}
	index := map[string][]int{}
	for i, g := range groups {
		index[g] = append(index[g], i)
	}
	out := make([]Group, 0, len(index))
	for _, name := range slices.Sorted(maps.Keys(index)) {
		out = append(out, Group{name, compare(chosen, rejected, index[name])})
	}
	return out, nil
}

// Macro is the mean of the groups' strict accuracies, each group counting the same. It is NaN for no groups.
func Macro(groups []Group) float64 {
	sum := 0.0
	for _, g := range groups {
		sum += g.Strict()
	}
	return sum / float64(len(groups))
}

// LengthMatched judges only the pairs of [LengthMatchedPairs]. A model that prefers the longer answer
// cannot profit from it there. When no pair matches the error is ErrEmpty.
func LengthMatched(chosen, rejected []float64, chosenLen, rejectedLen []int, tolerance float64) (Accuracy, error) {
	if err := check(chosen, rejected); err != nil {
		return Accuracy{}, err
	}
	if len(chosenLen) != len(chosen) {
		return Accuracy{}, fmt.Errorf("%w: %d lengths for %d pairs", ErrLength, len(chosenLen), len(chosen))
	}
	index, err := LengthMatchedPairs(chosenLen, rejectedLen, tolerance)
	if err != nil {
		return Accuracy{}, err
	}
	return compare(chosen, rejected, index), nil
}

// LengthMatchedPairs returns the indices of the pairs whose answers are about equally long:
// |a − b| ≤ tolerance · max(a, b). Lengths are in any one unit, not negative; tolerance is in [0, 1],
// where 0.1 means ten percent and 1 takes every pair. When no pair matches the error is ErrEmpty.
func LengthMatchedPairs(chosenLen, rejectedLen []int, tolerance float64) ([]int, error) {
	if len(rejectedLen) != len(chosenLen) {
		return nil, fmt.Errorf("%w: %d lengths of chosen answers, %d of rejected ones", ErrLength, len(chosenLen), len(rejectedLen))
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
