package score

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/memory"
)

// Config bounds what a request may ask for.
type Config struct {
	MaxSequences int // answers in one request
	MaxTokens    int // of one request's answers together
	// ClientTokensPerMinute bounds the tokens that one client may have scored in
	// a minute; 0 is no bound.
	ClientTokensPerMinute int
	// Observer is told of what is counted.
	Observer Observer
}

// Observer counts what is scored. It is called from many goroutines at once.
type Observer interface {
	// Scored is told of each request that has its rewards.
	Scored(c *Call, reply *api.RewardResponse)
	// Waiting is told how many more requests wait for room than before: 1 or -1.
	Waiting(change int)
	// Sampled is told what came of each sample.
	Sampled(s Sample)
}

// Service answers requests. Make one with New, and stop it.
type Service struct {
	cfg      Config
	models   *live.Models
	queue    *batch.Queue
	quotas   *quotas
	shadow   *shadow
	turn     chan struct{} // holds a token while the first in line waits for room
	draining atomic.Bool
}

// New returns what scores with models in the queue.
func New(cfg Config, models *live.Models, queue *batch.Queue) *Service {
	return &Service{
		cfg: cfg, models: models, queue: queue, quotas: newQuotas(cfg.ClientTokensPerMinute),
		shadow: newShadow(queue, cfg.Observer), turn: make(chan struct{}, 1),
	}
}

// Drain lets no request wait any more for a first model to be live.
func (s *Service) Drain() { s.draining.Store(true) }

// Draining reports whether Drain was called.
func (s *Service) Draining() bool { return s.draining.Load() }

// Stop ends the samples under way and waits for them. It may be called twice.
func (s *Service) Stop() { s.shadow.stop() }

// Call is one request on its way. Who calls fills in the first part.
type Call struct {
	ID     string       // of the reply
	Client string       // whose it is, for fairness and quotas
	Pin    string       // the header live.PinHeader, as it was sent
	Hold   *memory.Hold // of the request's memory, until its reply is written
	Text   int64        // bytes of it for the body and what is decoded and rendered from it
	// Reading is how a dialect's inputs are read, beyond what the request says.
	// The zero value is the native way.
	Reading live.PrepareOptions

	// What became of it, as far as it went.

	Model, Mode, Revision    string // Mode is "compare" for a comparison
	Label                    string // the model's name for its score
	Sequences, Tokens        int
	Refused                  int     // answers that were refused alone
	Faults                   []error // of answers that the model did not score while others were; to be logged
	Tokenize, Queue, Compute time.Duration

	// KeepSteps has the steps of the request kept, for spans of them.
	KeepSteps bool
	Steps     []Step

	queued  int // tokens that the queue would have to take
	charged int // tokens that were taken from its client's quota
}

// Reward answers a native request. Every dialect is a translation to and from it.
// [Error] says what its error is on the wire.
func (s *Service) Reward(ctx context.Context, c *Call, req *api.RewardRequest) (*api.RewardResponse, error) {
	if err := req.Validate(s.cfg.MaxSequences); err != nil {
		return nil, err
	}
	i, as, err := s.models.Acquire(ctx, req.Model, c.Pin)
	if err != nil {
		return nil, err
	}
	defer i.Release()
	t := &task{client: c.Client, req: req, reading: c.Reading, model: i.Model(), info: i.Info(), as: as}
	t.mode = cmp.Or(req.Mode, t.info.Mode)
	t.ensemble = t.mode == api.ModeEns || t.mode == api.ModeBoth
	c.Model, c.Mode, c.Revision, c.Label = t.info.ID, t.mode, t.info.Revision, t.info.Label
	if err := t.checkMode(); err != nil {
		return nil, err
	}
	lanes := len(t.lanes())
	if err := s.reserveTokens(ctx, c, i, req.Count(), lanes, req.All()); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := t.prepare(ctx, s.cfg.MaxTokens); err != nil {
		return nil, err
	}
	c.Tokenize, c.Sequences, c.Tokens = time.Since(start), len(t.prepared), t.tokens()
	c.step(Step{Name: "tokenize", Began: start, Ended: start.Add(c.Tokenize)})
	c.queued = c.Tokens * lanes
	more, err := t.askCost()
	if err != nil {
		return nil, err
	}
	if err := s.charge(c, c.queued); err != nil {
		return nil, err
	}
	if err := s.keepTokens(ctx, c, req.Count(), lanes, c.Tokens, more); err != nil {
		return nil, err
	}
	t.ask()
	stats, err := t.submit(ctx, s.queue)
	c.Queue, c.Compute = stats.Queue, stats.Compute
	c.computed(stats, "", t.info.Device)
	if err != nil {
		return nil, err
	}
	reply, err := t.reply(c.ID)
	if err != nil {
		return nil, err
	}
	c.Refused, c.Faults = len(t.refused)+len(t.faults), t.faults
	s.cfg.Observer.Scored(c, reply)
	s.shadow.offer(i, t, c.Hold)
	return reply, nil
}

// charge takes the tokens of a request from its client's quota, once whatever
// often it is prepared.
func (s *Service) charge(c *Call, tokens int) error {
	if err := s.quotas.charge(c.Client, tokens-c.charged); err != nil {
		return err
	}
	c.charged = max(c.charged, tokens)
	return nil
}

// RewardWhenRoom is Reward, and while the queue is full, no model is live yet or its
// device starts again it waits, at most for patience, as the clients of other stacks would rather wait
// than be refused: one refusal ends a verl run, and five within five seconds an
// OpenRLHF step.
//
// What waits here holds its body, but no model, no tokens and no place in the
// queue, so that a swap does not wait for it; the limit on connections bounds
// how many they are.
func (s *Service) RewardWhenRoom(
	ctx context.Context, c *Call, req *api.RewardRequest, patience time.Duration,
) (*api.RewardResponse, error) {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		reply, err := s.Reward(ctx, c, req)
		var room func() bool
		switch {
		case errors.Is(err, batch.ErrOverloaded):
			room = func() bool { return s.queue.Room(c.queued) }
		case unavailable(err):
			again := time.Now().Add(devicePause)
			room = func() bool { return s.Draining() || time.Now().After(again) }
		case api.IsCode(err, api.CodeNotReady) && !s.Draining():
			room = func() bool { return s.Draining() || len(s.models.List()) > 0 }
		default:
			return reply, err
		}
		since := time.Now()
		again := s.waitFor(wait, room)
		c.step(Step{Name: "room", Began: since, Ended: time.Now()})
		if again {
			continue
		}
		if gone := context.Cause(ctx); errors.Is(gone, context.Canceled) {
			return nil, gone
		}
		return nil, err
	}
}

// devicePause is how long a request waits until it asks again a device that is away.
const devicePause = 250 * time.Millisecond

// pollInterval is how often the first in line looks whether it may go on: less
// than a batch takes on any model that fills a queue.
const pollInterval = 2 * time.Millisecond

// waitFor waits until there is room, in line with all others that wait, first
// come first served; false when ctx ended first.
func (s *Service) waitFor(ctx context.Context, room func() bool) bool {
	s.cfg.Observer.Waiting(1)
	defer s.cfg.Observer.Waiting(-1)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return false
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !room() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
