package warm

import (
	"fmt"
	"math"
	"slices"
)

// normalise returns weights that sum to 1, and whether they are equal. Weights are relative: any
// positive scale is right. A single 0 among other weights is refused, because 0 is also what a
// forgotten weight looks like.
func normalise(members []Member, extrapolate bool) (weights []float64, equal bool, err error) {
	weights = make([]float64, len(members))
	first, sum, unset := members[0].Weight, 0.0, 0
	equal = true
	for i, m := range members {
		switch w := m.Weight; {
		case math.IsNaN(w) || math.IsInf(w, 0):
			return nil, false, fmt.Errorf("%w: member %q has %v", ErrWeight, m.Name, w)
		case w < 0 && !extrapolate:
			return nil, false, fmt.Errorf("%w: member %q has %v, which extrapolates; ask for that",
				ErrWeight, m.Name, w)
		case w == 0:
			unset++
		}
		weights[i] = m.Weight
		sum += m.Weight
		equal = equal && m.Weight == first
	}
	if unset == len(members) {
		return slices.Repeat([]float64{1 / float64(len(members))}, len(members)), true, nil
	}
	if unset > 0 {
		return nil, false, fmt.Errorf("%w: %d of %d members have none; give all or none, and leave out whom you do not want", ErrWeight, unset, len(members))
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return nil, false, fmt.Errorf("%w: they sum to %v, want a positive number", ErrWeight, sum)
	}
	for i := range weights {
		weights[i] /= sum
	}
	return weights, equal, nil
}

// alpha returns the checked α.
func (o Options) alpha() (float64, error) {
	alpha := 1.0
	if o.Alpha != nil {
		alpha = *o.Alpha
	}
	switch {
	case math.IsNaN(alpha) || math.IsInf(alpha, 0):
		return 0, fmt.Errorf("%w: it is %v", ErrAlpha, alpha)
	case (alpha < 0 || alpha > 1) && !o.Extrapolate:
		return 0, fmt.Errorf("%w: %v extrapolates; ask for that", ErrAlpha, alpha)
	case alpha != 1 && o.Base == nil:
		return 0, fmt.Errorf("%w: alpha %v needs the shared initialisation", ErrBase, alpha)
	}
	return alpha, nil
}
