package score

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/memory"
)

// shadow scores a sample of what the weight average answered by the ensemble,
// too, for the metrics of disagreement alone. It begins once the answer is
// made, its sequences give way to all others in the queue, and what becomes of
// it is told to nobody but the observer.
type shadow struct {
	queue    *batch.Queue
	observer Observer
	slots    chan struct{} // holds a token for each sample under way
	ctx      context.Context
	cancel   context.CancelFunc
	mu       sync.Mutex // of stopped, so that no sample begins while stop waits
	stopped  bool
	samples  sync.WaitGroup
}

// maxSamples bounds the samples under way, each of which holds its sequences
// and its model; those beyond are dropped.
const maxSamples = 256

// sampleTime bounds how long a sample waits for the queue to be idle.
const sampleTime = 30 * time.Second

// Sample is a request in the mode wa whose ensemble was to be scored beside it.
type Sample struct {
	Model, Revision string
	Outcome         string // one of the constants
	Panic           bool   // whether a panic was contained; then it failed

	// Of each answer, when it was scored: the standard deviation of the members'
	// rewards, and how far the ensemble's reward is from the average's.
	Std, Gap []float64
}

// What came of a sample.
const (
	SampleScored  = "scored"
	SampleDropped = "dropped" // no room, or no idle moment in time
	SampleFailed  = "failed"
)

func newShadow(queue *batch.Queue, observer Observer) *shadow {
	s := &shadow{queue: queue, observer: observer, slots: make(chan struct{}, maxSamples)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// stop ends the samples under way and waits for them. It may be called twice.
func (s *shadow) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.samples.Wait()
}

// offer takes an answered task into the sample, or not. The caller holds i.
func (s *shadow) offer(i *live.Instance, t *task, h *memory.Hold) {
	if t.mode != api.ModeWA || t.info.Sample <= 0 || rand.Float64() >= t.info.Sample {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		s.observer.Sampled(Sample{Model: t.info.ID, Revision: t.info.Revision, Outcome: SampleDropped})
		return
	}
	i.Hold()
	letGo := h.Share()
	s.samples.Go(func() {
		defer letGo()
		defer i.Release()
		defer func() { <-s.slots }()
		ctx, cancel := context.WithTimeout(s.ctx, sampleTime)
		defer cancel()
		s.samples.Go(func() {
			select {
			case <-i.Retired(): // a change may wait for the model's memory
				cancel()
			case <-ctx.Done():
			}
		})
		s.observer.Sampled(s.score(ctx, t))
	})
}

// score scores the task's answers on the members' background lanes.
func (s *shadow) score(ctx context.Context, t *task) (out Sample) {
	out = Sample{Model: t.info.ID, Revision: t.info.Revision, Outcome: SampleFailed}
	failed := out
	defer func() {
		if v := recover(); v != nil {
			out = failed
			out.Panic = true
		}
	}()
	sampled := &task{
		req: &api.RewardRequest{Inputs: t.req.Inputs}, model: t.model, info: t.info,
		mode: api.ModeEns, ensemble: true,
		prepared: t.prepared, places: t.places,
	}
	jobs, err := sampled.jobs()
	if err != nil {
		return failed
	}
	for i := range jobs {
		jobs[i].Lane = jobs[i].Lane.Background()
	}
	rewards, _, err := s.queue.SubmitAll(ctx, jobs)
	switch {
	case ctx.Err() != nil, isOverload(err):
		out.Outcome = SampleDropped
		return out
	case err != nil:
		return failed
	}
	sampled.members = rewards
	reply, err := sampled.reply("")
	if err != nil {
		return failed
	}
	out.Outcome = SampleScored
	for k := range reply.Data {
		if !finite(t.rewards[k]) { // refused alone: it has no reward that the ensemble's is held against
			continue
		}
		out.Std = append(out.Std, float64(*reply.Data[k].Std))
		out.Gap = append(out.Gap, math.Abs(float64(t.rewards[k])-float64(reply.Data[k].Reward)))
	}
	return out
}
