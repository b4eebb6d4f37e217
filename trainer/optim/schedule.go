package optim

import (
	"fmt"
	"math"
)

// Schedule is how the learning rate changes over a run.
type Schedule string

// The schedules. All begin with a linear warm-up from 0.
const (
	Constant Schedule = "constant" // stays
	Linear   Schedule = "linear"   // falls to 0 in a line
	Cosine   Schedule = "cosine"   // falls to 0 in half a period of a cosine
)

// ParseSchedule reads the name of a schedule; "" is Constant.
func ParseSchedule(s string) (Schedule, error) {
	switch k := Schedule(s); k {
	case "":
		return Constant, nil
	case Constant, Linear, Cosine:
		return k, nil
	}
	return "", fmt.Errorf("schedule %q: want constant, linear or cosine", s)
}

// Factor returns the share of the peak learning rate, in [0, 1], for a step
// counted from 0 of a run of total steps whose first warmup steps warm up. The
// first step is never at 0: a step of nothing would be wasted.
func (s Schedule) Factor(step, warmup, total int) float64 {
	if step < warmup {
		return float64(step+1) / float64(warmup+1)
	}
	if s == Constant || total <= warmup {
		return 1
	}
	x := float64(step-warmup) / float64(total-warmup)
	x = min(x, 1)
	if s == Linear {
		return 1 - x
	}
	return 0.5 * (1 + math.Cos(math.Pi*x))
}
