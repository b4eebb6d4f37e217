package main

import (
	"sync"
	"time"
)

// throttle lets an event pass at most once in a while.
type throttle struct {
	mu    sync.Mutex
	every time.Duration
	last  time.Time
}

// newThrottle returns a throttle whose first event passes after one interval.
func newThrottle(every time.Duration) *throttle {
	return &throttle{every: every, last: time.Now()}
}

func (t *throttle) pass() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.last) >= t.every {
		t.last = now
		return true
	}
	return false
}
