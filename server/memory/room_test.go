package memory_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server/memory"
)

const mb = 1 << 20

// later starts f, which waits, and returns its outcome's channel.
func later(f func() error) <-chan error {
	out := make(chan error, 1)
	go func() { out <- f() }()
	synctest.Wait()
	return out
}

// pending reports that nothing has come of what was started yet.
func pending(t *testing.T, c <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-c:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
}

func reserve(t *testing.T, r *memory.Room, bytes int64) *memory.Hold {
	t.Helper()
	h, err := r.Reserve(t.Context(), bytes)
	require.NoError(t, err)
	return h
}

func TestNewcomersAreServedInTheOrderInWhichTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memory.New(80 * mb) // 70 of them for large requests
		first := reserve(t, r, 40*mb)
		var big, less *memory.Hold
		second := later(func() (err error) { big, err = r.Reserve(t.Context(), 60*mb); return err })
		third := later(func() (err error) { less, err = r.Reserve(t.Context(), 20*mb); return err })
		pending(t, second)
		pending(t, third) // it would fit, and would keep the second out for ever
		assert.Equal(t, memory.Stats{Limit: 80 * mb, Held: 40 * mb, Waiting: 2}, r.Stats())
		first.Release()
		require.NoError(t, <-second)
		pending(t, third)
		big.Release()
		require.NoError(t, <-third)
		less.Release()
		assert.Equal(t, memory.Stats{Limit: 80 * mb}, r.Stats())
	})
}

func TestALargeRequestLeavesRoomForSmallOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memory.New(80 * mb)
		large := reserve(t, r, 70*mb)
		waits := later(func() error {
			h, err := r.Reserve(t.Context(), 30*mb)
			if err == nil {
				h.Release()
			}
			return err
		})
		var small []*memory.Hold
		for range 10 {
			small = append(small, reserve(t, r, mb))
		}
		eleventh := later(func() error { _, err := r.Reserve(t.Context(), mb); return err })
		pending(t, eleventh)
		small[0].Release()
		require.NoError(t, <-eleventh)
		pending(t, waits)
		large.Release()
		require.NoError(t, <-waits)
	})
}

func TestWhatCanNeverFitIsRefusedWithTheLimit(t *testing.T) {
	r := memory.New(80 * mb)
	_, err := r.Reserve(t.Context(), 71*mb)
	var large *memory.TooLargeError
	require.ErrorAs(t, err, &large)
	assert.Equal(t, &memory.TooLargeError{Bytes: 71 * mb, Limit: 70 * mb}, large)
	h := reserve(t, r, 5*mb)
	require.ErrorAs(t, h.Resize(t.Context(), 71*mb), &large)
	assert.EqualValues(t, 5*mb, h.Bytes(), "it keeps what it has")
	h.Release()
	assert.EqualValues(t, 0, r.Stats().Held)
}

func TestWhoHoldsSomethingGrowsBeforeNewcomersTheOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memory.New(80 * mb)
		old, young, third := reserve(t, r, 20*mb), reserve(t, r, 20*mb), reserve(t, r, 30*mb)
		newcomer := later(func() error { _, err := r.Reserve(t.Context(), 20*mb); return err })
		grows := later(func() error { return young.Resize(t.Context(), 40*mb) })
		oldGrows := later(func() error { return old.Resize(t.Context(), 40*mb) })
		third.Release()
		require.NoError(t, <-oldGrows)
		pending(t, grows)
		require.NoError(t, old.Resize(t.Context(), 10*mb))
		require.NoError(t, <-grows)
		require.NoError(t, <-newcomer)
	})
}

func TestRequestsThatWaitForEachOtherDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memory.New(80 * mb)
		a, b, c := reserve(t, r, 20*mb), reserve(t, r, 20*mb), reserve(t, r, 20*mb)
		bGrows := later(func() error { return b.Resize(t.Context(), 50*mb) })
		cGrows := later(func() error { return c.Resize(t.Context(), 50*mb) })
		pending(t, bGrows)
		pending(t, cGrows)
		aGrows := later(func() error { return a.Resize(t.Context(), 50*mb) })
		assert.ErrorIs(t, <-cGrows, memory.ErrNoRoom, "the youngest")
		pending(t, aGrows)
		c.Release()
		require.NoError(t, <-aGrows)
		pending(t, bGrows)
		a.Release()
		require.NoError(t, <-bGrows)
		b.Release()
		assert.Equal(t, memory.Stats{Limit: 80 * mb, Refused: 1}, r.Stats())
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memory.New(80 * mb)
		h := reserve(t, r, 60*mb)
		why := errors.New("the time is up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		_, err := r.Reserve(ctx, 20*mb)
		assert.ErrorIs(t, err, memory.ErrNoRoom)
		assert.ErrorIs(t, err, why)
		other := reserve(t, r, 10*mb)
		late := later(func() error { return h.Resize(ctx, 65*mb) })
		assert.ErrorIs(t, <-late, why)
		assert.EqualValues(t, 60*mb, h.Bytes(), "it keeps what it has")
		h.Release()
		other.Release()
		reserve(t, r, 70*mb).Release()
		assert.EqualValues(t, 0, r.Stats().Held)
	})
}

func TestASharedHoldIsHeldUntilAllHaveReleasedIt(t *testing.T) {
	r := memory.New(80 * mb)
	h := reserve(t, r, 10*mb)
	other := h.Share()
	h.Release()
	assert.EqualValues(t, 10*mb, r.Stats().Held)
	other()
	assert.EqualValues(t, 0, r.Stats().Held)
	assert.Panics(t, h.Release, "once too often")
}

func TestARoomThatShrinksTakesNobodyInUntilEnoughIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memory.New(80 * mb)
		a, b := reserve(t, r, 30*mb), reserve(t, r, 30*mb)
		r.SetLimit(40 * mb)
		c := later(func() error { _, err := r.Reserve(t.Context(), 10*mb); return err })
		a.Release()
		pending(t, c)
		b.Release()
		require.NoError(t, <-c)
		d := later(func() error { _, err := r.Reserve(t.Context(), 30*mb); return err })
		pending(t, d)
		r.SetLimit(80 * mb)
		require.NoError(t, <-d)
	})
}

// FuzzRoom runs random requests, all at once: nothing is ever over the limit,
// everybody comes to an end, and at the end nothing is held.
func FuzzRoom(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed, uint8(4*seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, requests uint8) {
		synctest.Test(t, func(t *testing.T) { randomRequests(t, seed, int(requests)) })
	})
}

func randomRequests(t *testing.T, seed uint64, requests int) {
	const limit = 64 * mb
	r := memory.New(limit)
	check := func() {
		s := r.Stats()
		assert.LessOrEqual(t, s.Held, int64(limit))
		assert.GreaterOrEqual(t, s.Held, int64(0))
	}
	var all sync.WaitGroup
	for i := range requests {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			ctx := t.Context()
			if rng.IntN(3) == 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(200))*time.Millisecond)
				defer cancel()
			}
			size := func() int64 { return rng.Int64N([]int64{mb / 8, mb, 16 * mb, 70 * mb}[rng.IntN(4)]) }
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			h, err := r.Reserve(ctx, size())
			check()
			if err != nil {
				return
			}
			defer h.Release()
			for range rng.IntN(6) {
				before, to := h.Bytes(), size()
				err := h.Resize(ctx, to)
				check()
				if err != nil {
					assert.Equal(t, before, h.Bytes())
					return
				}
				assert.Equal(t, to, h.Bytes())
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
		})
	}
	all.Wait() // in the bubble a deadlock is an error
	s := r.Stats()
	assert.Zero(t, s.Held)
	assert.Zero(t, s.Waiting)
}
