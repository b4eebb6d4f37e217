package batch_test

import (
	"runtime"
	"sync"
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
		entered, open := make(chan struct{}), make(chan struct{})
		release := sync.OnceFunc(func() { close(open) })
		defer release() // a failed test must not wait for the gate
		gate := batch.NewLane("gate", &scorertest.Fake{Before: func([]batch.Sequence) error {
			close(entered)
			<-open
			return nil
		}})
		seqs := []batch.Sequence{{IDs: []int32{1}, Read: []int32{0}}}
		done := make(chan error, 3)
		submit := func(l *batch.Lane) {
			_, _, err := q.Submit(t.Context(), l, seqs)
			done <- err
		}
		go submit(gate)
		<-entered
		for range 2 {
			fake := &scorertest.Fake{}
			held = append(held, weak.Make(fake))
			go submit(batch.NewLane("lane", fake))
		}
		require.Eventually(t, func() bool { return q.Depth().Sequences == 2 }, 5*time.Second, time.Millisecond)
		release()
		for range 3 {
			require.NoError(t, <-done)
		}
	}()
	assert.Eventually(t, func() bool {
		runtime.GC()
		return held[0].Value() == nil && held[1].Value() == nil
	}, 5*time.Second, time.Millisecond)
}
