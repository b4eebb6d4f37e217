package batch

import (
	"fmt"
	"runtime"
	"slices"
	"time"
)

// Sequence is one answer to score, after template, tokeniser and truncation.
type Sequence struct {
	IDs   []int32 // at least one
	Types []int32 // token_type_ids, as long as IDs; nil where the model has none
	Read  []int32 // the tokens that the reward is read at, in [0, len(IDs)); nil where the scorer knows
	// Outputs, unless nil, takes what the reward is made of; with Every that of all
	// tokens. The scorer that the sequence is prepared for says how many there are.
	Outputs []float32
	Every   bool
}

// Valid reports whether there are tokens, and types and read tokens that go with them.
func (s *Sequence) Valid() bool {
	outside := func(at int32) bool { return at < 0 || int(at) >= len(s.IDs) }
	return len(s.IDs) > 0 && !slices.ContainsFunc(s.Read, outside) &&
		(s.Types == nil || len(s.Types) == len(s.IDs))
}

// Scorer computes rewards. A Queue calls it from one goroutine at a time, unless
// its lane is one of [Lane.Beside]; scorers that share an engine share a Queue.
type Scorer interface {
	// Score sets dst[i] to the raw reward of seqs[i]; both are of one length,
	// which may be 0. The reward of a sequence is the same to the bit whatever
	// the others are. Score reads seqs and keeps none of it. After an error dst
	// holds nothing of meaning; one that wraps an *UnavailableError passes. A NaN or an
	// infinity is returned as it is.
	Score(dst []float32, seqs []Sequence) error
}

// UnavailableError is that of a Scorer whose device does not compute now and will
// again by itself: what was to be scored may be sent again.
type UnavailableError struct {
	After time.Duration // about how long that takes
	Err   error         // what happened
}

// Error says what happened.
func (e *UnavailableError) Error() string { return e.Err.Error() }

// Unwrap returns what happened.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Lane is a queue's line of work for one scorer. The lane is its own identity:
// two lanes of one scorer take turns with each other.
type Lane struct {
	name       string
	scorer     Scorer
	background bool    // gives way to every lane that does not
	beside     int     // batches that are computed at a time beside other lanes'; 0 is one, on the queue's own goroutine
	pace       float64 // tokens a second of the last batches, 0 before the first; the queue's lock guards it
	busy       int     // of beside, those under way; the queue's lock guards it
}

// NewLane returns a lane for scorer. The name is for people and metrics.
func NewLane(name string, scorer Scorer) *Lane {
	if scorer == nil {
		panic(fmt.Sprintf("batch: lane %q without a scorer", name))
	}
	return &Lane{name: name, scorer: scorer}
}

// Beside has up to n batches of the lane computed at a time, and beside those of other
// lanes: what computes them is not this machine, whose time they do not take. It
// returns the lane, which is not in use yet.
func (l *Lane) Beside(n int) *Lane {
	l.beside = n
	return l
}

// full reports whether as many batches are under way as may be. The queue's lock is held.
func (l *Lane) full() bool { return l.beside > 0 && l.busy >= l.beside }

// Background returns a lane for the same scorer whose sequences give way: they
// are computed one by one while no other lane has any, so that what comes next
// waits for one sequence at most. They take no room from the others' limit on
// queued tokens: an eighth of it is theirs beside it.
func (l *Lane) Background() *Lane {
	return &Lane{name: l.name + "/background", scorer: l.scorer, background: true, beside: min(l.beside, 1)}
}

// measure takes a batch into the lane's pace. A short one tells little, unless
// nothing else is known.
func (l *Lane) measure(tokens int, took time.Duration) {
	if took <= 0 || l.pace > 0 && tokens < minBatchTokens/2 {
		return
	}
	const weight = 0.3 // of the newest
	p := float64(tokens) / took.Seconds()
	if l.pace > 0 {
		p = (1-weight)*l.pace + weight*p
	}
	l.pace = p
}

// Name returns the name that the lane was made with.
func (l *Lane) Name() string { return l.name }

// PanicError is the error of a batch whose scorer panicked.
type PanicError struct {
	Value any    // what it panicked with; may hold text of a request, so it is not shown to callers
	Stack []byte // where
}

// Error says that there was a panic, and not with what.
func (e *PanicError) Error() string { return "batch: the scorer panicked" }

// PanicText says what a panic was, for a log: the runtime's own words, and of any
// other value only its type, as it may hold text of a request.
func PanicText(v any) string {
	if e, ok := v.(runtime.Error); ok {
		return e.Error()
	}
	return fmt.Sprintf("a value of type %T", v)
}
