package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// state is what survives the process: the last good specs of the models. It is
// written whole to a file that is then renamed into place, before an exchange
// and never after, so that a process that is killed at any moment finds on its
// next start either what was live or what was about to be, checked.
type state struct {
	Version int `json:"version"`
	// Manifest is the digest of the watched manifest that was last carried out
	// whole, so that a restart does not undo what was changed after it.
	Manifest string                `json:"manifest,omitzero"`
	Models   map[string]modelState `json:"models"`
}

// stateVersion is written to every state file; a file of another is refused.
const stateVersion = 1

// modelState is what a model was made of, from the oldest that can be gone back
// to, to the one that is live. Without any the model was removed, and what the
// configuration says of it no longer counts.
type modelState struct {
	Configured  *api.ModelSpec `json:"configured,omitzero"` // what the configuration said of it; nil when nothing
	Watched     bool           `json:"watched,omitzero"`    // whether it came from a manifest
	Generations []generation   `json:"generations"`
}

// generation is one revision that was live.
type generation struct {
	Revision    string         `json:"revision"`
	Spec        *api.ModelSpec `json:"spec"`
	Time        time.Time      `json:"time"`
	Cause       string         `json:"cause"`
	LoadSeconds float64        `json:"load_seconds"`
	Members     []string       `json:"members"`
}

// maxGenerations bounds how far back a model can be rolled.
const maxGenerations = 10

// origin says what, beside a call, a load was asked for by.
type origin int

const (
	byCall     origin = iota // a route, or a program
	byStart                  // the configuration, at the start
	byManifest               // a watched manifest
	byRollback               // a rollback to a revision that was live
)

func (s *modelState) top() *generation {
	if len(s.Generations) == 0 {
		return nil
	}
	return &s.Generations[len(s.Generations)-1]
}

// last returns the place of the last generation of a revision, -1 when there is none.
func (s *modelState) last(revision string) int {
	for i, g := range slices.Backward(s.Generations) {
		if g.Revision == revision {
			return i
		}
	}
	return -1
}

// after returns what s becomes once a load of origin by has made g.
func (s modelState) after(by origin, g generation) modelState {
	s.Generations = slices.Clone(s.Generations)
	switch top := s.top(); {
	case by == byRollback && s.last(g.Revision) >= 0:
		// What was live since is gone from the line, not from the history.
		s.Generations = s.Generations[:s.last(g.Revision)+1]
	case by == byStart && top != nil && top.Revision == g.Revision:
		// It is live again, and was already then.
	case top != nil && top.Revision == g.Revision:
		*top = g
	default:
		s.Generations = append(s.Generations, g)
	}
	if over := len(s.Generations) - maxGenerations; over > 0 {
		s.Generations = slices.Delete(s.Generations, 0, over)
	}
	s.Watched = s.Watched || by == byManifest
	return s
}

// record makes a load's outcome lasting. The caller holds commit.
func (l *Live) record(ld *Load, g generation) error {
	next := l.state.Models[ld.name].after(ld.by, g)
	if ld.by == byStart {
		next.Configured = ld.configured
	}
	return l.set(ld.name, next)
}

// forget makes a model's removal lasting. The caller holds commit.
func (l *Live) forget(name string) error {
	return l.set(name, modelState{Configured: l.state.Models[name].Configured})
}

// set replaces the state of one model; an empty one is left out.
func (l *Live) set(name string, m modelState) error {
	next := l.state
	next.Models = maps.Clone(next.Models)
	if len(m.Generations) == 0 && m.Configured == nil {
		delete(next.Models, name)
	} else {
		next.Models[name] = m
	}
	return l.writeState(next)
}

// writeState replaces the state, in the file first. The caller holds commit.
func (l *Live) writeState(next state) error {
	if l.file != "" {
		data, err := next.encode()
		if err != nil {
			return fmt.Errorf("state file: %w", err)
		}
		if err := writeAtomically(l.file, data); err != nil {
			return fmt.Errorf("state file: %w", err)
		}
	}
	l.state = next
	return nil
}

// writeAtomically replaces a file so that whoever reads it, after a crash too,
// finds all of the old or all of the new.
func writeAtomically(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that matters is the first
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir last through a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// readState reads the state file, if there is one.
func (l *Live) readState() error {
	l.state = state{Version: stateVersion, Models: map[string]modelState{}}
	if l.file == "" {
		return nil
	}
	data, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("server: state file: %w", err)
	}
	read, err := parseState(data)
	if err != nil {
		return fmt.Errorf("server: state file %s: %w", l.file, err)
	}
	for name, m := range read.Models {
		for _, g := range m.Generations {
			l.remember(name, api.ModelEvent{Time: g.Time.Unix(), Cause: g.Cause, Outcome: api.OutcomeLive, Revision: g.Revision, LoadSeconds: g.LoadSeconds, Members: g.Members})
		}
	}
	l.state = read
	return nil
}

// parseState reads what encode wrote.
func parseState(data []byte) (state, error) {
	var read state
	if err := json.Unmarshal(data, &read, json.RejectUnknownMembers(true)); err != nil {
		return read, err
	}
	if read.Version != stateVersion {
		return read, fmt.Errorf("version %d, want %d", read.Version, stateVersion)
	}
	if read.Models == nil {
		read.Models = map[string]modelState{}
	}
	for name, m := range read.Models {
		for i, g := range m.Generations {
			if g.Spec == nil {
				return read, fmt.Errorf("model %q: generation %d has no spec", name, i)
			}
		}
	}
	return read, nil
}

// encode returns the state as its file holds it.
func (s *state) encode() ([]byte, error) {
	data, err := json.Marshal(s, jsontext.WithIndent("  "), json.Deterministic(true))
	return append(data, '\n'), err
}

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
