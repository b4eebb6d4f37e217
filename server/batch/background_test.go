package batch_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/scorertest"
)

func TestBackgroundLanesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		front := &scorertest.Fake{Before: g.before}
		back := &scorertest.Fake{Seed: 1}
		var order []string
		q := batch.New(batch.Config{MaxBatchTokens: 4, Patience: time.Second, Observe: func(b batch.Batch) { order = append(order, b.Lane.Name()) }})
		defer q.Close()
		a, b := batch.NewLane("a", front), batch.NewLane("b", &scorertest.Fake{})
		behind := batch.NewLane("m", back).Background()
		first := submit(t.Context(), q, a, seq(1, 0))
		<-g.entered
		sampled := submit(t.Context(), q, behind, seq(2, 1), seq(2, 2), seq(2, 3))
		time.Sleep(time.Minute) // far beyond the patience
		assert.Equal(t, 6, q.Depth().Tokens)
		assert.Zero(t, q.Depth().Oldest, "nobody waits for the background")
		waits := []<-chan result{first}
		for i, lane := range []*batch.Lane{b, a, b} {
			waits = append(waits, submit(t.Context(), q, lane, seq(4, int32(i))))
			synctest.Wait()
		}
		close(g.open)
		for _, w := range waits {
			require.NoError(t, (<-w).err)
		}
		r := <-sampled
		require.NoError(t, r.err)
		assert.Equal(t, []float32{back.Want(seq(2, 1)), back.Want(seq(2, 2)), back.Want(seq(2, 3))}, r.rewards)
		assert.Equal(t, [][]int{{2}, {2}, {2}}, back.Calls(), "one by one, although two would fit")
		q.Close()
		assert.Equal(t, []string{"a", "b", "a", "b", "m/background", "m/background", "m/background"}, order)
	})
}

func TestBackgroundTokensTakeNoRoomFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{MaxQueuedTokens: 80})
		defer q.Close()
		lane := batch.NewLane("a", f)
		behind := lane.Background()
		waits := []<-chan result{submit(t.Context(), q, lane, seq(1, 0))}
		<-g.entered
		waits = append(waits, submit(t.Context(), q, behind, seq(10, 0)))
		synctest.Wait()
		_, _, err := q.Submit(t.Context(), behind, []batch.Sequence{seq(1, 1)})
		assert.ErrorIs(t, err, batch.ErrOverloaded, "an eighth is theirs")
		waits = append(waits, submit(t.Context(), q, lane, seq(80, 0)))
		synctest.Wait()
		_, _, err = q.Submit(t.Context(), lane, []batch.Sequence{seq(1, 1)})
		assert.ErrorIs(t, err, batch.ErrOverloaded, "the others have all of the limit, and no more")
		close(g.open)
		for _, w := range waits {
			assert.NoError(t, (<-w).err)
		}
		_, _, err = q.Submit(t.Context(), behind, []batch.Sequence{seq(10, 1)})
		assert.NoError(t, err, "and the room is given back")
		assert.Zero(t, q.Depth().Tokens)
		assert.False(t, errors.Is(q.Err(), batch.ErrStopped))
	})
}
