package reward

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestALoadThatIsCalledOffEndsAtOnce calls loads off that would take seconds,
// in every part of the work, and holds the time until they end.
func TestALoadThatIsCalledOffEndsAtOnce(t *testing.T) {
	var apart, alike []Member
	for i := range 4 {
		apart = append(apart, Member{Dir: rewardtest.Sparse(t, fmt.Sprint("apart", i), 4, byte(i+1))})
		alike = append(alike, Member{Dir: rewardtest.Sparse(t, fmt.Sprint("alike", i), 4, 1)})
	}
	enough := errors.New("no longer wanted")
	atProgress := func(share float64) func(*Config, func()) {
		return func(c *Config, stop func()) {
			c.Progress = func(_ string, s float64) {
				if s > share {
					stop()
				}
			}
		}
	}
	for _, c := range []struct {
		name    string
		members []Member
		mode    Mode
		when    func(c *Config, stop func()) // arranges for the call-off
	}{
		{"while members are opened", apart, ModeWA, func(c *Config, stop func()) {
			c.Open = func(dir string) (*loader.Checkpoint, error) {
				stop()
				return loader.Open(dir)
			}
		}},
		{"while equal members are compared", alike, ModeWA, func(c *Config, stop func()) {
			var opened atomic.Int32
			c.Open = func(dir string) (*loader.Checkpoint, error) {
				if opened.Add(1) == 4 {
					time.AfterFunc(50*time.Millisecond, stop)
				}
				return loader.Open(dir)
			}
		}},
		{"at the first piece of the average", apart, ModeWA, atProgress(0)},
		{"in the middle of the average", apart, ModeWA, atProgress(0.05)},
		{"at a member of an ensemble", apart, ModeEns, atProgress(0.1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			goroutines := runtime.NumGoroutine()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var called atomic.Int64
			config := Config{Members: c.members, Mode: c.mode}
			c.when(&config, func() {
				called.CompareAndSwap(0, time.Now().UnixNano())
				cancel(enough)
			})
			d, err := Open(ctx, config, 2)
			took := time.Since(time.Unix(0, called.Load()))
			require.NotZero(t, called.Load(), "the work ended before it was called off")
			assert.ErrorIs(t, err, enough)
			assert.Nil(t, d)
			assert.Less(t, took, time.Second)
			until := time.Now().Add(time.Second) // what ended may not have been taken away yet
			for runtime.NumGoroutine() > goroutines && time.Now().Before(until) {
				runtime.Gosched()
			}
			assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "goroutines are left")
			runtime.GC() // what was packed is garbage now
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			assert.Less(t, m.HeapAlloc, uint64(200<<20), "the memory of the load is held")
		})
	}
}
