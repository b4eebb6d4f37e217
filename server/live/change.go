package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
)

// Change is a change of one model: it waits, is under way, or is done.
type Change struct {
	name       string
	spec       *api.ModelSpec
	cause      string
	dry        bool           // whether it ends before it is live
	settings   api.Settings   // which of the model's settings stay as they were, and which do not
	want       string         // the revision that must come of it, as of a rollback; "" for any
	configured *api.ModelSpec // what the configuration says, where the change is by it
	by         origin
	asked      time.Time
	asker      trace.SpanContext // of the request that asked for it, if any

	changes  *Changes        // whose mu guards what follows until done is closed
	ctx      context.Context // ends with the server, or with the change's purpose
	cancel   context.CancelCauseFunc
	verdict  *api.Verdict // nil unless a guard judged; written by carryOut alone
	reported bool         // whether its error is reported by who waits for it
	stage    string       // what may fail now, in one of the words of Reasons; written by carryOut alone
	live     bool         // whether its model became live; written by carryOut alone
	doing    string
	share    float64
	logged   time.Time
	removed  bool // whether it was called off because its model was removed

	span, part trace.Span // of the load and of what it does now; nil before
	phased     string     // what part is of
	phases     int        // how many there were

	done  chan struct{}
	event api.ModelEvent // once done
	err   error          // once done; an *api.Error
}

// Model returns the name of the model that changes.
func (c *Change) Model() string { return c.name }

// Wait returns when the change is done: nil when its revision is live or, in a dry run, would be, else an
// *api.Error; or ctx's cause when ctx ends first, and the change goes on.
func (c *Change) Wait(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	default:
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Revision returns what went live; "" unless the change is done and was a success.
func (c *Change) Revision() string {
	select {
	case <-c.done:
		if c.err == nil {
			return c.event.Revision
		}
	default:
	}
	return ""
}

// The causes of changes that the server begins by itself, in the words of histories.
const (
	causeStart  = "start"
	causeReload = "reload" // the configuration was read again
	causeRetry  = "retry"  // a model of the configuration that failed before
	causeWatch  = "watch"
)

// carryOut builds, checks and commits one change.
func (cs *Changes) carryOut(c *Change) {
	attrs := []any{"model", c.name, "cause", c.cause, "members", len(c.spec.Members)}
	if s := c.settings; len(s.Kept)+len(s.Reset) > 0 {
		attrs = append(attrs, "kept", strings.Join(s.Kept, ","), "reset", strings.Join(s.Reset, ","))
	}
	cs.log.InfoContext(c.ctx, "loading", attrs...)
	start := time.Now()
	m, err := cs.build(c)
	took := time.Since(start)
	event := api.ModelEvent{Outcome: api.OutcomeFailed, LoadSeconds: took.Seconds(), Guard: c.verdict}
	switch {
	case err != nil:
	case c.dry:
		info := m.Info()
		event.Outcome, event.Revision, event.Members = api.OutcomeTried, info.Revision, info.Members
	default:
		err = cs.commit(c, m, &event)
	}
	if m != nil && !c.live {
		closeModel(m)
	}
	if err != nil && c.ctx.Err() != nil {
		err = context.Cause(c.ctx) // why it was called off says more than where it was
	}
	if lost := cs.bringBack(c); lost != nil {
		err = fmt.Errorf("%w; %w", plain(err), lost)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.current = nil
	defer func() { c.end(c.event) }()
	cs.finish(c, event, err)
	signal(cs.ended) // what loading needed for a moment, and what did not go live
}

// build makes a change's model and holds it against everything that a model must
// meet before it answers a request. A model is returned with an error, too, when it
// was made: it is to be closed.
func (cs *Changes) build(c *Change) (m Model, err error) {
	// A fault in reading one checkpoint must not end the process that serves another.
	defer func() {
		if v := recover(); v != nil {
			cs.log.ErrorContext(c.ctx, "panic in a load", "model", c.name, "panic", batch.PanicText(v), "stack",
				string(debug.Stack()))
			err = fmt.Errorf("panic: %s", batch.PanicText(v))
		}
	}()
	cs.models.dropAllKept()
	if cs.models.held() {
		c.progress("waiting for requests of earlier revisions", 0)
		if err := cs.models.settle(c.ctx); err != nil {
			return nil, err
		}
	}
	defer cs.models.expect(c.name)()
	if cs.drains(c) {
		if err := cs.makeRoom(c); err != nil {
			return nil, err
		}
	}
	c.progress("opening", 0)
	var members *verdict
	c.stage = stageGuard
	if g := c.spec.Guard; g != nil {
		if members, err = cs.judgeMembers(c); err != nil {
			return nil, err
		}
	}
	c.stage = stageBuild
	if m, err = cs.builder.Build(c.ctx, c.name, c.spec, c.progress); err != nil {
		return nil, err
	}
	if err := context.Cause(c.ctx); err != nil {
		return m, err
	}
	if err := cs.activate(c.ctx, c, m); err != nil {
		return m, err
	}
	c.progress("checking", 0)
	c.stage = stageCheck
	if err := cs.probe(c.ctx, c.name, m); err != nil {
		return m, err
	}
	c.stage = stageGuard
	if members != nil {
		return m, cs.judge(c, m, members)
	}
	return m, nil
}

// commit makes a built model live: first for the next start, in the state
// file, and then for the next request.
func (cs *Changes) commit(c *Change, m Model, event *api.ModelEvent) error {
	info := m.Info()
	event.Revision, event.Members, event.Sources = info.Revision, info.Members, info.Sources
	if c.want != "" && info.Revision != c.want {
		return fmt.Errorf("the checkpoints are no longer what they were: they make revision %s, want %s",
			info.Revision, c.want)
	}
	cs.mu.Lock()
	c.phase("swap")
	cs.mu.Unlock()
	cs.committing.Lock()
	defer cs.committing.Unlock()
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	live, _, ok := cs.models.Describe(c.name)
	same := ok && sameModel(live, info)
	was := cs.state.Models[c.name]
	top := was.top()
	if c.by == byStart && top != nil && top.Revision != info.Revision && sameSpec(top.Spec, c.spec) {
		cs.log.WarnContext(c.ctx, "the checkpoints changed since the model was last live",
			"model", c.name, "revision", info.Revision, "before", top.Revision)
	}
	if c.by != byFallback {
		cs.record(c, generation{
			Revision: info.Revision, Spec: cmp.Or(info.Exact, c.spec), Time: time.Now(), Cause: c.cause,
			LoadSeconds: event.LoadSeconds, Members: info.Members, Sources: info.Sources,
		})
		cs.note(noteModel(c.name), "")
	}
	event.Outcome = api.OutcomeUnchanged
	if !same || cs.models.isAway(c.name) {
		if _, err := cs.models.swap(m, cs.grace); err != nil {
			return err // never: probe has checked what it checks
		}
		c.live = true
		if !same {
			event.Outcome = api.OutcomeLive
		}
	}
	cs.served(c.name, c.spec)
	return nil
}

// sameModel reports whether two models answer the same requests, and alike.
func sameModel(a, b Info) bool {
	return a.Revision == b.Revision && a.Mode == b.Mode && a.Sample == b.Sample && a.Device == b.Device &&
		slices.Equal(a.Modes, b.Modes) && slices.Equal(a.Members, b.Members) &&
		slices.Equal(a.Aliases, b.Aliases)
}

// finish ends a change and tells everyone. The caller holds mu.
func (cs *Changes) finish(c *Change, event api.ModelEvent, err error) {
	c.cancel(nil)
	e := changeError(err)
	event.Time, event.Cause, event.Settings, event.DryRun = time.Now().Unix(), c.cause, c.settings, c.dry
	attrs := []any{"model", c.name, "cause", c.cause, "seconds", event.LoadSeconds}
	if e != nil {
		c.err = e
		event.Error = e.Message
		switch e.Code {
		case api.CodeGuardRefused:
			event.Outcome = api.OutcomeRefused
		case api.CodeSuperseded:
			event.Outcome = api.OutcomeSuperseded
			if c.removed {
				event.Outcome = api.OutcomeRemoved
			}
		}
		if !c.dry {
			cs.observer.Failed(c.reason(err))
		}
		level := slog.LevelError
		if c.reported {
			level = slog.LevelDebug // an error is told once
		}
		calledOff := event.Outcome == api.OutcomeSuperseded || event.Outcome == api.OutcomeRemoved
		if calledOff || e == errStopping && !c.reported {
			level = slog.LevelInfo
		}
		cs.log.Log(c.ctx, level, "load "+event.Outcome, append(attrs, "error", event.Error)...)
	} else if c.dry {
		cs.log.InfoContext(c.ctx, "tried", append(attrs, "revision", event.Revision)...)
	} else {
		info, _, _ := cs.models.Describe(c.name)
		cs.log.InfoContext(c.ctx, "model is live", append(attrs,
			"outcome", event.Outcome, "revision", info.Revision, "mode", info.Mode, "members",
			len(info.Members),
			"architecture", info.Architecture, "dtype", info.DType, "pooling", info.Pooling,
			"context", info.ContextLength)...)
	}
	c.event = event
	if event.Outcome == api.OutcomeFailed && cs.repeats(c.name, event) {
		h := cs.history[c.name]
		cs.history[c.name] = h[:len(h)-1] // one event for all attempts that failed alike
	}
	cs.remember(c.name, event)
	if !c.dry { // which changes nothing, and whose refusal is no cause for alarm
		cs.observer.Changed(c.name, event)
	}
	close(c.done)
}

// repeats reports whether a change that nobody asked for again failed as the one
// before did. The caller holds mu.
func (cs *Changes) repeats(name string, event api.ModelEvent) bool {
	h := cs.history[name]
	if event.Cause != causeRetry && event.Cause != causeWatch || len(h) == 0 {
		return false
	}
	last := h[len(h)-1]
	return last.Outcome == event.Outcome && last.Error == event.Error
}

// The stages of a change that failed, where its error does not say more.
const (
	stageBuild = "build" // reading, averaging, packing
	stageCheck = "check" // the scores of a model that is not live yet
	stageGuard = "guard" // scoring the guard's pairs
)

// Reasons lists why a change may end without a live model.
func Reasons() []string {
	return []string{"missing", "permission", stageBuild, stageCheck, stageGuard, "superseded", "stopping"}
}

// reason returns why a change that ended with err has no live model.
func (c *Change) reason(err error) string {
	switch {
	case api.IsCode(err, api.CodeGuardRefused):
		return stageGuard
	case api.IsCode(err, api.CodeSuperseded):
		return "superseded"
	case api.IsCode(err, api.CodeDraining), errors.Is(err, context.Canceled):
		return "stopping"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	}
	return cmp.Or(c.stage, stageBuild)
}

// changeError is what a change's error is to the one who asked for it.
func changeError(err error) *api.Error {
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

// progress notes how far a change is, and logs it every five seconds.
func (c *Change) progress(doing string, share float64) {
	const every = 5 * time.Second
	cs := c.changes
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.doing, c.share = doing, min(max(share, 0), 1)
	c.phase(doing)
	now := time.Now()
	if c.logged.IsZero() {
		c.logged = now
	}
	if now.Sub(c.logged) >= every {
		c.logged = now
		cs.log.InfoContext(c.ctx, "loading", "model", c.name, "doing", doing, "percent", int(100*c.share))
	}
}
