package server

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// removeLeftovers removes what a process that was killed left beside path in
// the middle of writeAtomically.
func removeLeftovers(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+filepath.Base(path)+".") {
			if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
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
	if err := removeLeftovers(l.file); err != nil {
		return fmt.Errorf("server: state file: %w", err)
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
