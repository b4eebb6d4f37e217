package rm

import (
	"slices"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/nn"
)

func (r *run) ids(batch []int) []string {
	out := make([]string, len(batch))
	for i, k := range batch {
		out[i] = r.data.train[k].ID
	}
	return out
}

// part returns the first pairs that the token budget holds, one at least. A causal model computes
// what a pair's answers follow once.
func (r *run) part(batch []int) []int {
	tokens := 0
	for i, k := range batch {
		x := &r.data.train[k]
		tokens += x.tokens()
		if r.base.parsed.Causal() {
			tokens += model.Own(x.Rejected.IDs, x.Chosen.IDs) - len(x.Rejected.IDs)
		}
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
		r.sequence = append(r.sequence, x.Chosen, x.Rejected)
		tokens += x.tokens()
	}
	return r.sequence, tokens
}

// dropTokens leaves out tokens of the answers of chosen and rejected sequences in turn, the
// first of which has the number first within the step, and returns how many tokens are left.
// What a pair's sequences begin with, the prompt, stays, and so do scored and last tokens.
func (r *run) dropTokens(seqs []model.Sequence, first int) (tokens int) {
	key := nn.Mix(nn.Mix(r.config.Seed, seedTokens), uint64(r.about.Step))
	limit := uint64(r.config.TokenDropout * (1 << 53))
	for i := 0; i < len(seqs); i += 2 {
		prompt := common(seqs[i].IDs, seqs[i+1].IDs)
		for k := i; k < i+2; k++ {
			row := nn.Mix(key, uint64(first+k))
			seqs[k] = without(seqs[k],
				func(j int) bool { return j >= prompt && nn.Mix(row, uint64(j))>>11 < limit })
			tokens += len(seqs[k].IDs)
		}
	}
	return tokens
}

// without leaves out tokens of a sequence, but never the scored one and the last one.
func without(s model.Sequence, drop func(at int) bool) model.Sequence {
	kept := model.Sequence{IDs: make([]int32, 0, len(s.IDs))}
	scored := int(s.Read[0])
	for j, id := range s.IDs {
		if j != scored && j != len(s.IDs)-1 && drop(j) {
			continue
		}
		if j == scored {
			kept.Read = []int32{int32(len(kept.IDs))}
		}
		kept.IDs = append(kept.IDs, id)
		if s.Types != nil {
			kept.Types = append(kept.Types, s.Types[j])
		}
	}
	return kept
}

// common counts the tokens that both sequences begin with.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func (r *run) scores(n int) []float32 {
	r.room = slices.Grow(r.room[:0], n)[:n]
	return r.room
}
