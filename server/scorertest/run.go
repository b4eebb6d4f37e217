package scorertest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server/batch"
)

// Run puts s through what batch.Scorer promises, with sequences that it can
// score: at least three, of different lengths, and best some that share a
// prefix and some of length 1. The sequences of bad, one by one, must be errors.
func Run(t *testing.T, s batch.Scorer, seqs, bad []batch.Sequence) {
	require.GreaterOrEqual(t, len(seqs), 3, "sequences to test with")
	alone := make([]float32, len(seqs))
	for i := range seqs {
		require.NoError(t, s.Score(alone[i:i+1], seqs[i:i+1]), "sequence %d alone", i)
	}
	t.Run("an empty batch is no error", func(t *testing.T) {
		assert.NoError(t, s.Score(nil, nil))
		assert.NoError(t, s.Score([]float32{}, []batch.Sequence{}))
	})
	t.Run("a reward does not depend on its batch", func(t *testing.T) { testInvariance(t, s, seqs, alone) })
	t.Run("a batch writes its rewards and nothing beside them", func(t *testing.T) {
		dst := slices.Repeat([]float32{12345}, len(seqs)+2)
		require.NoError(t, s.Score(dst[1:1+len(seqs)], seqs))
		assert.Equal(t, []float32{12345, 12345}, []float32{dst[0], dst[len(dst)-1]})
		assertSameBits(t, alone, dst[1:1+len(seqs)])
	})
	t.Run("the sequences are neither changed nor kept",
		func(t *testing.T) { testOwnership(t, s, seqs, alone) })
	for i := range bad {
		t.Run(fmt.Sprintf("bad sequence %d is an error and leaves no trace", i), func(t *testing.T) {
			assert.Error(t, s.Score(make([]float32, 2), []batch.Sequence{seqs[0], bad[i]}))
			got := make([]float32, len(seqs))
			require.NoError(t, s.Score(got, seqs))
			assertSameBits(t, alone, got)
		})
	}
	t.Run("many callers of one queue get the rewards of a lone call",
		func(t *testing.T) { testQueue(t, s, seqs, alone) })
}

func testInvariance(t *testing.T, s batch.Scorer, seqs []batch.Sequence, alone []float32) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 7, 32} {
		for range 4 {
			order := make([]int, size) // with repetition: two callers may send the same text
			picked := make([]batch.Sequence, size)
			want := make([]float32, size)
			for i := range order {
				order[i] = rng.IntN(len(seqs))
				picked[i], want[i] = seqs[order[i]], alone[order[i]]
			}
			got := make([]float32, size)
			require.NoError(t, s.Score(got, picked), "sequences %v", order)
			assertSameBits(t, want, got, "sequences %v", order)
		}
	}
}

func testOwnership(t *testing.T, s batch.Scorer, seqs []batch.Sequence, alone []float32) {
	mine := clone(seqs)
	got := make([]float32, len(mine))
	require.NoError(t, s.Score(got, mine))
	assert.Equal(t, seqs, mine, "the sequences after they were scored")
	for i := range mine {
		for j := range mine[i].IDs {
			mine[i].IDs[j] = 0
		}
		mine[i].Read[0] = 0
	}
	require.NoError(t, s.Score(got, seqs))
	assertSameBits(t, alone, got, "after the memory of an earlier batch was overwritten")
}

func testQueue(t *testing.T, s batch.Scorer, seqs []batch.Sequence, alone []float32) {
	longest := 0
	for _, seq := range seqs {
		longest = max(longest, len(seq.IDs))
	}
	q := batch.New(batch.Config{MaxBatchTokens: 2 * longest})
	defer q.Close()
	lane := batch.NewLane("suite", s)
	var callers sync.WaitGroup
	for c := range 16 {
		callers.Go(func() {
			for i := range seqs {
				at := (i + c) % len(seqs)
				got, _, err := q.Submit(context.Background(), lane, seqs[at:at+1])
				if assert.NoError(t, err) {
					assertSameBits(t, alone[at:at+1], got, "caller %d, sequence %d", c, at)
				}
			}
		})
	}
	callers.Wait()
}

func clone(seqs []batch.Sequence) []batch.Sequence {
	out := make([]batch.Sequence, len(seqs))
	for i, s := range seqs {
		out[i] = batch.Sequence{IDs: slices.Clone(s.IDs), Types: slices.Clone(s.Types),
			Read: slices.Clone(s.Read)}
	}
	return out
}

// assertSameBits compares as integers: NaN equals itself, and 0 is not −0.
func assertSameBits(t *testing.T, want, got []float32, context ...any) {
	t.Helper()
	bits := func(v []float32) []uint32 {
		out := make([]uint32, len(v))
		for i := range v {
			out[i] = math.Float32bits(v[i])
		}
		return out
	}
	assert.Equal(t, bits(want), bits(got), context...)
}
