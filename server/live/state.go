package live

import (
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
	Sources     []string       `json:"sources,omitempty"`
}

// maxGenerations bounds how far back a model can be rolled.
const maxGenerations = 10

// origin says what, beside a call, a change was asked for by.
type origin int

const (
	byCall     origin = iota // a route, or a program
	byStart                  // the configuration, at the start or read again
	byFallback               // what is served in place of a state that cannot be loaded: the state stays
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

// after returns what s becomes once a change of origin by has made g.
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

// record makes a change's outcome lasting. The caller holds committing.
func (cs *Changes) record(c *Change, g generation) {
	next := cs.state.Models[c.name].after(c.by, g)
	if c.by == byStart {
		next.Configured = c.configured
	}
	cs.set(c.name, next)
}

// forget makes a model's removal lasting. The caller holds committing.
func (cs *Changes) forget(name string) {
	cs.set(name, modelState{Configured: cs.state.Models[name].Configured})
}

// set replaces the state of one model; an empty one is left out.
func (cs *Changes) set(name string, m modelState) {
	next := cs.state
	next.Models = maps.Clone(next.Models)
	if len(m.Generations) == 0 && m.Configured == nil {
		delete(next.Models, name)
	} else {
		next.Models[name] = m
	}
	cs.writeState(next)
}

// writeState replaces the state, in the file first. A file that cannot be
// written keeps nobody from being served: whoever asks for a change is told
// that it will not survive. The caller holds committing.
func (cs *Changes) writeState(next state) {
	cs.state = next
	cs.save()
}

// save writes the state to its file, and notes whether that worked. The caller
// holds committing.
func (cs *Changes) save() {
	if cs.file == nil {
		return
	}
	data, err := cs.state.encode()
	if err == nil {
		err = cs.file.write(data)
	}
	if err == nil {
		if cs.note(noteState, "") {
			cs.log.Info("the state is written again: changes of models survive a restart", "file",
				cs.file.path)
		}
		return
	}
	cs.observer.StateFailed()
	if cs.note(noteState, fmt.Sprintf("changes of models will not survive a restart: state file: %v", err)) {
		cs.log.Error("changes of models will not survive a restart", "file", cs.file.path, "error",
			err.Error())
	}
}

// saveLater tries again to write a state that could not be written.
func (cs *Changes) saveLater() {
	const every = 10 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-cs.ctx.Done():
			return
		}
		if cs.Unsaved() != "" {
			cs.committing.Lock()
			cs.save()
			cs.committing.Unlock()
		}
	}
}

// openState takes the state file, if there is to be one, for this process, and
// reads it. The errors are mistakes of whoever started the server: a file in use
// by another server, or in a folder that is not there.
func (cs *Changes) openState(path string) error {
	cs.state = state{Version: stateVersion, Models: map[string]modelState{}}
	if path == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("server: state file: %w", err)
	}
	f := &stateFile{path: path}
	if err := f.acquire(); err != nil {
		if held, ok := errors.AsType[*heldError](err); ok {
			return fmt.Errorf("server: %w", held)
		}
	}
	read, complaints := f.read()
	cs.file, cs.state = f, read
	for _, err := range complaints {
		cs.observer.StateFailed()
		cs.log.Error("the state cannot be read", "error", err.Error())
	}
	if len(complaints) > 0 {
		cs.note(noteRead, errors.Join(complaints...).Error())
	}
	for name, m := range read.Models {
		for _, g := range m.Generations {
			cs.remember(name, api.ModelEvent{
				Time: g.Time.Unix(), Cause: g.Cause, Outcome: api.OutcomeLive, Revision: g.Revision,
				LoadSeconds: g.LoadSeconds, Members: g.Members, Sources: g.Sources,
			})
		}
	}
	cs.save() // to know now whether changes will survive
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
