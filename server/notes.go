package server

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
func (l *Live) note(subject, text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notes[subject] == text {
		return false
	}
	l.notes[subject] = text
	if text == "" {
		delete(l.notes, subject)
	}
	return true
}

// noted returns what is noted of a subject; "" for nothing, and without Live.
func (l *Live) noted(subject string) string {
	if l == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notes[subject]
}

// details returns all notes, in the order of their subjects.
func (l *Live) details() []string {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, subject := range slices.Sorted(maps.Keys(l.notes)) {
		out = append(out, l.notes[subject])
	}
	return out
}

// want makes models ones that the server is not ready without, until each
// has been live once or is removed.
func (l *Live) want(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		if l.serving[name] == nil {
			l.wanted[name] = ""
		}
	}
}

// configure notes what the configuration says now. What it does not name any
// more and was never live is not waited for.
func (l *Live) configure(models map[string]*api.ModelSpec) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.configured {
		if models[name] == nil && l.serving[name] == nil {
			delete(l.wanted, name)
		}
	}
	clear(l.failed) // of what was said before
	l.configured = models
}

func (l *Live) configuration() map[string]*api.ModelSpec {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.configured
}

// wantManifest makes the server ready only with the models of the first manifest
// that is carried out: a later one that is wrong takes no server out of service
// that answers. Without specs the manifest was carried out.
func (l *Live) wantManifest(specs map[string]*api.ModelSpec) {
	l.mu.Lock()
	if l.synced {
		l.mu.Unlock()
		return
	}
	for name := range l.manifest {
		if specs[name] == nil {
			delete(l.wanted, name)
		}
	}
	l.manifest, l.synced = specs, specs == nil
	l.mu.Unlock()
	l.want(slices.Collect(maps.Keys(specs))...)
}

// tryAgain notes that a model is not what the configuration says.
func (l *Live) tryAgain(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[name] = true
	signal(l.retry)
}

// lacks notes why a wanted model is not live.
func (l *Live) lacks(name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.wanted[name]; ok {
		l.wanted[name] = err.Error()
	}
}

// unwant makes a model one that the server is ready without.
func (l *Live) unwant(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wanted, name)
	delete(l.failed, name)
}

// served notes that a model is live, and of what it is made.
func (l *Live) served(name string, spec *api.ModelSpec) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serving[name] = spec
	delete(l.wanted, name)
	delete(l.failed, name)
}

// missing says which wanted models are not live: with the reasons, which may
// name files, or with the names alone. It is "" when all are.
func (l *Live) missing(why bool) string {
	if l == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(l.wanted)) {
		reason := cmp.Or(l.wanted[name], "it is being loaded")
		if !why && l.wanted[name] != "" {
			reason = "its load failed"
		}
		out = append(out, fmt.Sprintf("model %s is not live: %s", name, reason))
	}
	return strings.Join(out, "; ")
}

// lacking counts the wanted models that are not live.
func (l *Live) lacking() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.wanted)
}

// failing lists the models that are to be tried again.
func (l *Live) failing() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.failed))
}
