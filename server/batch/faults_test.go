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

func TestDrainFinishesWhatWaitsAndRefusesWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{MaxBatchTokens: 1})
		lane := batch.NewLane("a", f)
		waits := []<-chan result{submit(t.Context(), q, lane, seq(1, 0)), submit(t.Context(), q, lane, seq(1, 1)), submit(t.Context(), q, lane, seq(1, 2))}
		<-g.entered
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- q.Drain(context.Background()) }()
		synctest.Wait()
		_, _, err := q.Submit(t.Context(), lane, []batch.Sequence{seq(1, 3)})
		assert.ErrorIs(t, err, batch.ErrDraining)
		assert.ErrorIs(t, q.Err(), batch.ErrDraining)
		close(g.open)
		for _, w := range waits {
			assert.NoError(t, (<-w).err)
		}
		require.NoError(t, <-drained)
		assert.NoError(t, q.Drain(context.Background()), "draining again")
		_, _, err = q.Submit(t.Context(), lane, []batch.Sequence{seq(1, 3)})
		assert.ErrorIs(t, err, batch.ErrDraining)
	})
}

func TestADrainThatRunsOutOfTimeFailsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{MaxBatchTokens: 1})
		lane := batch.NewLane("a", f)
		first := submit(t.Context(), q, lane, seq(1, 0))
		<-g.entered
		second := submit(t.Context(), q, lane, seq(1, 1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, q.Drain(ctx), context.DeadlineExceeded)
		assert.ErrorIs(t, (<-second).err, batch.ErrDraining)
		assert.ErrorIs(t, (<-first).err, batch.ErrDraining, "nobody waits for a scorer that may never return")
		close(g.open)
		q.Close()
	})
}

func TestAScorersErrorFailsItsBatchAlone(t *testing.T) {
	for name, test := range map[string]struct {
		fail  func() error
		check func(t *testing.T, err error)
	}{
		"an error": {func() error { return errors.New("no memory") }, func(t *testing.T, err error) { assert.ErrorContains(t, err, "no memory") }},
		"a panic": {func() error { panic("index out of range") }, func(t *testing.T, err error) {
			p, ok := errors.AsType[*batch.PanicError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, "index out of range", p.Value)
			assert.Contains(t, string(p.Stack), "faults_test.go")
			assert.NotContains(t, err.Error(), "index out of range", "the value may hold a caller's text")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				f := &scorertest.Fake{Before: func(s []batch.Sequence) error {
					g.before(s)
					if s[0].IDs[0] == 13 {
						return test.fail()
					}
					return nil
				}}
				var seen []batch.Batch
				q := batch.New(batch.Config{MaxBatchTokens: 2, Observe: func(b batch.Batch) { seen = append(seen, b) }})
				defer q.Close()
				lane := batch.NewLane("a", f)
				before := submit(t.Context(), q, lane, seq(2, 0))
				<-g.entered
				bad := submit(t.Context(), q, lane, seq(2, 13), seq(2, 1), seq(2, 2))
				synctest.Wait()
				after := submit(t.Context(), q, lane, seq(2, 5))
				synctest.Wait()
				close(g.open)
				assert.NoError(t, (<-before).err)
				test.check(t, (<-bad).err)
				assert.Equal(t, []float32{f.Want(seq(2, 5))}, (<-after).rewards)
				assert.Len(t, f.Calls(), 3, "the rest of the failed request is not computed")
				q.Close()
				require.Len(t, seen, 3)
				test.check(t, seen[1].Err)
				assert.Equal(t, []int{1, 2}, []int{seen[2].Sequences, seen[2].Tokens})
			})
		})
	}
}

func TestWhenTheLoopDiesEveryWaitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: func(s []batch.Sequence) error {
			g.before(s)
			runtime.Goexit()
			return nil
		}}
		q := batch.New(batch.Config{MaxBatchTokens: 1})
		lane := batch.NewLane("a", f)
		computing := submit(t.Context(), q, lane, seq(1, 0))
		<-g.entered
		waiting := submit(t.Context(), q, lane, seq(1, 1))
		synctest.Wait()
		close(g.open)
		assert.ErrorIs(t, (<-computing).err, batch.ErrStopped)
		assert.ErrorIs(t, (<-waiting).err, batch.ErrStopped)
		_, _, err := q.Submit(t.Context(), lane, []batch.Sequence{seq(1, 2)})
		assert.ErrorIs(t, err, batch.ErrStopped)
		assert.ErrorIs(t, q.Err(), batch.ErrStopped)
		q.Close()
	})
}

func TestAPanicInTheObserverStopsTheQueueAndNobodyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := batch.New(batch.Config{MaxBatchTokens: 1, Observe: func(batch.Batch) { panic("a fault of ours") }})
		r := <-submit(t.Context(), q, batch.NewLane("a", &scorertest.Fake{}), seq(1, 0), seq(1, 1))
		assert.ErrorIs(t, r.err, batch.ErrStopped)
		assert.ErrorContains(t, r.err, "a fault of ours")
	})
}
