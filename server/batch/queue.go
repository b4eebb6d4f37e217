package batch

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Queue batches the sequences of many callers for scorers that take one batch
// at a time. Make one with New, end it with Drain or Close.
type Queue struct {
	cfg     Config
	now     func() time.Time
	wake    chan struct{}  // holds a token when the loop has something to look at
	stopped chan struct{}  // closed when the loop has ended
	beside  sync.WaitGroup // batches of lanes beside others

	mu         sync.Mutex
	lines      map[*Lane]*line // of lanes with something waiting
	turns      []*line         // the same lines; the next turn is the first's
	byAge      bool            // the last line was chosen for its wait
	requests   map[*request]struct{}
	tokens     int // that wait, in all lanes
	background int // of them in background lanes
	count      int // sequences that wait
	draining   bool
	dead       error // why the loop ended, once it has
}

// New starts a queue. It panics when cfg does not validate, which callers do before.
func New(cfg Config) *Queue {
	if err := cfg.Validate(); err != nil {
		panic(fmt.Sprintf("batch: New: %v", err))
	}
	q := newQueue(cfg, time.Now)
	go q.run()
	return q
}

func newQueue(cfg Config, now func() time.Time) *Queue {
	return &Queue{
		cfg:      cfg.withDefaults(),
		now:      now,
		wake:     make(chan struct{}, 1),
		stopped:  make(chan struct{}),
		lines:    make(map[*Lane]*line),
		requests: make(map[*request]struct{}),
	}
}

// Depth is what waits in a queue.
type Depth struct {
	Tokens    int
	Sequences int
	Oldest    time.Duration // how long the oldest sequence has waited, background lanes aside; 0 when none waits
}

// Depth returns what waits now, which does not include the batch being computed.
func (q *Queue) Depth() Depth {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := Depth{Tokens: q.tokens, Sequences: q.count}
	now := time.Now()
	for _, l := range q.turns {
		if !l.lane.background {
			d.Oldest = max(d.Oldest, l.waiting(now))
		}
	}
	return d
}

// Err returns nil while the queue takes sequences, else ErrDraining or ErrStopped.
func (q *Queue) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refusal()
}

func (q *Queue) refusal() error {
	switch {
	case q.dead != nil:
		return q.dead
	case q.draining:
		return ErrDraining
	}
	return nil
}

// Drain refuses new sequences and waits until those that wait are computed.
// When ctx ends first, what still waits fails with ErrDraining and Drain
// returns ctx's error; a batch that is being computed goes on to its end,
// because a scorer cannot be interrupted. Draining twice is waiting twice.
func (q *Queue) Drain(ctx context.Context) error {
	q.mu.Lock()
	q.draining = true
	q.mu.Unlock()
	q.signal()
	select {
	case <-q.stopped:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	q.failAll(ErrDraining)
	q.mu.Unlock()
	q.signal()
	return context.Cause(ctx)
}

// Close drops what waits and returns when the batch that is being computed, if
// any, is done.
func (q *Queue) Close() {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	// The error is that of the context just cancelled.
	_ = q.Drain(done)
	<-q.stopped
}

// run is the loop of the queue's own goroutine.
func (q *Queue) run() {
	why := ErrStopped
	// Nothing may wait for a loop that is gone, however it went: by its end, a
	// fault of ours, or a scorer that called runtime.Goexit.
	defer func() {
		if v := recover(); v != nil {
			why = fmt.Errorf("%w: panic: %v\n%s", ErrStopped, v, debug.Stack())
		}
		q.mu.Lock()
		q.dead = why
		q.failAll(why)
		q.mu.Unlock()
		close(q.stopped)
	}()
	for {
		b, end := q.next()
		switch {
		case end:
			q.beside.Wait()
			why = ErrDraining
			return
		case b == nil:
			<-q.wake
		case b.lane.beside > 0:
			q.beside.Go(func() { q.computeBeside(b) })
		default:
			q.compute(b)
		}
	}
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// work is a batch on its way to its scorer.
type work struct {
	lane   *Lane
	items  []*item
	tokens int
}

// next takes the next batch out of its line. It returns nil when nothing waits,
// and end when nothing will.
func (q *Queue) next() (b *work, end bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.turns) > 0 {
		now := q.now()
		at := q.turn(now)
		if at < 0 {
			return nil, false // what waits does for batches of its own lane
		}
		l := q.turns[at]
		q.turns = append(slices.Delete(q.turns, at, at+1), l)
		if b := q.pick(l, now); b != nil {
			if l.lane.beside > 0 {
				l.lane.busy++
			}
			return b, false
		}
	}
	return nil, q.draining
}

// computeBeside computes a batch of a lane beside others.
func (q *Queue) computeBeside(b *work) {
	defer func() { // of a scorer that ended this goroutine, too
		q.mu.Lock()
		b.lane.busy--
		q.mu.Unlock()
		q.signal()
	}()
	q.compute(b)
}

// turn chooses the line of the next batch: every second time the longest wait
// over the patience, else the line whose turn it is. A background line is chosen
// when there is no other. It is -1 when none may have a batch now.
func (q *Queue) turn(now time.Time) int {
	at, background := -1, -1
	longest := q.cfg.Patience
	for i, l := range q.turns {
		if l.lane.full() {
			continue
		}
		if l.lane.background {
			if background < 0 {
				background = i
			}
			continue
		}
		if at < 0 {
			at = i
		}
		if w := l.waiting(now); w > longest && !q.byAge {
			at, longest = i, w
		}
	}
	q.byAge = longest > q.cfg.Patience
	if at < 0 {
		return background
	}
	return at
}

// sequences bounds a batch of the line l.
func (q *Queue) sequences(l *line) int {
	if l.lane.background {
		return 1
	}
	return q.cfg.MaxBatchSequences
}

// unlink takes a sequence out of its line, and the line out of the turns once
// it is empty.
func (q *Queue) unlink(it *item) {
	l := it.line
	l.remove(it)
	q.tokens -= it.tokens()
	if l.lane.background {
		q.background -= it.tokens()
	}
	q.count--
	if l.count > 0 {
		return
	}
	delete(q.lines, l.lane)
	if at := slices.Index(q.turns, l); at >= 0 {
		// Delete clears the place that is left: it would hold the lane, and
		// with it the memory of a model that nobody asks any more.
		q.turns = slices.Delete(q.turns, at, at+1)
	}
}

// compute scores a batch and hands out its rewards.
func (q *Queue) compute(b *work) {
	seqs := make([]Sequence, len(b.items))
	for i, it := range b.items {
		seqs[i] = it.seq
	}
	rewards := make([]float32, len(seqs))
	start := time.Now()
	returned := false
	// A scorer that ends this goroutine leaves its requests to run's defer,
	// which fails whatever is still known.
	defer func() {
		if !returned {
			q.deliver(b, nil, ErrStopped, time.Since(start))
		}
	}()
	err := score(b.lane.scorer, rewards, seqs)
	returned = true
	took := time.Since(start)
	q.deliver(b, rewards, err, took)
	if q.cfg.Observe != nil {
		q.cfg.Observe(Batch{Lane: b.lane, Sequences: len(seqs), Tokens: b.tokens, Compute: took, Err: err})
	}
}

// score calls the scorer and turns a panic of it into an error.
func score(s Scorer, dst []float32, seqs []Sequence) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return s.Score(dst, seqs)
}

// deliver writes the rewards of a batch into its requests and wakes those that
// are complete; with an error it fails all of them.
func (q *Queue) deliver(b *work, rewards []float32, err error, took time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ended := q.now()
	if err == nil {
		b.lane.measure(b.tokens, took)
	}
	for i, it := range b.items {
		req := it.req
		if req.last != b {
			req.last = b
			if began := ended.Add(-took); req.batches == 0 || began.Before(req.began) { // lanes compute beside each other
				req.began = began
			}
			req.compute += took
			req.batches++
			req.ended = ended
		}
		switch {
		case req.finished:
		case err != nil:
			q.fail(req, fmt.Errorf("batch: lane %q: %w", b.lane.name, err))
		default:
			*it.dst = rewards[i]
			if req.left--; req.left == 0 {
				q.finish(req, nil)
			}
		}
	}
}
