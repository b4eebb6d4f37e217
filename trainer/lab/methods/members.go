package methods

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/warm"
)

// Score scores a set with members, each alone, and with the averages of groups of them.
func Score(ctx context.Context, l *lab.Lab, set *lab.Set, members []string,
	groups iter.Seq2[int, []int]) (*Scores, error) {
	out := &Scores{}
	for _, dir := range members {
		scored, err := l.Score(ctx, lab.Model{Members: []string{dir}}, set)
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, *scored)
	}
	for _, places := range groups {
		margins, err := l.Margins(ctx, lab.Model{Members: Pick(members, places)}, set)
		if err != nil {
			return nil, err
		}
		out.Averages = append(out.Averages, Average{Members: places, Margins: margins[0]})
	}
	return out, nil
}

// Calibrate returns the calibrations of members from their rewards.
func Calibrate(members []lab.Scored) ([]warm.Calibration, error) {
	out := make([]warm.Calibration, len(members))
	for i, m := range members {
		var err error
		if out[i], err = warm.Calibrate(slices.Concat(m.Chosen, m.Rejected)); err != nil {
			return nil, fmt.Errorf("member %d: %w", i+1, err)
		}
	}
	return out, nil
}

// EnsembleMargins are the margins of an ensemble of some of the members.
func EnsembleMargins(members []lab.Scored, places []int, e warm.Ensemble) ([]float64, error) {
	some := Pick(members, places)
	if e.Calibration != nil {
		e.Calibration = Pick(e.Calibration, places)
	}
	n := len(some[0].Chosen)
	out := make([]float64, n)
	scores := make([]float32, len(some))
	for i := range n {
		var both [2]float64
		for side := range both {
			for k := range some {
				scores[k] = some[k].Chosen[i]
				if side == 1 {
					scores[k] = some[k].Rejected[i]
				}
			}
			var err error
			if both[side], _, err = e.Reward(scores); err != nil {
				return nil, fmt.Errorf("pair %d: %w", i, err)
			}
		}
		out[i] = both[0] - both[1]
	}
	return out, nil
}

// Everyone are the places of all of m members.
func Everyone(m int) []int { return Orders(m, 1, 0)[0] }

// Orders are n orders of m members, drawn by a seed; the first is 0, 1, 2, …
func Orders(m, n int, seed uint64) [][]int {
	out := make([][]int, n)
	for k := range out {
		o := make([]int, m)
		for i := range o {
			o[i] = i
		}
		for i := m - 1; i > 0 && k > 0; i-- { // Fisher and Yates
			j := int(nn.Mix(nn.Mix(seed, uint64(k)), uint64(i)) % uint64(i+1))
			o[i], o[j] = o[j], o[i]
		}
		out[k] = o
	}
	return out
}

// Pick returns the items at some places, in the order of the places' numbers.
func Pick[T any](items []T, places []int) []T {
	places = slices.Sorted(slices.Values(places))
	out := make([]T, len(places))
	for i, at := range places {
		out[i] = items[at]
	}
	return out
}
