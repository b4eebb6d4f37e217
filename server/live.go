package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
)

// Builder makes models of what they are made of. The server gives it one model
// to build at a time.
type Builder interface {
	// Check reports what is wrong with a spec that passed ModelSpec.Validate,
	// as far as that can be known without opening a file.
	Check(spec *api.ModelSpec) error
	// Build loads the model that spec describes and calls it name. It tells
	// progress, from any goroutine, what it is doing and how much of that is
	// done, in [0, 1]. It may return early once ctx has ended. Its error may
	// name files: administrators read it.
	Build(ctx context.Context, name string, spec *api.ModelSpec, progress func(doing string, share float64)) (Model, error)
}

// Live changes the models of a server while it serves. A change is a [Load]:
// the model is built beside the one that is live, checked, judged by its guard,
// written to the state file and exchanged, in this order, and whatever goes
// wrong on the way leaves what was live as it was.
//
// One goroutine carries out the loads, one after the other, so that memory
// holds the live models and one more at most: before a model is built, what was
// kept of earlier revisions is dropped and the requests that hold them are
// waited for.
type Live struct {
	models  *Models
	queue   *batch.Queue
	builder Builder
	log     *slog.Logger
	metrics *liveMetrics
	grace   time.Duration // how long the revision before is kept; 0 is not at all
	file    string        // of the state; "" for none

	ctx     context.Context // of the loads; ended by stop
	cancel  context.CancelCauseFunc
	wake    chan struct{} // holds a token when a load waits
	ended   chan struct{} // holds a token when a deployment has ended
	workers sync.WaitGroup

	// commit is held while a change becomes lasting: the state file, then the
	// exchange. It is taken before mu.
	commit sync.Mutex
	state  state // guarded by commit

	mu      sync.Mutex
	waiting []*Load // in the order of their turns
	current *Load
	history map[string][]api.ModelEvent // by name, oldest first
}

// maxHistory bounds the events that are kept of one model.
const maxHistory = 100

// errStopping is why loads end with the server.
var errStopping = api.Errorf(api.CodeDraining, "", "the server is stopping, try another or again")

// newLive starts what changes the models of a server.
func newLive(cfg Config, models *Models, queue *batch.Queue, metrics *liveMetrics) (*Live, error) {
	l := &Live{
		models: models, queue: queue, builder: cfg.Builder, log: cfg.Logger, metrics: metrics,
		grace: max(0, cfg.KeepPrevious), file: cfg.StateFile,
		wake: make(chan struct{}, 1), ended: make(chan struct{}, 1), history: make(map[string][]api.ModelEvent),
	}
	if err := l.readState(); err != nil {
		return nil, err
	}
	if info, err := os.Stat(cfg.ModelRoot); cfg.ModelRoot != "" && (err != nil || !info.IsDir()) {
		return nil, fmt.Errorf("server: model root %s: not a folder", cfg.ModelRoot)
	}
	if len(cfg.AdminKeys) > 0 && cfg.ModelRoot == "" {
		l.log.Warn("no model can be loaded by a request: there are administrators' keys but no model root")
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	models.mu.Lock()
	models.ended = func() { signal(l.ended) }
	models.mu.Unlock()
	l.workers.Go(l.run)
	l.workers.Go(l.reclaim)
	return l, nil
}

// stop fails the loads that wait and the one under way; close waits for it.
func (l *Live) stop() {
	if l != nil {
		l.cancel(errStopping)
	}
}

func (l *Live) close() {
	if l != nil {
		l.stop()
		l.workers.Wait()
	}
}

// signal leaves a token in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Load is a change of one model under way. Its fields are guarded by Live's lock
// until done is closed.
type Load struct {
	name       string
	spec       *api.ModelSpec
	cause      string
	want       string         // the revision that must come of it, as of a rollback; "" for any
	configured *api.ModelSpec // what the configuration says, at the start
	by         origin
	asked      time.Time

	live    *Live
	ctx     context.Context // ends with the server, or with the load's purpose
	cancel  context.CancelCauseFunc
	doing   string
	share   float64
	logged  time.Time
	removed bool // whether it was called off because its model was removed

	done  chan struct{}
	event api.ModelEvent // once done
	err   error          // once done; an *api.Error
}

// Wait returns when the load is done: nil when its revision is live, else an
// *api.Error; or ctx's cause when ctx ends first, and the load goes on.
func (ld *Load) Wait(ctx context.Context) error {
	select {
	case <-ld.done:
		return ld.err
	default:
	}
	select {
	case <-ld.done:
		return ld.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Revision returns what went live; "" unless the load is done and was a success.
func (ld *Load) Revision() string {
	select {
	case <-ld.done:
		if ld.err == nil {
			return ld.event.Revision
		}
	default:
	}
	return ""
}

// Put asks for a model to be loaded and made live under name, in place of the
// one that is. The cause is a word for the history. A load of the name that has
// not begun is superseded. The error is an *api.Error of a spec that cannot be
// loaded whatever the files hold.
func (l *Live) Put(name string, spec *api.ModelSpec, cause string) (*Load, error) {
	return l.put(&Load{name: name, spec: spec.Clone(), cause: cause})
}

func (l *Live) put(ld *Load) (*Load, error) {
	if !validName(ld.name) {
		return nil, api.Errorf(api.CodeInvalidValue, "name", "a model's name is 1 to 200 printable ASCII characters without spaces")
	}
	if err := ld.spec.Validate(); err != nil {
		return nil, err
	}
	if err := l.builder.Check(ld.spec); err != nil {
		if e, ok := errors.AsType[*api.Error](err); ok {
			return nil, e
		}
		return nil, api.Errorf(api.CodeInvalidValue, "", "%v", err)
	}
	ld.live, ld.asked, ld.doing, ld.done = l, time.Now(), "waiting for its turn", make(chan struct{})
	ld.ctx, ld.cancel = context.WithCancelCause(l.ctx)
	later := api.Errorf(api.CodeSuperseded, "", "a later change of model %q took this one's place", ld.name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, errStopping
	}
	l.waiting = slices.DeleteFunc(l.waiting, func(other *Load) bool {
		if other.name != ld.name {
			return false
		}
		l.finish(other, api.ModelEvent{}, later)
		return true
	})
	l.waiting = append(l.waiting, ld)
	signal(l.wake)
	return ld, nil
}

// run carries out the loads in their order until the server stops.
func (l *Live) run() {
	for {
		ld := l.next()
		if ld == nil {
			select {
			case <-l.wake:
				continue
			case <-l.ctx.Done():
			}
			l.mu.Lock()
			for _, ld := range l.waiting {
				l.finish(ld, api.ModelEvent{Outcome: api.OutcomeFailed}, errStopping)
			}
			l.waiting = nil
			l.mu.Unlock()
			return
		}
		l.carryOut(ld)
	}
}

// next takes the load whose turn it is, if any and unless the server stops.
func (l *Live) next() *Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 || l.ctx.Err() != nil {
		return nil
	}
	l.current, l.waiting = l.waiting[0], l.waiting[1:]
	return l.current
}

// carryOut builds, checks and commits one load.
func (l *Live) carryOut(ld *Load) {
	l.log.Info("loading", "model", ld.name, "cause", ld.cause, "members", len(ld.spec.Members))
	start := time.Now()
	m, err := l.build(ld)
	took := time.Since(start)
	event := api.ModelEvent{Outcome: api.OutcomeFailed, LoadSeconds: took.Seconds()}
	if err == nil {
		err = l.exchange(ld, m, &event)
	}
	if err != nil && ld.ctx.Err() != nil {
		err = context.Cause(ld.ctx) // why it was called off says more than where it was
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = nil
	l.finish(ld, event, err)
	signal(l.ended) // what loading needed for a moment, and what did not go live
}

// build makes a load's model and holds it against everything that a model must
// meet before it answers a request.
func (l *Live) build(ld *Load) (m Model, err error) {
	// A fault in reading one checkpoint must not end the process that serves another.
	defer func() {
		if v := recover(); v != nil {
			l.log.Error("panic in a load", "model", ld.name, "panic", panicText(v), "stack", string(debug.Stack()))
			m, err = nil, fmt.Errorf("panic: %s", panicText(v))
		}
	}()
	ld.progress("waiting for requests of earlier revisions", 0)
	l.models.dropAllKept()
	if err := l.models.settle(ld.ctx); err != nil {
		return nil, err
	}
	var members *verdict
	if g := ld.spec.Guard; g != nil {
		if members, err = l.judgeMembers(ld); err != nil {
			return nil, err
		}
	}
	if m, err = l.builder.Build(ld.ctx, ld.name, ld.spec, ld.progress); err != nil {
		return nil, err
	}
	if err := context.Cause(ld.ctx); err != nil {
		return nil, err
	}
	ld.progress("checking", 0)
	if err := l.probe(ld.ctx, ld.name, m); err != nil {
		return nil, err
	}
	if members != nil {
		return m, l.judge(ld, m, members)
	}
	return m, nil
}

// exchange makes a built model live: first for the next start, in the state
// file, and then for the next request.
func (l *Live) exchange(ld *Load, m Model, event *api.ModelEvent) error {
	info := m.Info()
	event.Revision, event.Members = info.Revision, info.Members
	if ld.want != "" && info.Revision != ld.want {
		return fmt.Errorf("the checkpoints are no longer what they were: they make revision %s, want %s", info.Revision, ld.want)
	}
	l.commit.Lock()
	defer l.commit.Unlock()
	if err := context.Cause(ld.ctx); err != nil {
		return err
	}
	live, _, ok := l.models.describe(ld.name)
	same := ok && sameModel(live, info)
	was := l.state.Models[ld.name]
	if top := was.top(); ld.by == byStart && top != nil && top.Revision != info.Revision && sameSpec(top.Spec, ld.spec) {
		l.log.Warn("the checkpoints changed since the model was last live", "model", ld.name, "revision", info.Revision, "before", top.Revision)
	}
	err := l.record(ld, generation{Revision: info.Revision, Spec: ld.spec, Time: time.Now(), Cause: ld.cause, LoadSeconds: event.LoadSeconds, Members: info.Members})
	if err != nil {
		return err
	}
	if same {
		event.Outcome = api.OutcomeUnchanged
		return nil
	}
	if _, err := l.models.exchange(m, l.grace); err != nil {
		return err // never: probe has checked what it checks
	}
	event.Outcome = api.OutcomeLive
	return nil
}

// sameModel reports whether two deployments answer every request alike.
func sameModel(a, b Info) bool {
	return a.Revision == b.Revision && a.Mode == b.Mode && a.Sample == b.Sample && slices.Equal(a.Modes, b.Modes) && slices.Equal(a.Members, b.Members)
}

// finish ends a load and tells everyone. The caller holds mu.
func (l *Live) finish(ld *Load, event api.ModelEvent, err error) {
	ld.cancel(nil)
	e := loadError(err)
	event.Time, event.Cause = time.Now().Unix(), ld.cause
	attrs := []any{"model", ld.name, "cause", ld.cause, "seconds", event.LoadSeconds}
	if e != nil {
		ld.err = e
		event.Error = e.Message
		switch e.Code {
		case api.CodeGuardRefused:
			event.Outcome = api.OutcomeRefused
		case api.CodeSuperseded:
			event.Outcome = api.OutcomeSuperseded
			if ld.removed {
				event.Outcome = api.OutcomeRemoved
			}
		}
		level := slog.LevelError
		if event.Outcome == api.OutcomeSuperseded || event.Outcome == api.OutcomeRemoved || e == errStopping {
			level = slog.LevelInfo
		}
		l.log.Log(l.ctx, level, "load "+event.Outcome, append(attrs, "error", event.Error)...)
	} else {
		info, _, _ := l.models.describe(ld.name)
		l.log.Info("model is live", append(attrs, "outcome", event.Outcome, "revision", info.Revision, "mode", info.Mode, "members", len(info.Members),
			"architecture", info.Architecture, "dtype", info.DType, "pooling", info.Pooling, "context", info.ContextLength)...)
	}
	ld.event = event
	l.remember(ld.name, event)
	l.metrics.loaded(ld.name, event)
	close(ld.done)
}

// loadError is what a load's error is to the one who asked for it.
func loadError(err error) *api.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		switch e.Code {
		case api.CodeGuardRefused, api.CodeSuperseded, api.CodeDraining:
			return e
		}
	}
	return api.Errorf(api.CodeLoadFailed, "", "%v", err)
}

// remember adds an event to a model's history. The caller holds mu.
func (l *Live) remember(name string, event api.ModelEvent) {
	h := append(l.history[name], event)
	if over := len(h) - maxHistory; over > 0 {
		h = slices.Delete(h, 0, over)
	}
	l.history[name] = h
}

// progress notes how far a load is, and logs it every five seconds.
func (ld *Load) progress(doing string, share float64) {
	const every = 5 * time.Second
	l := ld.live
	l.mu.Lock()
	defer l.mu.Unlock()
	ld.doing, ld.share = doing, min(max(share, 0), 1)
	now := time.Now()
	if ld.logged.IsZero() {
		ld.logged = now
	}
	if now.Sub(ld.logged) >= every {
		ld.logged = now
		l.log.Info("loading", "model", ld.name, "doing", doing, "percent", int(100*ld.share))
	}
}

// reclaim gives memory back to the system after deployments have ended.
func (l *Live) reclaim() {
	// Long enough for the handlers of the last requests to let go of their
	// model, and for what ended together to be collected together.
	const settle = 200 * time.Millisecond
	for {
		select {
		case <-l.ended:
		case <-l.ctx.Done():
			return
		}
		select {
		case <-time.After(settle):
		case <-l.ctx.Done():
			return
		}
		debug.FreeOSMemory()
	}
}

// Remove takes a model out of service: loads of it are called off, and requests
// that hold it are answered. The error is an *api.Error.
func (l *Live) Remove(name, cause string) error {
	gone := api.Errorf(api.CodeSuperseded, "", "model %q was removed", name)
	l.mu.Lock()
	found := false
	l.waiting = slices.DeleteFunc(l.waiting, func(ld *Load) bool {
		if ld.name != name {
			return false
		}
		found, ld.removed = true, true
		l.finish(ld, api.ModelEvent{}, gone)
		return true
	})
	if l.current != nil && l.current.name == name {
		found, l.current.removed = true, true
		l.current.cancel(gone)
	}
	l.mu.Unlock()

	l.commit.Lock()
	defer l.commit.Unlock()
	info, _, ok := l.models.describe(name)
	was := l.state.Models[name]
	if !ok && !found && was.top() == nil {
		return unknownModel("name", name)
	}
	if err := l.forget(name); err != nil {
		return err
	}
	l.models.Remove(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	event := api.ModelEvent{Time: time.Now().Unix(), Cause: cause, Outcome: api.OutcomeRemoved, Revision: info.Revision}
	l.remember(name, event)
	l.metrics.loaded(name, event)
	l.log.Info("model removed", "model", name, "cause", cause, "revision", info.Revision)
	return nil
}
