package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
)

// Changes changes the models of a server while it serves. Of each [Change] the
// model is built beside the one that is live, probed, judged by its guard,
// written to the state file and exchanged, in this order, and whatever goes
// wrong on the way leaves what was live as it was.
//
// One goroutine carries out the changes, one after the other, so that memory
// holds the live models and one more at most: before a model is built, what was
// kept of earlier revisions is dropped and the requests that hold them are
// waited for.
type Changes struct {
	models    *Models
	queue     *batch.Queue
	builder   Builder
	log       *slog.Logger
	tracer    trace.Tracer
	observer  Observer
	root      string // of the paths of patches; "" refuses those
	reference func(path string) bool
	grace     time.Duration // how long the revision before is kept; 0 is not at all
	file      *stateFile    // nil for none; guarded by committing

	ctx     context.Context // of the changes; ended by Stop
	cancel  context.CancelCauseFunc
	wake    chan struct{} // holds a token when a change waits
	ended   chan struct{} // holds a token when an instance has ended
	retry   chan struct{} // holds a token when a model has failed
	workers sync.WaitGroup

	// committing is held while a change becomes lasting: the state file, then
	// the exchange. It is taken before mu.
	committing sync.Mutex
	state      state // guarded by committing

	mu      sync.Mutex
	waiting []*Change // in the order of their turns
	current *Change
	history map[string][]api.ModelEvent // by name, oldest first
	serving map[string]*api.ModelSpec   // what the live models are made of, by name
	notes   map[string]string           // what is not as it should be, by subject; see note
	// wanted are the models that the server is not ready without, and why each is
	// not live; "" while it is loaded.
	wanted map[string]string
	// failed are the models that did not become what the configuration says, and
	// are tried again.
	failed map[string]bool

	manifest map[string]*api.ModelSpec // the one being carried out, until one was
	synced   bool                      // whether one was

	configured map[string]*api.ModelSpec // what the configuration says now

	// patching is held while a change is made of what a model is made of now.
	patching sync.Mutex
}

// Config says how models are changed. Its zero fields are off, but for Builder,
// which is needed.
type Config struct {
	Builder Builder
	// Root is the folder that holds every path of a patch; without it patches
	// that name one are refused.
	Root string
	// Reference reports whether a path of a patch is a reference to a checkpoint
	// that is no file of this disk, and so needs no folder; nil where none is.
	Reference func(path string) bool
	// StateFile holds the last good state of the models across restarts, kill -9
	// among them. One process uses it at a time.
	StateFile string
	// KeepPrevious is how long the revision before the live one is kept after
	// the swap and after each request that is pinned to it; the next change ends
	// it at once, as it needs the memory. 0 or below is not at all.
	KeepPrevious time.Duration
	// Logger takes what becomes of changes; default slog.Default().
	Logger *slog.Logger
	// Observer is told of what is counted; default nobody.
	Observer Observer
	// Tracer makes a span of each load, with its steps as children; default none.
	Tracer trace.Tracer
}

// Observer counts what becomes of changes. It is called from several goroutines
// at once, and with locks held: it must return at once and call nothing here.
type Observer interface {
	// Changed is told of the end of each change, and of each removal.
	Changed(model string, e api.ModelEvent)
	// Failed is told of each change that ended without a live model: why, in one
	// of the words of Reasons.
	Failed(reason string)
	// StateFailed is told of each time that the state file could not be read or
	// written.
	StateFailed()
}

type nobody struct{}

func (nobody) Changed(string, api.ModelEvent) {}
func (nobody) Failed(string)                  {}
func (nobody) StateFailed()                   {}

// maxHistory bounds the events that are kept of one model.
const maxHistory = 100

// errStopping is why changes end with the server.
var errStopping = api.Errorf(api.CodeDraining, "", "the server is stopping, try another or again")

// NewChanges starts the goroutines that change models, which [Changes.Close]
// ends. The queue is that of the requests: models that are not live yet are
// scored in it, too.
func NewChanges(cfg Config, models *Models, queue *batch.Queue) (*Changes, error) {
	if info, err := os.Stat(cfg.Root); cfg.Root != "" && (err != nil || !info.IsDir()) {
		return nil, fmt.Errorf("server: model root %s: not a folder", cfg.Root)
	}
	cs := &Changes{
		models: models, queue: queue, builder: cfg.Builder, log: cmp.Or(cfg.Logger, slog.Default()),
		tracer: cmp.Or(cfg.Tracer, noop.NewTracerProvider().Tracer("")), observer: cmp.Or[Observer](cfg.Observer, nobody{}),
		root: cfg.Root, reference: cfg.Reference, grace: max(0, cfg.KeepPrevious),
		wake: make(chan struct{}, 1), ended: make(chan struct{}, 1), retry: make(chan struct{}, 1),
		history: make(map[string][]api.ModelEvent), serving: make(map[string]*api.ModelSpec),
		wanted: make(map[string]string), notes: make(map[string]string), failed: make(map[string]bool),
	}
	if err := cs.openState(cfg.StateFile); err != nil {
		return nil, err
	}
	cs.ctx, cs.cancel = context.WithCancelCause(context.Background())
	models.mu.Lock()
	models.ended = func() { signal(cs.ended) }
	models.mu.Unlock()
	cs.workers.Go(cs.run)
	cs.workers.Go(cs.reclaim)
	if cs.file != nil {
		cs.workers.Go(cs.saveLater)
	}
	return cs, nil
}

// Stop fails the changes that wait and the one under way. [Changes.Close] waits
// for it.
func (cs *Changes) Stop() { cs.cancel(errStopping) }

// Close stops and waits until nothing is done any more. The queue must be closed
// or served until then. It may be called twice.
func (cs *Changes) Close() {
	cs.Stop()
	cs.workers.Wait()
	cs.committing.Lock()
	defer cs.committing.Unlock()
	if cs.file != nil {
		cs.file.release()
	}
}

// wait returns nil once something comes of c, or the cause of ctx's end.
func wait[T any](ctx context.Context, c <-chan T) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
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
// one that is. The cause is a word for the history. An earlier change of the
// name, waiting or under way, is superseded. The error is an *api.Error of a spec
// that cannot be loaded whatever the files hold.
func (cs *Changes) Put(name string, spec *api.ModelSpec, cause string) (*Change, error) {
	return cs.put(&Change{name: name, spec: spec.Clone(), cause: cause})
}

func (cs *Changes) put(c *Change) (*Change, error) {
	if err := api.CheckModelName(c.name); err != nil {
		return nil, err
	}
	if err := c.spec.Validate(); err != nil {
		return nil, err
	}
	if c.dry && c.spec.Backend != nil {
		return nil, api.Errorf(api.CodeConflictingFields, "dry_run",
			"a dry run needs the engine that the live revision is on: try the members without a backend, or on another engine")
	}
	if err := cs.builder.Check(c.spec); err != nil {
		if e, ok := errors.AsType[*api.Error](err); ok {
			return nil, e
		}
		return nil, api.Errorf(api.CodeInvalidValue, "", "%v", err)
	}
	c.changes, c.asked, c.doing, c.done = cs, time.Now(), "waiting for its turn", make(chan struct{})
	c.ctx, c.cancel = context.WithCancelCause(trace.ContextWithSpanContext(cs.ctx, c.asker))
	later := api.Errorf(api.CodeSuperseded, "", "a later change of model %q took this one's place", c.name)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.ctx.Err() != nil {
		return nil, errStopping
	}
	cs.waiting = slices.DeleteFunc(cs.waiting, func(other *Change) bool {
		if other.name != c.name || c.dry && !other.dry { // a dry run takes nobody's place
			return false
		}
		cs.finish(other, api.ModelEvent{}, later)
		return true
	})
	if cs.current != nil && cs.current.name == c.name && (cs.current.dry || !c.dry) {
		cs.current.cancel(later)
	}
	cs.waiting = append(cs.waiting, c)
	signal(cs.wake)
	return c, nil
}

// run carries out the changes in their order until the server stops.
func (cs *Changes) run() {
	for {
		c := cs.next()
		if c == nil {
			if wait(cs.ctx, cs.wake) == nil {
				continue
			}
			cs.mu.Lock()
			for _, c := range cs.waiting {
				cs.finish(c, api.ModelEvent{Outcome: api.OutcomeFailed}, errStopping)
			}
			cs.waiting = nil
			cs.mu.Unlock()
			return
		}
		cs.carryOut(c)
	}
}

// next takes the change whose turn it is, if any and unless the server stops.
func (cs *Changes) next() *Change {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.waiting) == 0 || cs.ctx.Err() != nil {
		return nil
	}
	cs.current, cs.waiting = cs.waiting[0], cs.waiting[1:]
	cs.current.begin()
	return cs.current
}

// remember adds an event to a model's history. The caller holds mu.
func (cs *Changes) remember(name string, event api.ModelEvent) {
	h := append(cs.history[name], event)
	if over := len(h) - maxHistory; over > 0 {
		h = slices.Delete(h, 0, over)
	}
	cs.history[name] = h
}

// reclaim gives memory back to the system after instances have ended.
func (cs *Changes) reclaim() {
	// Long enough for the handlers of the last requests to let go of their
	// model, and for what ended together to be collected together.
	const settle = 200 * time.Millisecond
	for {
		if wait(cs.ctx, cs.ended) != nil || wait(cs.ctx, time.After(settle)) != nil {
			return
		}
		debug.FreeOSMemory()
	}
}

// Remove takes a model out of service: changes of it are called off, and
// requests that hold it are answered. The error is an *api.Error.
func (cs *Changes) Remove(name, cause string) error {
	gone := api.Errorf(api.CodeSuperseded, "", "model %q was removed", name)
	cs.mu.Lock()
	found := false
	cs.waiting = slices.DeleteFunc(cs.waiting, func(c *Change) bool {
		if c.name != name {
			return false
		}
		found, c.removed = true, true
		cs.finish(c, api.ModelEvent{}, gone)
		return true
	})
	if cs.current != nil && cs.current.name == name {
		found, cs.current.removed = true, true
		cs.current.cancel(gone)
	}
	cs.mu.Unlock()

	cs.committing.Lock()
	defer cs.committing.Unlock()
	info, _, ok := cs.models.Describe(name)
	was := cs.state.Models[name]
	if !ok && !found && was.top() == nil {
		return UnknownModel("name", name)
	}
	cs.forget(name)
	cs.models.Remove(name)
	cs.note(noteModel(name), "")
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.serving, name)
	delete(cs.wanted, name)
	delete(cs.failed, name)
	event := api.ModelEvent{
		Time: time.Now().Unix(), Cause: cause, Outcome: api.OutcomeRemoved, Revision: info.Revision,
	}
	cs.remember(name, event)
	cs.observer.Changed(name, event)
	cs.log.Info("model removed", "model", name, "cause", cause, "revision", info.Revision)
	return nil
}

// pending lists the changes of a model, or of all with "", that are not done: the
// one under way, and then those that wait. The caller holds mu.
func (cs *Changes) pending(name string) []*Change {
	var out []*Change
	for _, c := range append([]*Change{cs.current}, cs.waiting...) {
		if c != nil && (name == "" || c.name == name) {
			out = append(out, c)
		}
	}
	return out
}

// Status returns the changes of a model that are not done, and its history.
func (cs *Changes) Status(name string) ([]api.LoadStatus, []api.ModelEvent) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var loads []api.LoadStatus
	for _, c := range cs.pending(name) {
		loads = append(loads, api.LoadStatus{
			Cause: c.cause, Asked: c.asked.Unix(), DryRun: c.dry, Doing: c.doing, Progress: c.share,
			Settings: c.settings,
		})
	}
	return loads, append([]api.ModelEvent{}, cs.history[name]...)
}

// Names returns the models that a change was ever asked for.
func (cs *Changes) Names() []string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	names := slices.Collect(maps.Keys(cs.history))
	for _, c := range cs.pending("") {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Sole reports whether there is one model, counting those that are wanted and
// not live yet.
func (cs *Changes) Sole() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	names := map[string]bool{}
	for name := range cs.serving {
		names[name] = true
	}
	for name := range cs.wanted {
		names[name] = true
	}
	for _, c := range cs.pending("") {
		names[c.name] = true
	}
	return len(names) <= 1
}

// Spec returns what a live model was made of; nil when it was not loaded here.
func (cs *Changes) Spec(name string) *api.ModelSpec {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.serving[name].Clone()
}
