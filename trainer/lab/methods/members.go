package methods

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/warm"
)

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
