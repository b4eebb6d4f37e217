package rm

import (
	"slices"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/nn"
)

func (r *run) ids(batch []int) []string {
	out := make([]string, len(batch))
	for i, k := range batch {
		out[i] = r.data.train[k].id
	}
	return out
}

func (r *run) orderSeed(epoch int) uint64 {
	return nn.Mix(nn.Mix(r.config.DataSeed, seedOrder), uint64(epoch))
}

// batch returns the pairs of a step: the next of an endless row of epochs, each
// in an order of its own.
func (r *run) batch(step int) []int {
	n := len(r.data.train)
	out := make([]int, r.config.Batch)
	for i := range out {
		k := step*r.config.Batch + i
		if k/n != r.epoch {
			r.epoch = k / n
			r.order = permutation(n, r.orderSeed(r.epoch))
		}
		out[i] = r.order[k%n]
	}
	return out
}

// part returns the first pairs that the token budget holds, one at least.
func (r *run) part(batch []int) []int {
	tokens := 0
	for i, k := range batch {
		tokens += r.data.train[k].tokens()
		if i > 0 && tokens > r.config.TokenBudget {
			return batch[:i]
		}
	}
	return batch
}

// lay returns the sequences of some pairs, chosen and rejected in turn.
func (r *run) lay(part []int) (seqs []model.Sequence, tokens int) {
	r.sequence = r.sequence[:0]
	for _, k := range part {
		x := &r.data.train[k]
		r.sequence = append(r.sequence, x.chosen, x.rejected)
		tokens += x.tokens()
	}
	return r.sequence, tokens
}

func (r *run) scores(n int) []float32 {
	r.room = slices.Grow(r.room[:0], n)[:n]
	return r.room
}
