package state

import (
	"fmt"
	"math"
)

// Limit is a number of a configuration and where it must lie. From the least number above 0 on is
// above 0.
type Limit = struct {
	Name      string
	V, Lo, Hi float64
}

// Within reports the numbers that lie elsewhere.
func Within(limits []Limit) (errs []error) {
	for _, l := range limits {
		if l.V >= l.Lo && l.V <= l.Hi {
			continue
		}
		from, to := fmt.Sprintf("from %v", l.Lo), fmt.Sprintf("to %v", l.Hi)
		if l.Lo == math.SmallestNonzeroFloat64 {
			from = "above 0"
		}
		if l.Hi == math.MaxFloat64 {
			to = "on"
		}
		errs = append(errs, fmt.Errorf("%s: %v, want a number %s %s", l.Name, l.V, from, to))
	}
	return errs
}
