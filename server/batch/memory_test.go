package batch_test

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/scorertest"
)

// TestAnIdleQueueHoldsNoLane has two lanes wait at once and then looks whether
// the queue still holds one: its scorer is the memory of a whole model.
func TestAnIdleQueueHoldsNoLane(t *testing.T) {
	q := batch.New(batch.Config{})
	defer q.Close()
	var held []weak.Pointer[scorertest.Fake]
	func() {
		open := make(chan struct{})
		gate := batch.NewLane("gate", &scorertest.Fake{Before: func([]batch.Sequence) error { <-open; return nil }})
		seqs := []batch.Sequence{{IDs: []int32{1}}}
		done := make(chan error, 3)
		submit := func(l *batch.Lane) {
			_, _, err := q.Submit(t.Context(), l, seqs)
			done <- err
		}
		go submit(gate)
		for range 2 {
			fake := &scorertest.Fake{}
			held = append(held, weak.Make(fake))
			go submit(batch.NewLane("lane", fake))
		}
		require.Eventually(t, func() bool { return q.Depth().Sequences >= 2 }, 5*time.Second, time.Millisecond)
		close(open)
		for range 3 {
			require.NoError(t, <-done)
		}
	}()
	assert.Eventually(t, func() bool {
		runtime.GC()
		return held[0].Value() == nil && held[1].Value() == nil
	}, 5*time.Second, time.Millisecond)
}
