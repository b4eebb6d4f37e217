package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Job is work for one lane.
type Job struct {
	Lane *Lane
	Seqs []Sequence
	// Client is whose work it is: clients share a lane evenly, whatever each
	// sends. Those without a name are one.
	Client string
}

// Stats says where the time of one submission went.
type Stats struct {
	Queue   time.Duration // waiting, for a batch to start or for the others' part in it
	Compute time.Duration // of the batches that held its sequences
	Batches int

	// Since is when the queue took it, Began when the first of its batches started and
	// Ended when the last one was done; each zero when it came to none of that.
	Since, Began, Ended time.Time
}

// request is one submission. The queue's lock guards all but done, gone and since.
type request struct {
	since    time.Time
	gone     <-chan struct{} // closed when the caller's context ends
	done     chan struct{}   // closed when the request is finished
	items    []item
	left     int // sequences without a reward
	waiting  int // sequences that no batch has taken
	finished bool
	err      error
	compute  time.Duration
	batches  int
	began    time.Time // of the first batch
	ended    time.Time // of the last one so far
	last     *work     // the last batch that delivered to it
}

// Submit scores seqs on lane and returns their rewards, in their order. The
// sequences may be split over several batches and share them with others'.
//
// Submit returns early when ctx ends (with its cause), when the queue is full
// (ErrOverloaded), when a sequence waits too long (ErrExpired) and when the
// queue ends. Then a batch that is being computed may still read seqs: their
// memory must not be written to again.
func (q *Queue) Submit(ctx context.Context, lane *Lane, seqs []Sequence) ([]float32, Stats, error) {
	rewards, stats, err := q.SubmitAll(ctx, []Job{{Lane: lane, Seqs: seqs}})
	if err != nil {
		return nil, stats, err
	}
	return rewards[0], stats, nil
}

// SubmitAll is Submit for several lanes at once, as an ensemble needs: all of
// the jobs are taken into the queue, or none. The rewards are by job.
func (q *Queue) SubmitAll(ctx context.Context, jobs []Job) ([][]float32, Stats, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, Stats{}, err
	}
	req, rewards := newRequest(ctx, jobs)
	if err := q.admit(req, jobs); err != nil {
		return nil, Stats{}, err
	}
	expired := time.NewTimer(q.cfg.MaxWait)
	defer expired.Stop()
	for {
		select {
		case <-req.done:
			return q.outcome(ctx, req, rewards)
		case <-ctx.Done():
			q.giveUp(req, context.Cause(ctx), false)
			return q.outcome(ctx, req, rewards)
		case <-expired.C:
			// What a batch has taken is no longer waiting, and is worth its wait.
			q.giveUp(req, ErrExpired, true)
		}
	}
}

// errGone marks a request that the loop found without a caller. The caller is
// told its context's cause.
var errGone = errors.New("batch: the caller is gone")

// newRequest lays out the request's items and the memory of its rewards.
func newRequest(ctx context.Context, jobs []Job) (*request, [][]float32) {
	n := 0
	for _, j := range jobs {
		n += len(j.Seqs)
	}
	req := &request{gone: ctx.Done(), done: make(chan struct{}), items: make([]item, n), left: n, waiting: n}
	all := make([]float32, n)
	rewards := make([][]float32, len(jobs))
	at := 0
	for i, j := range jobs {
		rewards[i] = all[at : at+len(j.Seqs) : at+len(j.Seqs)]
		for k, seq := range j.Seqs {
			if !seq.Valid() {
				panic(fmt.Sprintf("batch: lane %q: sequence of %d ids, %d types, scored at %v",
					j.Lane.name, len(seq.IDs), len(seq.Types), seq.Read))
			}
			req.items[at] = item{req: req, seq: seq, dst: &all[at], joined: k > 0 &&
				joined(j.Seqs[k-1].IDs, seq.IDs)}
			at++
		}
	}
	return req, rewards
}

// joined reports whether b shares most of its tokens with a, from the first on.
func joined(a, b []int32) bool {
	n := len(b)/2 + 1
	return len(a) >= n && slices.Equal(a[:n], b[:n])
}

// backgroundShare is which part of MaxQueuedTokens may wait in background lanes,
// beside what the others may.
const backgroundShare = 8

// admit takes all sequences of a request into the queue, or none.
func (q *Queue) admit(req *request, jobs []Job) error {
	tokens := 0
	for i := range req.items {
		tokens += req.items[i].tokens()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.refusal(); err != nil {
		return err
	}
	if len(req.items) == 0 {
		close(req.done)
		req.finished = true
		return nil
	}
	background := 0
	for _, j := range jobs {
		if j.Lane.background {
			for _, s := range j.Seqs {
				background += len(s.IDs)
			}
		}
	}
	waiting, limit := q.tokens-q.background, q.cfg.MaxQueuedTokens
	if waiting > 0 && waiting+tokens-background > limit {
		return fmt.Errorf("%w: %d tokens wait, %d more would be over %d", ErrOverloaded, waiting,
			tokens-background, limit)
	}
	if q.background > 0 && background > 0 && q.background+background > limit/backgroundShare {
		return fmt.Errorf("%w: %d tokens wait in the background, %d more would be over %d",
			ErrOverloaded, q.background, background, limit/backgroundShare)
	}
	q.background += background
	req.since = q.now()
	q.requests[req] = struct{}{}
	q.tokens += tokens
	q.count += len(req.items)
	at := 0
	for _, j := range jobs {
		if n := len(j.Seqs); n > 0 {
			q.line(j.Lane).add(j.Client, req.items[at:at+n])
			at += n
		}
	}
	q.signal()
	return nil
}

// Limits returns the queue's configuration, defaults filled in.
func (q *Queue) Limits() Config { return q.cfg }

// Room reports whether a submission of so many tokens would not be refused for
// the queue's being full.
func (q *Queue) Room(tokens int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refusal() != nil || q.tokens == 0 || q.tokens+tokens <= q.cfg.MaxQueuedTokens
}

// line returns the line of lane, which joins the turns at the back when new.
func (q *Queue) line(lane *Lane) *line {
	l := q.lines[lane]
	if l == nil {
		l = &line{lane: lane, byName: make(map[string]*client)}
		q.lines[lane] = l
		q.turns = append(q.turns, l)
	}
	return l
}

// giveUp fails a request for its caller's sake; with onlyWaiting not when all
// of it is in batches already.
func (q *Queue) giveUp(req *request, err error, onlyWaiting bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if onlyWaiting && req.waiting == 0 {
		return
	}
	q.fail(req, err)
}

func (q *Queue) failAll(err error) {
	for req := range q.requests {
		q.fail(req, err)
	}
}

// fail takes what waits of a request out of the queue and finishes it.
func (q *Queue) fail(req *request, err error) {
	if req.finished {
		return
	}
	for i := range req.items {
		if it := &req.items[i]; it.linked {
			q.unlink(it)
		}
	}
	req.waiting = 0
	q.finish(req, err)
}

func (q *Queue) finish(req *request, err error) {
	req.finished, req.err = true, err
	delete(q.requests, req)
	close(req.done)
}

// outcome returns what became of a finished request. Nothing writes to its
// rewards any more.
func (q *Queue) outcome(ctx context.Context, req *request, rewards [][]float32) ([][]float32, Stats, error) {
	<-req.done
	q.mu.Lock()
	defer q.mu.Unlock()
	stats := Stats{Compute: req.compute, Batches: req.batches, Since: req.since, Began: req.began, Ended: req.ended}
	if !req.since.IsZero() {
		stats.Queue = max(0, time.Since(req.since)-req.compute)
	}
	if req.err == errGone {
		return nil, stats, context.Cause(ctx)
	}
	if req.err != nil {
		return nil, stats, req.err
	}
	return rewards, stats, nil
}
