package batch

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Errors of Submit. Others come from the context or from the scorer.
var (
	// ErrOverloaded is returned when the queue holds too many tokens.
	ErrOverloaded = errors.New("batch: the queue is full")
	// ErrExpired is returned when a sequence waited longer than Config.MaxWait.
	ErrExpired = errors.New("batch: waited too long in the queue")
	// ErrDraining is returned once Drain or Close was called.
	ErrDraining = errors.New("batch: the queue is draining")
	// ErrStopped is returned when the queue's own goroutine has died, by a
	// fault of the queue or a scorer that ended it.
	ErrStopped = errors.New("batch: the queue has stopped")
)

// Config sets a Queue's limits. A zero field takes the default.
type Config struct {
	// MaxBatchTokens is the token budget of one batch; default 8,192. Longer
	// batches gain nothing once the kernels are full, and delay whoever comes
	// next. A longer sequence is a batch of its own.
	MaxBatchTokens int
	// BatchTime is how long a batch should take at the pace of the lane's last
	// ones; default 250 ms. A fast model's batches end at MaxBatchTokens, a slow
	// one's at this, but not below 1,024 tokens: whoever comes next waits for it.
	BatchTime time.Duration
	// MaxBatchSequences bounds the sequences of one batch; default 1,024.
	MaxBatchSequences int
	// MaxQueuedTokens bounds the tokens that wait; default 4,194,304 (a step of
	// 1,024 prompts with 8 answers of 512 tokens). A submission larger than
	// the whole queue is accepted when the queue is empty.
	MaxQueuedTokens int
	// MaxWait bounds how long a sequence waits before its batch starts;
	// default 10 minutes. It is a backstop: callers set deadlines of their own.
	MaxWait time.Duration
	// Patience is how long a sequence waits before age decides half of what is
	// computed next, of every batch and of the lanes' turns; default 5 s.
	Patience time.Duration
	// Observe, when set, is called after each batch, from the queue's
	// goroutine or, of lanes beside others, from several at once: it must return soon.
	Observe func(Batch)
}

// Batch tells Config.Observe of one call of a scorer.
type Batch struct {
	Lane      *Lane
	Sequences int
	Tokens    int
	Compute   time.Duration
	Err       error // of the scorer; a *PanicError when it panicked
}

// minBatchTokens is the smallest budget that a slow pace leads to: enough that
// the weights are read for many tokens at a time.
const minBatchTokens = 1024

// budget returns the tokens of a batch of a lane, by its pace. The batches of a lane
// beside others keep nobody waiting, and how long they take says nothing of their length.
func (c *Config) budget(l *Lane) int {
	pace := l.pace
	switch {
	case l.beside > 0:
		return c.MaxBatchTokens
	case pace == 0: // not known yet
		return min(c.MaxBatchTokens, 2*minBatchTokens)
	}
	return min(c.MaxBatchTokens, max(minBatchTokens, int(pace*c.BatchTime.Seconds())))
}

func (c Config) withDefaults() Config {
	c.MaxBatchTokens = cmp.Or(c.MaxBatchTokens, 8192)
	c.BatchTime = cmp.Or(c.BatchTime, 250*time.Millisecond)
	c.MaxBatchSequences = cmp.Or(c.MaxBatchSequences, 1024)
	c.MaxQueuedTokens = cmp.Or(c.MaxQueuedTokens, 4<<20)
	c.MaxWait = cmp.Or(c.MaxWait, 10*time.Minute)
	c.Patience = cmp.Or(c.Patience, 5*time.Second)
	return c
}

// Validate reports every field that is out of range, together.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxBatchTokens", int64(c.MaxBatchTokens)},
		{"BatchTime", int64(c.BatchTime)},
		{"MaxBatchSequences", int64(c.MaxBatchSequences)},
		{"MaxQueuedTokens", int64(c.MaxQueuedTokens)},
		{"MaxWait", int64(c.MaxWait)},
		{"Patience", int64(c.Patience)},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("batch: %s is %d, want 0 for the default or more", f.name,
				f.value))
		}
	}
	return errors.Join(errs...)
}
