package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/api"
)

// Load is a change of one model under way. Its fields are guarded by Live's lock
// until done is closed.
type Load struct {
	name       string
	spec       *api.ModelSpec
	cause      string
	settings   api.Settings   // which of the model's settings stay as they were, and which do not
	want       string         // the revision that must come of it, as of a rollback; "" for any
	configured *api.ModelSpec // what the configuration says, where the load is by it
	by         origin
	asked      time.Time

	live     *Live
	ctx      context.Context // ends with the server, or with the load's purpose
	cancel   context.CancelCauseFunc
	reported bool   // whether its error is reported by who waits for it
	stage    string // what of a load may fail, for the metrics; written by carryOut alone
	doing    string
	share    float64
	logged   time.Time
	removed  bool // whether it was called off because its model was removed

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

// The causes of loads that the server begins by itself, in the words of histories.
const (
	causeStart  = "start"
	causeReload = "reload" // the configuration was read again
	causeRetry  = "retry"  // a model of the configuration that failed before
	causeWatch  = "watch"
)

// carryOut builds, checks and commits one load.
func (l *Live) carryOut(ld *Load) {
	attrs := []any{"model", ld.name, "cause", ld.cause, "members", len(ld.spec.Members)}
	if s := ld.settings; len(s.Kept)+len(s.Reset) > 0 {
		attrs = append(attrs, "kept", strings.Join(s.Kept, ","), "reset", strings.Join(s.Reset, ","))
	}
	l.log.Info("loading", attrs...)
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
	l.models.dropAllKept()
	if l.models.held() {
		ld.progress("waiting for requests of earlier revisions", 0)
		if err := l.models.settle(ld.ctx); err != nil {
			return nil, err
		}
	}
	defer l.models.expect(ld.name)()
	ld.progress("opening", 0)
	var members *verdict
	ld.stage = stageGuard
	if g := ld.spec.Guard; g != nil {
		if members, err = l.judgeMembers(ld); err != nil {
			return nil, err
		}
	}
	ld.stage = stageBuild
	if m, err = l.builder.Build(ld.ctx, ld.name, ld.spec, ld.progress); err != nil {
		return nil, err
	}
	if err := context.Cause(ld.ctx); err != nil {
		return nil, err
	}
	ld.progress("checking", 0)
	ld.stage = stageCheck
	if err := l.probe(ld.ctx, ld.name, m); err != nil {
		return nil, err
	}
	ld.stage = stageGuard
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
	if ld.by != byFallback {
		l.record(ld, generation{Revision: info.Revision, Spec: ld.spec, Time: time.Now(), Cause: ld.cause, LoadSeconds: event.LoadSeconds, Members: info.Members})
		l.note(noteModel(ld.name), "")
	}
	event.Outcome = api.OutcomeUnchanged
	if !same {
		if _, err := l.models.exchange(m, l.grace); err != nil {
			return err // never: probe has checked what it checks
		}
		event.Outcome = api.OutcomeLive
	}
	l.served(ld.name, ld.spec)
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
	event.Time, event.Cause, event.Settings = time.Now().Unix(), ld.cause, ld.settings
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
		l.metrics.failed(ld, err)
		level := slog.LevelError
		if ld.reported {
			level = slog.LevelDebug // an error is told once
		}
		if event.Outcome == api.OutcomeSuperseded || event.Outcome == api.OutcomeRemoved || e == errStopping && !ld.reported {
			level = slog.LevelInfo
		}
		l.log.Log(l.ctx, level, "load "+event.Outcome, append(attrs, "error", event.Error)...)
	} else {
		info, _, _ := l.models.describe(ld.name)
		l.log.Info("model is live", append(attrs, "outcome", event.Outcome, "revision", info.Revision, "mode", info.Mode, "members", len(info.Members),
			"architecture", info.Architecture, "dtype", info.DType, "pooling", info.Pooling, "context", info.ContextLength)...)
	}
	ld.event = event
	if event.Outcome == api.OutcomeFailed && l.repeats(ld.name, event) {
		h := l.history[ld.name]
		l.history[ld.name] = h[:len(h)-1] // one event for all attempts that failed alike
	}
	l.remember(ld.name, event)
	l.metrics.loaded(ld.name, event)
	close(ld.done)
}

// repeats reports whether a load that nobody asked for again failed as the one
// before did. The caller holds mu.
func (l *Live) repeats(name string, event api.ModelEvent) bool {
	h := l.history[name]
	if event.Cause != causeRetry && event.Cause != causeWatch || len(h) == 0 {
		return false
	}
	last := h[len(h)-1]
	return last.Outcome == event.Outcome && last.Error == event.Error
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
