package server

import (
	"errors"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/warmserve/warmserve/server/memory"
	"github.com/warmserve/warmserve/server/score"
)

// isMemory reports whether err says that there is no memory for a request.
func isMemory(err error) bool {
	_, never := errors.AsType[*memory.TooLargeError](err)
	return never || errors.Is(err, memory.ErrNoRoom)
}

// The default of Config.RequestMemory: half of what the models leave, as there
// is garbage beside what is held, within bounds.
const (
	minRequestMemory = 64 << 20
	maxRequestMemory = 4 << 30
)

// requestMemory returns how much all requests may hold together beside models
// that take so many bytes.
func (c *Config) requestMemory(models int64) int64 {
	switch {
	case c.RequestMemory > 0:
		return c.RequestMemory
	case c.Memory == 0:
		return maxRequestMemory
	}
	return min(max((c.Memory-models)/2, minRequestMemory), maxRequestMemory)
}

// reserveMore makes room for bytes beside a request's body and what was decoded of it, and waits for
// that as long as the server's default has it.
func (s *Server) reserveMore(r *http.Request, bytes int64) error {
	ctx, cancel, err := s.withDeadline(r)
	if err != nil {
		return err
	}
	defer cancel()
	l := logOf(r)
	return l.Hold.Resize(ctx, l.Text+bytes)
}

// letGo gives back the memory of a request that is over, however it ended.
func (s *Server) letGo(l *requestLog) {
	if l.Hold != nil {
		l.Hold.Release()
		s.reclaimer.released(l.Text)
	}
}

// reclaimer gives memory back to the system after large requests: by itself the
// runtime keeps what a burst has taken for minutes.
type reclaimer struct {
	mu     sync.Mutex
	freed  int64 // bytes that requests gave back since the last time
	timer  *time.Timer
	closed bool
}

const (
	// reclaimFrom is how many bytes must have been given back: fewer are soon
	// used again.
	reclaimFrom = 64 << 20
	// reclaimAfter is how long after them: a burst is over by then, or will be
	// reclaimed in parts.
	reclaimAfter = 3 * time.Second
)

// released counts what a request gave back.
func (c *reclaimer) released(bytes int64) {
	if bytes < score.FixedCost*16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.freed += bytes; c.freed < reclaimFrom || c.timer != nil || c.closed {
		return
	}
	c.timer = time.AfterFunc(reclaimAfter, func() {
		c.mu.Lock()
		c.freed, c.timer = 0, nil
		c.mu.Unlock()
		runtime.GC() // pools let go of what they hold at the second collection
		debug.FreeOSMemory()
	})
}

func (c *reclaimer) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
}
