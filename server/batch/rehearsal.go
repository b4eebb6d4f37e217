package batch

import (
	"context"
	"time"
)

// Rehearsal is a queue by the same rules that computes nothing and has a clock of its
// caller's: it says which batches would be computed, for simulations. It is used by one
// goroutine.
type Rehearsal struct {
	queue *Queue
	clock time.Time
	under *work // the batch under way; nil for none
}

// Rehearsed is a submission to a Rehearsal.
type Rehearsed struct{ req *request }

// Done reports whether all of its sequences were scored.
func (r Rehearsed) Done() bool { return r.req.finished && r.req.err == nil }

// nothing is the scorer of a lane that is rehearsed.
type nothing struct{}

func (nothing) Score([]float32, []Sequence) error { return nil }

// RehearsedLane returns a lane for rehearsals.
func RehearsedLane(name string) *Lane { return NewLane(name, nothing{}) }

// Rehearse returns a queue without a goroutine, at the time 0. It panics as New does.
func Rehearse(cfg Config) *Rehearsal {
	r := &Rehearsal{clock: time.Unix(0, 0)}
	r.queue = newQueue(cfg, func() time.Time { return r.clock })
	return r
}

// At sets the clock, which counts from 0 and never goes back.
func (r *Rehearsal) At(t time.Duration) { r.clock = time.Unix(0, 0).Add(t) }

// Submit is [Queue.SubmitAll] without the wait.
func (r *Rehearsal) Submit(jobs []Job) (Rehearsed, error) {
	req, _ := newRequest(context.Background(), jobs)
	return Rehearsed{req}, r.queue.admit(req, jobs)
}

// Taken is a sequence in a batch, and the submission that it is of.
type Taken struct {
	Rehearsed
	Sequence
}

// Start takes the next batch out of the queue, while none is under way, and returns its
// sequences; none when nothing waits.
func (r *Rehearsal) Start() []Taken {
	if r.under != nil {
		return nil
	}
	if r.under, _ = r.queue.next(); r.under == nil {
		return nil
	}
	seqs := make([]Taken, len(r.under.items))
	for i, it := range r.under.items {
		seqs[i] = Taken{Rehearsed{it.req}, it.seq}
	}
	return seqs
}

// Finish ends the batch under way, which took so long.
func (r *Rehearsal) Finish(took time.Duration) {
	b := r.under
	r.under = nil
	r.queue.deliver(b, make([]float32, len(b.items)), nil, took)
}
