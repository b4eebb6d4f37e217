package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/warmserve/warmserve/model"
)

// Activate has the engine serve a model that [Engine.Load] returned, and makes sure that
// it does. What the engine served before is gone then; after an error it may be. Until the
// model is closed the engine is watched: weights that it lost are loaded again.
func (e *Engine) Activate(ctx context.Context, m model.Model, progress func(doing string, share float64)) error {
	on, err := e.own(m)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(string, float64) {}
	}
	if err := e.bring(ctx, on, progress); err != nil {
		return fmt.Errorf("%s: %w", e.Device(), err)
	}
	on.mu.Lock()
	defer on.mu.Unlock()
	if on.closed {
		return errClosed
	}
	if !on.active {
		on.active = true
		on.watched.Go(on.watch)
		e.mu.Lock()
		e.watched[on] = struct{}{}
		e.mu.Unlock()
	}
	e.prune(on)
	return nil
}

// bring has the engine serve a model, unless it does already, and checks that it does.
func (e *Engine) bring(ctx context.Context, m *Model, progress func(string, float64)) error {
	e.loading.Lock()
	defer e.loading.Unlock()
	progress("asking the engine", 0)
	st, err := e.state(ctx)
	if err != nil {
		return e.unanswered(m, err)
	}
	if st.name != m.id {
		progress("the engine loads "+m.id, 0)
		m.mu.Lock()
		m.loads++ // what is being scored meanwhile counts for nothing
		m.mu.Unlock()
		if err := e.load(ctx, m, st); err != nil {
			return err
		}
		if st, err = e.state(ctx); err != nil {
			return err
		}
		if st.name != m.id {
			return fmt.Errorf("it was given %s and says that it serves %s", m.id, named(st))
		}
	}
	switch {
	case st.class != "" && st.class != m.net.Name:
		return fmt.Errorf("it was started with a %s, and takes weights of that class alone: start it with a %s%s",
			st.class, m.net.Name, e.remedy(m))
	case st.longest > 0 && st.longest < m.longest:
		return fmt.Errorf("it takes sequences of %d tokens, the model was prepared for %d: load it again, or set max_tokens",
			st.longest, m.longest)
	}
	progress("checking the engine's scores", 0)
	limit, cancel := context.WithTimeout(ctx, e.times.score)
	defer cancel()
	return e.check(limit, m)
}

// state asks the engine, within the time for it.
func (e *Engine) state(ctx context.Context) (state, error) {
	limit, cancel := context.WithTimeout(ctx, e.times.ask)
	defer cancel()
	st, err := e.wire.state(limit)
	if err != nil {
		return st, fmt.Errorf("asking what it serves: %w", advised(err))
	}
	return st, nil
}

// advised says what to do about a refusal of everything.
func advised(err error) error {
	if s := statusOf(err); s == 401 || s == 403 {
		return fmt.Errorf("%w: the engine wants a key: the variable WARM_BACKEND_KEY", err)
	}
	return err
}

func (e *Engine) load(ctx context.Context, m *Model, st state) error {
	limit, cancel := context.WithTimeout(ctx, e.times.load)
	defer cancel()
	err := e.wire.load(limit, e.engineDir(&m.staged), m.id)
	if errors.Is(err, errNoLoad) {
		return fmt.Errorf("it serves %s, which is not this average, and %w%s", named(st), err, e.remedy(m))
	}
	if err != nil {
		return fmt.Errorf("loading %s there: %w", e.engineDir(&m.staged), advised(err))
	}
	return nil
}

// unanswered adds to the error of an engine that is away how it is started, where it must be
// on these very weights.
func (e *Engine) unanswered(m *Model, err error) error {
	if e.o.Kind == TEI && errors.Is(err, errAway) {
		return fmt.Errorf("%w%s", err, e.remedy(m))
	}
	return err
}

// remedy says how the engine comes to serve a model by being started.
func (e *Engine) remedy(m *Model) string {
	return ": start it with " + e.wire.start(e.engineDir(&m.staged)) + ", and load the model again " +
		"(what the configuration or a manifest names is tried again by itself)"
}

// named is what an engine serves, for people.
func named(st state) string {
	switch {
	case st.name == "":
		return "a model without a name"
	case st.path != "" && !strings.HasSuffix(st.path, st.name):
		return fmt.Sprintf("%q (started on %s)", st.name, st.path)
	case st.path != "":
		return st.path
	}
	return fmt.Sprintf("%q", st.name)
}

// watch looks at the engine now and then, and at once when a batch met something, until
// the model is closed: whether it answers, and serves these weights still. Weights that
// it lost, as by a restart, are loaded again; those that somebody of ours gave it since
// are left to it.
func (m *Model) watch() {
	e := m.engine
	tick := time.NewTicker(e.times.watch)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		case <-m.look:
		}
		if err := m.keep(m.ctx); m.ctx.Err() == nil {
			m.setTrouble(err)
		}
	}
}

// keep makes sure once that the engine serves the model.
func (m *Model) keep(ctx context.Context) error {
	e := m.engine
	st, err := e.state(ctx)
	switch {
	case err != nil:
		return e.unanswered(m, err)
	case st.name == m.id && m.Trouble() == "":
		return nil
	case e.o.Kind == TEI: // nothing is given to it
		return e.bring(ctx, m, func(string, float64) {})
	case st.name != m.id && strings.HasPrefix(st.name, namePrefix) && st.name != loadingName(m.id):
		return fmt.Errorf("it was given other weights, %s in the place of %s: another server uses it as well", st.name, m.id)
	}
	if st.name != m.id {
		e.log.Warn("the engine lost its weights and is given them again", "engine", e.Device(), "serves", st.name, "weights", m.id)
	}
	return e.bring(ctx, m, func(string, float64) {})
}

// wake has the watch look at once.
func (m *Model) wake() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}

// loadingName is the name that an engine's weights have while it is given those of a name:
// nobody takes its scores for a model's then, and who sees it knows whose turn it is.
func loadingName(name string) string {
	return namePrefix + "loading-" + strings.TrimPrefix(name, namePrefix)
}
