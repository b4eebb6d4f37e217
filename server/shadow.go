package server

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
// it is told to nobody but the metrics.
type shadow struct {
	queue   *batch.Queue
	metrics *metrics
	slots   chan struct{} // holds a token for each sample under way
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex // of stopped, so that no sample begins while stop waits
	stopped bool
	samples sync.WaitGroup
}

// maxSamples bounds the samples under way, each of which holds its sequences
// and its model; those beyond are dropped.
const maxSamples = 256

// sampleTime bounds how long a sample waits for the queue to be idle.
const sampleTime = 30 * time.Second

// What came of a sample, in the metric's label.
const (
	sampleScored  = "scored"
	sampleDropped = "dropped" // no room, or no idle moment in time
	sampleFailed  = "failed"
)

func newShadow(queue *batch.Queue, metrics *metrics) *shadow {
	s := &shadow{queue: queue, metrics: metrics, slots: make(chan struct{}, maxSamples)}
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

// offer takes an answered task into the sample, or not. The caller holds d.
func (s *shadow) offer(d *live.Instance, t *task, h *memory.Hold) {
	if t.mode != api.ModeWA || d.Info().Sample <= 0 || rand.Float64() >= d.Info().Sample {
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
		s.metrics.samples.WithLabelValues(t.info.Name, sampleDropped).Inc()
		return
	}
	d.Hold()
	letGo := h.Share()
	s.samples.Go(func() {
		defer letGo()
		defer d.Release()
		defer func() { <-s.slots }()
		ctx, cancel := context.WithTimeout(s.ctx, sampleTime)
		defer cancel()
		s.samples.Go(func() {
			select {
			case <-d.Retired(): // a load may wait for the model's memory
				cancel()
			case <-ctx.Done():
			}
		})
		s.metrics.samples.WithLabelValues(t.info.Name, s.score(ctx, t)).Inc()
	})
}

// score scores the task's answers on the members' background lanes and returns
// what came of it.
func (s *shadow) score(ctx context.Context, t *task) (outcome string) {
	defer func() {
		if v := recover(); v != nil {
			s.metrics.panics.Inc()
			outcome = sampleFailed
		}
	}()
	sampled := &task{req: &api.RewardRequest{Inputs: t.req.Inputs}, model: t.model, info: t.info, mode: api.ModeEns, ensemble: true, prepared: t.prepared, places: t.places}
	jobs, err := sampled.jobs()
	if err != nil {
		return sampleFailed
	}
	for i := range jobs {
		jobs[i].Lane = jobs[i].Lane.Background()
	}
	rewards, _, err := s.queue.SubmitAll(ctx, jobs)
	switch {
	case ctx.Err() != nil, isOverload(err):
		return sampleDropped
	case err != nil:
		return sampleFailed
	}
	sampled.members = rewards
	reply, err := sampled.reply("")
	if err != nil {
		return sampleFailed
	}
	std := make([]float64, len(reply.Data))
	gap := s.metrics.gap.WithLabelValues(t.info.Name, t.info.Revision)
	spread := s.metrics.spread.WithLabelValues(t.info.Name, t.info.Revision)
	for k := range reply.Data {
		std[k] = float64(*reply.Data[k].Std)
		spread.Observe(std[k])
		gap.Observe(math.Abs(float64(t.rewards[k]) - float64(reply.Data[k].Reward)))
	}
	s.metrics.drift.spread(t.info.Name, t.info.Revision, std)
	return sampleScored
}
