package server

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/memory"
)

// What requests take, in bytes; reserved before it is taken.
const (
	// bodyCost is what one byte of a body takes at once: its own, that of the
	// strings decoded from it, that of the text rendered of these, and a quarter
	// of a token, with what the tokeniser needs to find it.
	bodyCost = 4
	// fixedCost is what a request takes whatever its size: its goroutine, the
	// connection's buffers, its log record.
	fixedCost = 16 << 10
	// tokenCost is an id in its sequence and, where a model has types, its type.
	tokenCost = 8
	// answerCost is what an answer takes beside its tokens, once for itself and
	// once for each lane that scores it: its places in the task and in the queue,
	// and what the reply says of it.
	answerCost = 256
	// templateTokens is about what a chat template adds to an answer.
	templateTokens = 1024
)

// requestCost is what a request whose body has n bytes may hold, up to its tokens.
func requestCost(n int64) int64 { return fixedCost + bodyCost*n }

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

// reserveTokens makes room for the tokens of the request of x: those of so many
// answers, each within the model's context and what its body can hold, on so
// many lanes; and for the most that reading one of the inputs takes.
func (s *Server) reserveTokens(ctx context.Context, x *exchange, d *live.Instance, answers, lanes int, inputs iter.Seq[*api.Input]) error {
	each := min(int64(d.Info().ContextLength), x.text/bodyCost+templateTokens)
	tokens := min(int64(answers)*each, int64(s.cfg.MaxRequestTokens))
	scratch := int64(0)
	if m, ok := d.Model().(live.Sizer); ok {
		for in := range inputs {
			scratch = max(scratch, m.PrepareSize(in))
		}
	}
	return x.hold.Resize(ctx, x.text+scratch+tokensCost(answers, lanes, tokens))
}

// keepTokens gives back what the text of x took on its way to these tokens. The
// strings stay: a dialect's request may be prepared again.
func (s *Server) keepTokens(ctx context.Context, x *exchange, answers, lanes, tokens int) error {
	return x.hold.Resize(ctx, x.text/2+tokensCost(answers, lanes, int64(tokens)))
}

func tokensCost(answers, lanes int, tokens int64) int64 {
	return tokens*tokenCost + int64(answers)*int64(1+lanes)*answerCost
}

// letGo gives back the memory of a request that is over, however it ended.
func (s *Server) letGo(x *exchange) {
	if x.hold != nil {
		x.hold.Release()
		s.reclaimer.released(x.text)
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
	if bytes < fixedCost*16 {
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
