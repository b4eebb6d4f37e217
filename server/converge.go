package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/warmserve/warmserve/api"
)

// Start loads the models of the configuration, and waits. Where the state file
// holds a later state of a model, as of a Put, a Remove or a Rollback, that is
// loaded, unless the configuration of the model has changed since: then the
// configuration is the later one. Every model is tried; the error names those
// that are not live.
func (l *Live) Start(ctx context.Context, configured map[string]*api.ModelSpec) error {
	var errs []error
	for _, name := range l.known(configured) {
		ld, err := l.startOne(name, configured[name])
		if err == nil && ld != nil {
			if err = ld.Wait(ctx); api.IsCode(err, api.CodeSuperseded) {
				err = nil // somebody asked for another already
			} else if err != nil && ctx.Err() == nil && !errors.Is(err, errStopping) {
				err = errors.New("did not load, the log says why")
			}
		}
		if err != nil {
			if errors.Is(err, errStopping) || ctx.Err() != nil {
				return err
			}
			if e, ok := errors.AsType[*api.Error](err); ok {
				err = errors.New(e.Message) // the code is for callers on the wire
			}
			errs = append(errs, fmt.Errorf("model %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
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

// startOne begins the load that a model needs at the start, if any.
func (l *Live) startOne(name string, configured *api.ModelSpec) (*Load, error) {
	l.commit.Lock()
	defer l.commit.Unlock()
	was, ok := l.state.Models[name]
	ld := &Load{name: name, spec: configured, configured: configured.Clone(), cause: "start", by: byStart}
	switch top := was.top(); {
	case !ok || !sameSpec(was.Configured, configured):
		if configured == nil { // it was configured, and no longer is
			l.log.Info("model is no longer configured", "model", name)
			return nil, l.set(name, modelState{})
		}
	case top == nil: // removed
		return nil, nil
	default:
		ld.spec = top.Spec
		l.log.Info("restoring the last good state", "model", name, "revision", top.Revision)
	}
	return l.put(ld)
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
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		if err := l.syncOne(ctx, digest, name, specs[name]); err != nil {
			errs = append(errs, fmt.Errorf("model %s: %w", name, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, name := range l.unwatched(specs) {
		if err := l.Remove(name, "watch"); err != nil {
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
	return l.writeState(next)
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
	ld, err := l.put(&Load{name: name, spec: spec.Clone(), cause: "watch", by: byManifest})
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
	if err := l.set(name, m.after(byRollback, to)); err != nil {
		return nil, api.Errorf(api.CodeLoadFailed, "", "%v", err)
	}
	if !l.models.restore(name, to.Revision, l.grace) {
		// It expired a moment ago. The state says what will be live soon.
		if err := l.set(name, m); err != nil {
			return nil, api.Errorf(api.CodeLoadFailed, "", "%v", err)
		}
		return l.put(ld)
	}
	ld.done = make(chan struct{})
	_, ld.cancel = context.WithCancelCause(l.ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish(ld, api.ModelEvent{Outcome: api.OutcomeLive, Revision: to.Revision, Members: to.Members}, nil)
	return ld, nil
}
