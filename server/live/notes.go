package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/api"
)

// The subjects of notes, besides noteModel.
const (
	noteState = "state"  // whether the state can be written
	noteRead  = "states" // whether it could be read at the start
)

// noteModel is the subject of a model that is not what the state says.
func noteModel(name string) string { return "model " + name }

// note says of a subject what is not as it should be, "" for nothing, and
// returns whether that is news.
func (cs *Changes) note(subject, text string) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.notes[subject] == text {
		return false
	}
	cs.notes[subject] = text
	if text == "" {
		delete(cs.notes, subject)
	}
	return true
}

// Unsaved says why a change would not survive a restart; "" when it would.
func (cs *Changes) Unsaved() string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.notes[noteState]
}

// Notes says what is not as it should be, in the order of the subjects.
func (cs *Changes) Notes() []string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var out []string
	for _, subject := range slices.Sorted(maps.Keys(cs.notes)) {
		out = append(out, cs.notes[subject])
	}
	return out
}

// want makes models ones that the server is not ready without, until each
// has been live once or is removed.
func (cs *Changes) want(names ...string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, name := range names {
		if cs.serving[name] == nil {
			cs.wanted[name] = ""
		}
	}
}

// configure notes what the configuration says now. What it does not name any
// more and was never live is not waited for.
func (cs *Changes) configure(models map[string]*api.ModelSpec) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for name := range cs.configured {
		if models[name] == nil && cs.serving[name] == nil {
			delete(cs.wanted, name)
		}
	}
	clear(cs.failed) // of what was said before
	cs.configured = models
}

func (cs *Changes) configuration() map[string]*api.ModelSpec {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.configured
}

// wantManifest makes the server ready only with the models of the first manifest
// that is carried out: a later one that is wrong takes no server out of service
// that answers. Without specs the manifest was carried out.
func (cs *Changes) wantManifest(specs map[string]*api.ModelSpec) {
	cs.mu.Lock()
	if cs.synced {
		cs.mu.Unlock()
		return
	}
	for name := range cs.manifest {
		if specs[name] == nil {
			delete(cs.wanted, name)
		}
	}
	cs.manifest, cs.synced = specs, specs == nil
	cs.mu.Unlock()
	cs.want(slices.Collect(maps.Keys(specs))...)
}

// tryAgain notes that a model is not what the configuration says.
func (cs *Changes) tryAgain(name string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.failed[name] = true
	signal(cs.retry)
}

// lacks notes why a wanted model is not live.
func (cs *Changes) lacks(name string, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, ok := cs.wanted[name]; ok {
		cs.wanted[name] = err.Error()
	}
}

// unwant makes a model one that the server is ready without.
func (cs *Changes) unwant(name string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.wanted, name)
	delete(cs.failed, name)
}

// served notes that a model is live, and of what it is made.
func (cs *Changes) served(name string, spec *api.ModelSpec) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.serving[name] = spec
	delete(cs.wanted, name)
	delete(cs.failed, name)
}

// Missing says which wanted models are not live: with the reasons, which may
// name files, or with the names alone. It is "" when all are.
func (cs *Changes) Missing(why bool) string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(cs.wanted)) {
		reason := cmp.Or(cs.wanted[name], "it is being loaded")
		if !why && cs.wanted[name] != "" {
			reason = "its load failed"
		}
		out = append(out, fmt.Sprintf("model %s is not live: %s", name, reason))
	}
	return strings.Join(out, "; ")
}

// Lacking counts the wanted models that are not live.
func (cs *Changes) Lacking() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.wanted)
}

// failing lists the models that are to be tried again.
func (cs *Changes) failing() []string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Sorted(maps.Keys(cs.failed))
}
