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
		from := fmt.Sprintf("from %.3g", l.Lo)
		if l.Lo == math.SmallestNonzeroFloat64 {
			from = "above 0"
		}
		errs = append(errs, fmt.Errorf("%s: %v, want a number %s to %.3g", l.Name, l.V, from, l.Hi))
	}
	return errs
}
