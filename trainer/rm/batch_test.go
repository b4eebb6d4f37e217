package rm

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/model"
)

// longPair are two sequences of a prompt of 10 tokens and answers of 1,000; the one before
// the last is scored.
func longPair() []model.Sequence {
	answer := func(from int32) (s model.Sequence) {
		for i := range int32(10) {
			s.IDs = append(s.IDs, i)
		}
		for i := range int32(1000) {
			s.IDs = append(s.IDs, from+i)
		}
		s.IDs = append(s.IDs, 1, 2)
		s.Read = []int32{int32(len(s.IDs) - 2)}
		s.Types = slices.Clone(s.IDs)
		return s
	}
	return []model.Sequence{answer(10000), answer(20000)}
}

func TestDroppedTokensAreOfTheAnswer(t *testing.T) {
	r := &run{config: Config{TokenDropout: 0.2, Seed: 7}}
	seqs := longPair()
	tokens := r.dropTokens(seqs, 0)
	assert.Equal(t, len(seqs[0].IDs)+len(seqs[1].IDs), tokens)
	assert.InDelta(t, 2*(12+800), tokens, 80, "four standard deviations are 72")
	for i, whole := range longPair() {
		s := seqs[i]
		assert.Equal(t, whole.IDs[:10], s.IDs[:10], "the prompt")
		assert.Equal(t, []int32{1, 2}, s.IDs[len(s.IDs)-2:], "the scored token and the last")
		assert.Equal(t, int32(1), s.IDs[s.Read[0]])
		assert.Equal(t, s.IDs, s.Types, "types go with their tokens")
		assert.True(t, slices.IsSorted(s.IDs[:len(s.IDs)-2]), "the order stays")
	}
}

func TestDroppedTokensDependOnSeedStepAndNumberAlone(t *testing.T) {
	drop := func(change func(*run), first int) []int32 {
		r := &run{config: Config{TokenDropout: 0.2, Seed: 7}}
		change(r)
		seqs := longPair()
		r.dropTokens(seqs, first)
		return seqs[0].IDs
	}
	nothing := func(*run) {}
	want := drop(nothing, 0)
	assert.Equal(t, want, drop(nothing, 0))
	assert.NotEqual(t, want, drop(nothing, 2))
	assert.NotEqual(t, want, drop(func(r *run) { r.about.Step = 1 }, 0))
	assert.NotEqual(t, want, drop(func(r *run) { r.config.Seed = 8 }, 0))

	// A second pair draws the same whether it is laid with the first or alone.
	r := &run{config: Config{TokenDropout: 0.2, Seed: 7}}
	both := append(longPair(), longPair()...)
	r.dropTokens(both, 0)
	assert.Equal(t, drop(nothing, 2), both[2].IDs)
}
