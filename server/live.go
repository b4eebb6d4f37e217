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
	file    *stateFile    // nil for none; guarded by commit

	ctx     context.Context // of the loads; ended by stop
	cancel  context.CancelCauseFunc
	wake    chan struct{} // holds a token when a load waits
	ended   chan struct{} // holds a token when a deployment has ended
	retry   chan struct{} // holds a token when a model has failed
	workers sync.WaitGroup

	// commit is held while a change becomes lasting: the state file, then the
	// exchange. It is taken before mu.
	commit sync.Mutex
	state  state // guarded by commit

	mu      sync.Mutex
	waiting []*Load // in the order of their turns
	current *Load
	history map[string][]api.ModelEvent // by name, oldest first
	serving map[string]*api.ModelSpec   // what the live models are made of, by name
	wanted  map[string]string           // models that the server is not ready without, and why each is not live; "" while it is loaded
	notes   map[string]string           // what is not as it should be, by subject; see note
	failed  map[string]bool             // models that did not become what the configuration says, and are tried again

	manifest map[string]*api.ModelSpec // the one being carried out, until one was
	synced   bool                      // whether one was

	configured map[string]*api.ModelSpec // what the configuration says now

	// change is held while a change is made of what a model is made of now.
	change sync.Mutex
}

// maxHistory bounds the events that are kept of one model.
const maxHistory = 100

// errStopping is why loads end with the server.
var errStopping = api.Errorf(api.CodeDraining, "", "the server is stopping, try another or again")

// newLive starts what changes the models of a server.
func newLive(cfg Config, models *Models, queue *batch.Queue, metrics *liveMetrics) (*Live, error) {
	l := &Live{
		models: models, queue: queue, builder: cfg.Builder, log: cfg.Logger, metrics: metrics,
		grace: max(0, cfg.KeepPrevious),
		wake:  make(chan struct{}, 1), ended: make(chan struct{}, 1), retry: make(chan struct{}, 1), history: make(map[string][]api.ModelEvent),
		serving: make(map[string]*api.ModelSpec), wanted: make(map[string]string), notes: make(map[string]string),
		failed: make(map[string]bool),
	}
	if info, err := os.Stat(cfg.ModelRoot); cfg.ModelRoot != "" && (err != nil || !info.IsDir()) {
		return nil, fmt.Errorf("server: model root %s: not a folder", cfg.ModelRoot)
	}
	if len(cfg.AdminKeys) > 0 && cfg.ModelRoot == "" {
		l.log.Warn("no model can be loaded by a request: there are administrators' keys but no model root")
	}
	if err := l.openState(cfg.StateFile); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	models.mu.Lock()
	models.ended = func() { signal(l.ended) }
	models.mu.Unlock()
	l.workers.Go(l.run)
	l.workers.Go(l.reclaim)
	if l.file != nil {
		l.workers.Go(l.saveLater)
	}
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
		l.commit.Lock()
		defer l.commit.Unlock()
		if l.file != nil {
			l.file.release()
		}
	}
}

// signal leaves a token in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Put asks for a model to be loaded and made live under name, in place of the
// one that is. The cause is a word for the history. An earlier load of the name,
// waiting or under way, is superseded. The error is an *api.Error of a spec that cannot be
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
	if l.current != nil && l.current.name == ld.name {
		l.current.cancel(later)
	}
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

// remember adds an event to a model's history. The caller holds mu.
func (l *Live) remember(name string, event api.ModelEvent) {
	h := append(l.history[name], event)
	if over := len(h) - maxHistory; over > 0 {
		h = slices.Delete(h, 0, over)
	}
	l.history[name] = h
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
	l.forget(name)
	l.models.Remove(name)
	l.note(noteModel(name), "")
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.serving, name)
	delete(l.wanted, name)
	delete(l.failed, name)
	event := api.ModelEvent{Time: time.Now().Unix(), Cause: cause, Outcome: api.OutcomeRemoved, Revision: info.Revision}
	l.remember(name, event)
	l.metrics.loaded(name, event)
	l.log.Info("model removed", "model", name, "cause", cause, "revision", info.Revision)
	return nil
}
