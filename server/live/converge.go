package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"go.opentelemetry.io/otel/trace"

	"github.com/warmserve/warmserve/api"
)

// Start loads the models of the configuration, and waits. Where the state file
// holds a later state of a model, as of a Put, a Remove or a Rollback, that is
// loaded, unless the configuration of the model has changed since: then the
// configuration is the later one. A state that cannot be loaded falls back to
// the generation before and then to the configuration, which the log and the
// readiness say, and stays in the file for the next start. Every model is
// tried; the error names those that are not live, with the reasons, and is the
// caller's to report.
func (cs *Changes) Start(ctx context.Context, configured map[string]*api.ModelSpec) error {
	names := cs.known(configured)
	cs.configure(configured)
	cs.want(names...)
	return cs.each(ctx, names, configured, causeStart)
}

// Retry tries the models of the configuration again that Start or Reconfigure
// could not load, with pauses that grow, until ctx ends: what they are made of may
// still be on its way here.
func (cs *Changes) Retry(ctx context.Context) {
	complaint := ""
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		for len(cs.failing()) == 0 {
			complaint, pause = "", firstRetry
			if wait(ctx, cs.retry) != nil {
				return
			}
		}
		if wait(ctx, time.After(pause)) != nil {
			return
		}
		names := cs.failing() // what was mended in the meantime is left alone
		err := cs.each(ctx, names, cs.configuration(), causeRetry)
		if err != nil && ctx.Err() == nil && err.Error() != complaint {
			complaint = err.Error()
			cs.log.Error("models cannot be loaded and are tried again", "error", complaint)
		}
	}
}

// The pauses between attempts at models that do not load.
const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

// Reconfigure makes the models be those of a configuration that was read
// again, and waits: what it says otherwise than before is loaded, or removed, and
// so is what it names and is not live. Models that came by another way, and
// those of which it says what it said before, stay as they are. The error names
// the models that are not as it says.
func (cs *Changes) Reconfigure(ctx context.Context, configured map[string]*api.ModelSpec) error {
	cs.configure(configured)
	var changed []string
	var errs []error
	for _, name := range cs.known(configured) {
		cs.committing.Lock()
		was, ok := cs.state.Models[name]
		cs.committing.Unlock()
		_, _, live := cs.models.Describe(name)
		switch spec := configured[name]; {
		case spec == nil && was.Configured != nil:
			cs.log.Info("model is no longer configured", "model", name)
			errs = append(errs, cs.Remove(name, causeReload))
			cs.committing.Lock()
			cs.set(name, modelState{})
			cs.committing.Unlock()
		case spec != nil && (!ok || !sameSpec(was.Configured, spec) || !live && was.top() != nil):
			changed = append(changed, name)
		}
	}
	return errors.Join(append(errs, cs.each(ctx, changed, configured, causeReload))...)
}

// each brings models to life, one after the other.
func (cs *Changes) each(
	ctx context.Context, names []string, configured map[string]*api.ModelSpec, cause string,
) error {
	var errs []error
	for _, name := range names {
		err := cs.restore(ctx, name, configured[name], cause)
		if err == nil {
			continue
		}
		if errors.Is(err, errStopping) || ctx.Err() != nil {
			return err
		}
		cs.lacks(name, err)
		cs.tryAgain(name)
		errs = append(errs, &modelError{name, err})
	}
	return errors.Join(errs...)
}

// modelError says why a model was not loaded.
type modelError struct {
	name string
	err  error
}

func (e *modelError) Error() string { return fmt.Sprintf("model %s: %v", e.name, plain(e.err)) }
func (e *modelError) Unwrap() error { return e.err }

// plain returns an error without its code, which is for callers on the wire.
func plain(err error) error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return errors.New(e.Message)
	}
	return err
}

// known lists the models of the configuration and of the state, by name.
func (cs *Changes) known(configured map[string]*api.ModelSpec) []string {
	cs.committing.Lock()
	defer cs.committing.Unlock()
	names := slices.AppendSeq(slices.Collect(maps.Keys(cs.state.Models)), maps.Keys(configured))
	slices.Sort(names)
	return slices.Compact(names)
}

// restore makes a model live as the state or the configuration says, and waits.
func (cs *Changes) restore(ctx context.Context, name string, configured *api.ModelSpec, cause string) error {
	var errs []error
	choices := cs.choices(name, configured, cause)
	for i, choice := range choices {
		c := choice.change
		c.reported = true
		_, err := cs.put(c)
		if err == nil {
			if err = c.Wait(ctx); api.IsCode(err, api.CodeSuperseded) {
				return nil // somebody asked for another already
			}
		}
		if err == nil {
			if i > 0 {
				text := fmt.Sprintf("model %s is served as %s: %v", name, choice.what, errors.Join(errs...))
				cs.note(noteModel(name), text)
				cs.observer.StateFailed()
				cs.log.Error("the last good state of a model cannot be loaded",
					"model", name, "served", choice.what, "error", errors.Join(errs...).Error())
			}
			return nil
		}
		if errors.Is(err, errStopping) || ctx.Err() != nil {
			return err
		}
		err = plain(err)
		if len(choices) > 1 {
			err = fmt.Errorf("%s: %w", choice.what, err)
		}
		errs = append(errs, err)
	}
	if len(choices) == 0 {
		cs.unwant(name)
	}
	return errors.Join(errs...)
}

// choice is one of the things that a model may be restored from.
type choice struct {
	what   string
	change *Change
}

// choices lists what a model is to be restored from, the best first: none when
// it was removed, or is configured no longer.
func (cs *Changes) choices(name string, configured *api.ModelSpec, cause string) []choice {
	cs.committing.Lock()
	defer cs.committing.Unlock()
	was, ok := cs.state.Models[name]
	as := func(what string, spec *api.ModelSpec, by origin) choice {
		c := &Change{name: name, spec: spec.Clone(), cause: cause, by: by}
		if by == byStart {
			c.configured = configured.Clone()
		}
		return choice{what, c}
	}
	top := was.top()
	switch {
	case !ok || !sameSpec(was.Configured, configured):
		if configured == nil { // it was configured, and no longer is
			cs.log.Info("model is no longer configured", "model", name)
			cs.set(name, modelState{})
			return nil
		}
		return []choice{as("the configuration says", configured, byStart)}
	case top == nil: // removed
		return nil
	}
	cs.log.Info("restoring the last good state", "model", name, "revision", top.Revision)
	out := []choice{as("the last good state", top.Spec, byStart)}
	tried := []*api.ModelSpec{top.Spec}
	if n := len(was.Generations); n > 1 {
		before := was.Generations[n-2]
		out = append(out, as("the generation before, revision "+before.Revision, before.Spec, byFallback))
		tried = append(tried, before.Spec)
	}
	again := func(s *api.ModelSpec) bool { return sameSpec(s, configured) }
	if configured != nil && !slices.ContainsFunc(tried, again) {
		out = append(out, as("the configuration says", configured, byFallback))
	}
	return out
}

// sameSpec compares specs as they are written: one of them may have been read.
func sameSpec(a, b *api.ModelSpec) bool {
	x, errA := json.Marshal(a, json.Deterministic(true))
	y, errB := json.Marshal(b, json.Deterministic(true))
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// Sync makes the watched models be those of specs, and waits: the ones that are
// new or changed are loaded, and those that an earlier manifest had and this one
// lacks are removed once the others are live. Models that came by another way
// are left alone. Digest names the manifest; the one that was last carried out
// whole is not carried out again, whatever was called for since. The error
// names the models that are not as the manifest says.
func (cs *Changes) Sync(ctx context.Context, digest string, specs map[string]*api.ModelSpec) error {
	cs.wantManifest(specs)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		if err := cs.syncOne(ctx, digest, name, specs[name]); err != nil {
			cs.lacks(name, plain(err))
			errs = append(errs, &modelError{name, err})
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	cs.wantManifest(nil)
	for _, name := range cs.unwatched(specs) {
		errs = append(errs, cs.Remove(name, causeWatch))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	cs.committing.Lock()
	defer cs.committing.Unlock()
	if cs.state.Manifest == digest {
		return nil
	}
	next := cs.state
	next.Manifest = digest
	cs.writeState(next)
	return nil
}

// syncOne loads a model of a manifest unless it is live already.
func (cs *Changes) syncOne(ctx context.Context, digest, name string, spec *api.ModelSpec) error {
	cs.committing.Lock()
	was, again := cs.state.Models[name], cs.state.Manifest == digest
	cs.committing.Unlock()
	_, _, live := cs.models.Describe(name)
	switch top := was.top(); {
	case again && (live || top == nil): // carried out before, whatever came after
		return nil
	case live && was.Watched && top != nil && sameSpec(top.Spec, spec):
		return nil
	}
	c, err := cs.put(&Change{name: name, spec: spec.Clone(), cause: causeWatch, by: byManifest,
		reported: true})
	if err != nil {
		return err
	}
	if err := c.Wait(ctx); !api.IsCode(err, api.CodeSuperseded) {
		return err
	}
	return nil // what was asked for after the manifest counts for more
}

// unwatched lists the models of earlier manifests that specs lacks.
func (cs *Changes) unwatched(specs map[string]*api.ModelSpec) []string {
	cs.committing.Lock()
	defer cs.committing.Unlock()
	var names []string
	for name, m := range cs.state.Models {
		if m.Watched && specs[name] == nil {
			names = append(names, name)
		}
	}
	return names
}

// Rollback makes the revision before the live one live again, and returns its
// change: done already when the revision was still kept in memory, else built
// from its spec and refused unless it comes out as it was. Of ctx the trace is kept.
func (cs *Changes) Rollback(ctx context.Context, name string) (*Change, error) {
	cs.committing.Lock()
	defer cs.committing.Unlock()
	info, kept, ok := cs.models.Describe(name)
	if !ok {
		return nil, UnknownModel("name", name)
	}
	m := cs.state.Models[name]
	n := len(m.Generations)
	if n < 2 {
		return nil, api.Errorf(api.CodeNoPrevious, "name",
			"model %q has no revision before %s to go back to", name, info.Revision)
	}
	to := m.Generations[n-2]
	c := &Change{name: name, spec: to.Spec, cause: "rollback", asker: trace.SpanContextFromContext(ctx), want: to.Revision, by: byRollback}
	if kept != to.Revision {
		return cs.put(c)
	}
	cs.set(name, m.after(byRollback, to))
	if !cs.models.restore(name, to.Revision, cs.grace) {
		// It expired a moment ago. The state says what will be live soon.
		cs.set(name, m)
		return cs.put(c)
	}
	cs.served(name, to.Spec)
	cs.note(noteModel(name), "")
	c.done = make(chan struct{})
	_, c.cancel = context.WithCancelCause(cs.ctx)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.finish(c, api.ModelEvent{Outcome: api.OutcomeLive, Revision: to.Revision, Members: to.Members}, nil)
	return c, nil
}
