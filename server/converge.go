package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

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
func (l *Live) Start(ctx context.Context, configured map[string]*api.ModelSpec) error {
	names := l.known(configured)
	l.configure(configured)
	l.want(names...)
	return l.each(ctx, names, configured, causeStart)
}

// Retry tries the models of the configuration again that Start or Reconfigure
// could not load, with pauses that grow, until ctx ends: what they are made of may
// still be on its way here.
func (l *Live) Retry(ctx context.Context) {
	complaint := ""
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		for len(l.failing()) == 0 {
			complaint, wait = "", firstRetry
			select {
			case <-l.retry:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		names := l.failing() // what was mended in the meantime is left alone
		err := l.each(ctx, names, l.configuration(), causeRetry)
		if err != nil && ctx.Err() == nil && err.Error() != complaint {
			complaint = err.Error()
			l.log.Error("models cannot be loaded and are tried again", "error", complaint)
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
func (l *Live) Reconfigure(ctx context.Context, configured map[string]*api.ModelSpec) error {
	l.configure(configured)
	var changed []string
	var errs []error
	for _, name := range l.known(configured) {
		l.commit.Lock()
		was, ok := l.state.Models[name]
		l.commit.Unlock()
		_, _, live := l.models.describe(name)
		switch spec := configured[name]; {
		case spec == nil && was.Configured != nil:
			l.log.Info("model is no longer configured", "model", name)
			if err := l.Remove(name, causeReload); err != nil {
				errs = append(errs, err)
			}
			l.commit.Lock()
			l.set(name, modelState{})
			l.commit.Unlock()
		case spec != nil && (!ok || !sameSpec(was.Configured, spec) || !live && was.top() != nil):
			changed = append(changed, name)
		}
	}
	return errors.Join(append(errs, l.each(ctx, changed, configured, causeReload))...)
}

// each brings models to life, one after the other.
func (l *Live) each(ctx context.Context, names []string, configured map[string]*api.ModelSpec, cause string) error {
	var bad loadsError
	for _, name := range names {
		err := l.restore(ctx, name, configured[name], cause)
		if err == nil {
			continue
		}
		if errors.Is(err, errStopping) || ctx.Err() != nil {
			return err
		}
		l.lacks(name, err)
		l.tryAgain(name)
		bad.add(name, err)
	}
	return bad.orNil()
}

// loadsError says of several models which were not loaded, and why.
type loadsError struct {
	names []string
	errs  []error
}

func (e *loadsError) add(name string, err error) {
	e.names, e.errs = append(e.names, name), append(e.errs, err)
}

func (e *loadsError) orNil() error {
	if len(e.names) == 0 {
		return nil
	}
	return e
}

func (e *loadsError) Error() string {
	var lines []string
	for i, name := range e.names {
		lines = append(lines, fmt.Sprintf("model %s: %v", name, plain(e.errs[i])))
	}
	return strings.Join(lines, "\n")
}

func (e *loadsError) Unwrap() []error { return e.errs }

// plain returns an error without its code, which is for callers on the wire.
func plain(err error) error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return errors.New(e.Message)
	}
	return err
}

// known lists the models of the configuration and of the state, by name.
func (l *Live) known(configured map[string]*api.ModelSpec) []string {
	l.commit.Lock()
	defer l.commit.Unlock()
	names := maps.Clone(l.state.Models)
	if names == nil {
		names = map[string]modelState{}
	}
	for name := range configured {
		names[name] = modelState{}
	}
	return slices.Sorted(maps.Keys(names))
}

// restore makes a model live as the state or the configuration says, and waits.
func (l *Live) restore(ctx context.Context, name string, configured *api.ModelSpec, cause string) error {
	var errs []error
	choices := l.choices(name, configured, cause)
	for i, c := range choices {
		c.load.reported = true
		ld, err := l.put(c.load)
		if err == nil {
			if err = ld.Wait(ctx); api.IsCode(err, api.CodeSuperseded) {
				return nil // somebody asked for another already
			}
		}
		if err == nil {
			if i > 0 {
				text := fmt.Sprintf("model %s is served as %s: %v", name, c.what, errors.Join(errs...))
				l.note(noteModel(name), text)
				l.metrics.stateErrors.Inc()
				l.log.Error("the last good state of a model cannot be loaded", "model", name, "served", c.what, "error", errors.Join(errs...).Error())
			}
			return nil
		}
		if errors.Is(err, errStopping) || ctx.Err() != nil {
			return err
		}
		err = plain(err)
		if len(choices) > 1 {
			err = fmt.Errorf("%s: %w", c.what, err)
		}
		errs = append(errs, err)
	}
	if len(choices) == 0 {
		l.unwant(name)
	}
	return errors.Join(errs...)
}

// choice is one of the things that a model may be restored from.
type choice struct {
	what string
	load *Load
}

// choices lists what a model is to be restored from, the best first: none when
// it was removed, or is configured no longer.
func (l *Live) choices(name string, configured *api.ModelSpec, cause string) []choice {
	l.commit.Lock()
	defer l.commit.Unlock()
	was, ok := l.state.Models[name]
	byConfiguration := choice{"the configuration says", &Load{name: name, spec: configured.Clone(), configured: configured.Clone(), cause: cause, by: byStart}}
	top := was.top()
	switch {
	case !ok || !sameSpec(was.Configured, configured):
		if configured == nil { // it was configured, and no longer is
			l.log.Info("model is no longer configured", "model", name)
			l.set(name, modelState{})
			return nil
		}
		return []choice{byConfiguration}
	case top == nil: // removed
		return nil
	}
	l.log.Info("restoring the last good state", "model", name, "revision", top.Revision)
	out := []choice{{"the last good state", &Load{name: name, spec: top.Spec.Clone(), configured: configured.Clone(), cause: cause, by: byStart}}}
	tried := []*api.ModelSpec{top.Spec}
	if n := len(was.Generations); n > 1 {
		before := was.Generations[n-2]
		out = append(out, choice{"the generation before, revision " + before.Revision, &Load{name: name, spec: before.Spec.Clone(), cause: cause, by: byFallback}})
		tried = append(tried, before.Spec)
	}
	if configured != nil && !slices.ContainsFunc(tried, func(s *api.ModelSpec) bool { return sameSpec(s, configured) }) {
		byConfiguration.load.by = byFallback
		out = append(out, byConfiguration)
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
func (l *Live) Sync(ctx context.Context, digest string, specs map[string]*api.ModelSpec) error {
	l.wantManifest(specs)
	var bad loadsError
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		if err := l.syncOne(ctx, digest, name, specs[name]); err != nil {
			l.lacks(name, plain(err))
			bad.add(name, err)
		}
	}
	if err := bad.orNil(); err != nil {
		return err
	}
	l.wantManifest(nil)
	var errs []error
	for _, name := range l.unwatched(specs) {
		if err := l.Remove(name, causeWatch); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	l.commit.Lock()
	defer l.commit.Unlock()
	if l.state.Manifest == digest {
		return nil
	}
	next := l.state
	next.Manifest = digest
	l.writeState(next)
	return nil
}

// syncOne loads a model of a manifest unless it is live already.
func (l *Live) syncOne(ctx context.Context, digest, name string, spec *api.ModelSpec) error {
	l.commit.Lock()
	was, again := l.state.Models[name], l.state.Manifest == digest
	l.commit.Unlock()
	_, _, live := l.models.describe(name)
	switch top := was.top(); {
	case again && (live || top == nil): // carried out before, whatever came after
		return nil
	case live && was.Watched && top != nil && sameSpec(top.Spec, spec):
		return nil
	}
	ld, err := l.put(&Load{name: name, spec: spec.Clone(), cause: causeWatch, by: byManifest, reported: true})
	if err != nil {
		return err
	}
	if err := ld.Wait(ctx); !api.IsCode(err, api.CodeSuperseded) {
		return err
	}
	return nil // what was asked for after the manifest counts for more
}

// unwatched lists the models of earlier manifests that specs lacks.
func (l *Live) unwatched(specs map[string]*api.ModelSpec) []string {
	l.commit.Lock()
	defer l.commit.Unlock()
	var names []string
	for name, m := range l.state.Models {
		if m.Watched && specs[name] == nil {
			names = append(names, name)
		}
	}
	return names
}

// Rollback makes the revision before the live one live again, and returns its
// load: done already when the revision was still kept in memory, else built
// from its spec and refused unless it comes out as it was.
func (l *Live) Rollback(name string) (*Load, error) {
	l.commit.Lock()
	defer l.commit.Unlock()
	info, kept, ok := l.models.describe(name)
	if !ok {
		return nil, unknownModel("name", name)
	}
	m := l.state.Models[name]
	n := len(m.Generations)
	if n < 2 {
		return nil, api.Errorf(api.CodeNoPrevious, "name", "model %q has no revision before %s to go back to", name, info.Revision)
	}
	to := m.Generations[n-2]
	ld := &Load{name: name, spec: to.Spec, cause: "rollback", want: to.Revision, by: byRollback}
	if kept != to.Revision {
		return l.put(ld)
	}
	l.set(name, m.after(byRollback, to))
	if !l.models.restore(name, to.Revision, l.grace) {
		// It expired a moment ago. The state says what will be live soon.
		l.set(name, m)
		return l.put(ld)
	}
	l.served(name, to.Spec)
	l.note(noteModel(name), "")
	ld.done = make(chan struct{})
	_, ld.cancel = context.WithCancelCause(l.ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish(ld, api.ModelEvent{Outcome: api.OutcomeLive, Revision: to.Revision, Members: to.Members}, nil)
	return ld, nil
}
