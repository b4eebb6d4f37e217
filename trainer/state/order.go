package state

import (
	"math"

	"github.com/warmserve/warmserve/model/nn"
)

// Order is the order in which examples are seen: an endless row of epochs, each in an order of its own
// that Seed decides.
type Order struct {
	N, Batch int // examples, and how many of them a step sees
	Seed     uint64

	epoch int // whose order is in order
	order []int
}

// Step returns the examples of a step.
func (o *Order) Step(step int) []int {
	out := make([]int, o.Batch)
	for i := range out {
		k := step*o.Batch + i
		if epoch := k / o.N; o.order == nil || epoch != o.epoch {
			o.epoch, o.order = epoch, o.Epoch(epoch)
		}
		out[i] = o.order[k%o.N]
	}
	return out
}

// Epoch returns the examples of an epoch.
func (o *Order) Epoch(epoch int) []int { return nn.Permutation(o.N, nn.Mix(o.Seed, uint64(epoch))) }

// Steps is how many steps see the examples so many times, limit at most where it is not 0.
func (o *Order) Steps(epochs float64, limit int) int {
	steps := max(1, int(math.Ceil(epochs*float64(o.N)/float64(o.Batch)-1e-9)))
	if limit > 0 {
		steps = min(steps, limit)
	}
	return steps
}
