package server

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/warmserve/warmserve/api"
)

// Models holds the models that are live, one deployment under each name. A
// request holds on to the deployment that it began with, so that a swap never
// changes what scores it.
type Models struct {
	mu   sync.Mutex
	live map[string]*deployment
}

// deployment is a model and how many requests hold it. The lock of Models
// guards users and retired.
type deployment struct {
	model   Model
	info    Info
	models  *Models
	users   int
	retired bool
	drained chan struct{} // closed when retired and without users
}

// NewModels returns an empty registry: a server that is not ready yet.
func NewModels() *Models { return &Models{live: make(map[string]*deployment)} }

// Swap makes m live under its name, in place of the deployment that was there.
// Requests that came before are scored by the old one to their end; drained is
// closed when the last of them is answered, and then the old one's memory may
// be given back. Without an old one drained is closed already. When m does not
// describe itself well nothing changes.
func (ms *Models) Swap(m Model) (drained <-chan struct{}, err error) {
	info := m.Info()
	if err := info.check(); err != nil {
		return nil, err
	}
	d := &deployment{model: m, info: info, models: ms, drained: make(chan struct{})}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	old := ms.live[info.Name]
	ms.live[info.Name] = d
	return retire(old), nil
}

// Remove takes the model called name out of service; drained is as in Swap. It
// reports whether there was one.
func (ms *Models) Remove(name string) (drained <-chan struct{}, ok bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	old, ok := ms.live[name]
	delete(ms.live, name)
	return retire(old), ok
}

// retire marks d, which may be nil, as replaced.
func retire(d *deployment) <-chan struct{} {
	if d == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	d.retired = true
	if d.users == 0 {
		close(d.drained)
	}
	return d.drained
}

// List describes the live models, by name.
func (ms *Models) List() []Info {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	list := make([]Info, 0, len(ms.live))
	for _, d := range ms.live {
		list = append(list, d.info)
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// acquire holds the deployment called name, or the only one when name is "".
// The caller releases it.
func (ms *Models) acquire(name string) (*deployment, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if len(ms.live) == 0 {
		return nil, api.Errorf(api.CodeNotReady, "", "no model is live yet")
	}
	d := ms.live[name]
	if name == "" {
		if len(ms.live) > 1 {
			return nil, api.Errorf(api.CodeMissingField, "model", "several models are served: name one")
		}
		for _, d = range ms.live {
		}
	}
	if d == nil {
		return nil, unknownModel("model", name)
	}
	d.users++
	return d, nil
}

func (d *deployment) release() {
	d.models.mu.Lock()
	defer d.models.mu.Unlock()
	d.users--
	if d.retired && d.users == 0 {
		close(d.drained)
	}
}

func unknownModel(param, name string) *api.Error {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return api.Errorf(api.CodeUnknownModel, param, "model %q is not served here", name)
}

// check reports everything that is wrong with a deployment's description.
func (i *Info) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("server: model %q: "+format, append([]any{i.Name}, args...)...))
	}
	if len(i.Name) == 0 || len(i.Name) > 200 || strings.ContainsFunc(i.Name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		bad("the name must be 1 to 200 printable ASCII characters without spaces")
	}
	if i.ContextLength < 1 {
		bad("context length %d, want 1 or more", i.ContextLength)
	}
	if !slices.Contains(i.Modes, i.Mode) {
		bad("the default mode %q is not one of the modes %q", i.Mode, i.Modes)
	}
	for _, mode := range i.Modes {
		name, member := strings.CutPrefix(mode, api.ModeMember)
		switch {
		case mode == api.ModeWA:
		case (mode == api.ModeEns || mode == api.ModeBoth) && len(i.Members) == 0:
			bad("mode %q without members", mode)
		case mode == api.ModeEns || mode == api.ModeBoth:
		case !member:
			bad("mode %q is not one", mode)
		case !slices.Contains(i.Members, name):
			bad("mode %q names no member of %q", mode, i.Members)
		}
	}
	return errors.Join(errs...)
}
