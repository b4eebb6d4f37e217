package serve

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/warm/backend"
)

// backend returns the engine of a description, the same for the same one.
func (b *builder) backend(spec *api.BackendSpec) *backend.Engine {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.backends[*spec]; e != nil {
		return e
	}
	kind, url := spec.Engine()
	e := backend.New(backend.Options{
		Kind: backend.Kind(kind), URL: url, Directory: spec.Directory, EngineDirectory: spec.EngineDirectory,
		ByName: spec.Verify == api.VerifyName, Tolerance: spec.Tolerance,
		Key: b.key, Wrap: b.wrap, Log: b.log,
	})
	b.backends[*spec] = e
	return e
}

// taken returns the name of another live model that an engine serves; "" for none.
func (b *builder) taken(name string, e *backend.Engine) string {
	for _, m := range b.models.List() {
		if m.Device == e.Device() && m.ID != name {
			return m.ID
		}
	}
	return ""
}

// stop ends what engines of others are asked for, so that one that hangs holds up no end.
func (b *builder) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.backends {
		e.Stop()
	}
}

// close ends the connections to engines of others.
func (b *builder) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.backends {
		e.Close()
	}
}

// checkBackends finds the engines that would have to serve several models.
func checkBackends(models map[string]*api.ModelSpec) (errs []error) {
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(models)) {
		if models[name] == nil || models[name].Backend == nil {
			continue
		}
		_, url := models[name].Backend.Engine()
		url = strings.TrimRight(url, "/")
		if other, taken := owner[url]; taken {
			errs = append(errs, fmt.Errorf("models.%s: the engine at %s is that of the model %q, too: it holds one", name, url, other))
		}
		owner[url] = name
	}
	return errs
}

// remote is a model on an engine of others: a [live.Activator], [live.Troubled], and maybe
// [live.Textual].
type remote struct {
	*Model
	engine *backend.Engine
}

// onBackend gives a model lanes that do not hold up what is computed here.
func onBackend(m *Model, e *backend.Engine, spec *api.BackendSpec) *remote {
	for _, lane := range m.lanes {
		lane.Beside(cmp.Or(spec.Concurrency, api.DefaultConcurrency))
	}
	return &remote{Model: m, engine: e}
}

// weights is the one model that an engine of others holds.
func (r *remote) weights() *backend.Model {
	if m := r.Average(); m != nil {
		return m.(*backend.Model)
	}
	return r.Member(0).(*backend.Model)
}

// Activate implements live.Activator.
func (r *remote) Activate(ctx context.Context, progress func(string, float64)) error {
	return r.engine.Activate(ctx, r.weights(), progress)
}

// Trouble implements live.Troubled.
func (r *remote) Trouble() string { return r.weights().Trouble() }

// Textual implements live.Textual.
func (r *remote) Textual() bool { return r.engine.Textual() }

var (
	_ live.Activator = (*remote)(nil)
	_ live.Textual   = (*remote)(nil)
	_ live.Troubled  = (*remote)(nil)
)
