package batch_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/scorertest"
)

// blocked is a scorer whose batches wait until they are let go, one for each value.
type blocked struct {
	entered, leave chan struct{}
	fail           func() // called by the first that is let go; may be nil
}

func newBlocked() *blocked {
	return &blocked{entered: make(chan struct{}, 100), leave: make(chan struct{})}
}

func (b *blocked) Score(dst []float32, seqs []batch.Sequence) error {
	b.entered <- struct{}{}
	<-b.leave
	if f := b.fail; f != nil {
		b.fail = nil
		f()
	}
	for i := range seqs {
		dst[i] = float32(seqs[i].IDs[0])
	}
	return nil
}

func TestBatchesBesideOthersHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := batch.New(batch.Config{MaxBatchTokens: 10})
		away, local := newBlocked(), &scorertest.Fake{}
		lane, here := batch.NewLane("away", away).Beside(2), batch.NewLane("here", local)
		var waits []<-chan result
		for i := range 3 {
			waits = append(waits, submit(t.Context(), q, lane, seq(10, int32(i+1))))
			synctest.Wait()
		}
		assert.Len(t, away.entered, 2, "two are under way, and the third waits")
		r := <-submit(t.Context(), q, here, seq(4, 9))
		require.NoError(t, r.err, "what is computed here goes on")
		away.leave <- struct{}{}
		synctest.Wait()
		assert.Len(t, away.entered, 3)
		away.leave <- struct{}{}
		away.leave <- struct{}{}
		for i, w := range waits {
			r := <-w
			require.NoError(t, r.err)
			assert.Equal(t, []float32{float32(i + 1)}, r.rewards)
		}
		q.Close()
	})
}

// A lane beside others fills its batches, however long they took.
func TestBatchesBesideOthersAreAsLongAsTheyMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		q := batch.New(batch.Config{MaxBatchTokens: 4096, Observe: func(b batch.Batch) { sizes = append(sizes, b.Tokens) }})
		slow := &scorertest.Fake{Before: func([]batch.Sequence) error { time.Sleep(10 * time.Second); return nil }}
		lane := batch.NewLane("away", slow).Beside(1)
		for range 2 {
			<-submit(t.Context(), q, lane, seq(1024, 1), seq(1024, 2), seq(1024, 3), seq(1024, 4))
		}
		q.Close()
		assert.Equal(t, []int{4096, 4096}, sizes)
	})
}

func TestDrainWaitsForBatchesBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := batch.New(batch.Config{MaxBatchTokens: 10})
		away := newBlocked()
		lane := batch.NewLane("away", away).Beside(1)
		first, second := submit(t.Context(), q, lane, seq(10, 1)), submit(t.Context(), q, lane, seq(10, 2))
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- q.Drain(context.Background()) }()
		synctest.Wait()
		assert.Empty(t, drained)
		away.leave <- struct{}{}
		away.leave <- struct{}{}
		require.NoError(t, <-drained)
		for _, w := range []<-chan result{first, second} {
			assert.NoError(t, (<-w).err)
		}
	})
}

// What a scorer beside others does to its goroutine fails its batch, and leaves its place.
func TestFaultsOfBatchesBesideOthersAreTheirs(t *testing.T) {
	for name, fail := range map[string]func(){"a panic": func() { panic("x") }, "an end": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := batch.New(batch.Config{MaxBatchTokens: 10})
				away := newBlocked()
				away.fail = fail
				lane := batch.NewLane("away", away).Beside(1)
				bad := submit(t.Context(), q, lane, seq(10, 1))
				synctest.Wait()
				good := submit(t.Context(), q, lane, seq(10, 2))
				away.leave <- struct{}{}
				assert.Error(t, (<-bad).err)
				away.leave <- struct{}{}
				assert.NoError(t, (<-good).err)
				q.Close()
			})
		})
	}
}

// A request of which nobody waits any more is dropped before it is sent.
func TestWhatNobodyWaitsForIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := batch.New(batch.Config{MaxBatchTokens: 10})
		away := newBlocked()
		lane := batch.NewLane("away", away).Beside(1)
		first := submit(t.Context(), q, lane, seq(10, 1))
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := submit(ctx, q, lane, seq(10, 2))
		synctest.Wait()
		cancel(errors.New("gone"))
		assert.EqualError(t, (<-gone).err, "gone")
		away.leave <- struct{}{}
		require.NoError(t, (<-first).err)
		synctest.Wait()
		assert.Len(t, away.entered, 1)
		q.Close()
	})
}
