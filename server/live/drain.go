package live

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/api"
)

// drains reports whether the live model of a change's name makes room before the new
// one is built, as either of the two wants it. A dry run takes nothing out of service.
func (cs *Changes) drains(c *Change) bool {
	if c.dry {
		return false
	}
	live := cs.Spec(c.name)
	if c.spec.Backend != nil {
		return c.spec.Guard != nil // whose members need the engine before the average does
	}
	return c.spec.Swap == api.SwapDrain || live != nil && live.Swap == api.SwapDrain
}

// makeRoom drains the live model of a change's name.
func (cs *Changes) makeRoom(c *Change) error {
	c.progress("waiting for requests of the live revision", 0)
	return cs.models.drain(c.ctx, c.name)
}

// activate has a built model take its place, which may be the live one's.
func (cs *Changes) activate(ctx context.Context, c *Change, m Model) error {
	a, ok := m.(Activator)
	if !ok {
		return nil
	}
	if err := cs.makeRoom(c); err != nil {
		return err
	}
	return a.Activate(ctx, c.progress)
}

// bringBack loads the model again that made room for a change which then failed.
// What waits for it meanwhile waits on. When it cannot be had any more it is gone,
// which the error says; a change of the same name that waits for its turn is the
// remedy as well as the next load would be.
func (cs *Changes) bringBack(c *Change) error {
	spec := cs.Spec(c.name)
	if !cs.models.isAway(c.name) || spec == nil || cs.settledOtherwise(c) {
		return nil
	}
	before, _, _ := cs.models.Describe(c.name)
	err := cs.loadAgain(c, spec, before)
	if err == nil {
		return nil
	}
	cs.models.Remove(c.name)
	if cs.ctx.Err() != nil {
		return nil // nobody is served any more
	}
	cs.lost(c.name)
	cs.log.ErrorContext(c.ctx, "the live revision made room for a change that failed, and cannot be loaded again",
		"model", c.name, "revision", before.Revision, "error", err.Error())
	return fmt.Errorf("revision %s, which was live, cannot be loaded again: %w", before.Revision, err)
}

// loadAgain makes the model of a spec live as it was before.
func (cs *Changes) loadAgain(c *Change, spec *api.ModelSpec, before Info) (err error) {
	c.progress("loading the live revision again", 0)
	spec = cmp.Or(before.Exact, spec)
	var m Model
	defer func() {
		if err != nil && m != nil {
			closeModel(m)
		}
	}()
	if m, err = cs.builder.Build(cs.ctx, c.name, spec, c.progress); err != nil {
		return err
	}
	if err := context.Cause(cs.ctx); err != nil {
		return err
	}
	if err := cs.activate(cs.ctx, c, m); err != nil {
		return err
	}
	if err := cs.probe(cs.ctx, c.name, m); err != nil {
		return err
	}
	if now := m.Info().Revision; now != before.Revision {
		cs.log.WarnContext(c.ctx, "the checkpoints changed since the model was last live",
			"model", c.name, "revision", now, "before", before.Revision)
	}
	cs.committing.Lock() // a removal comes before or after
	defer cs.committing.Unlock()
	if !cs.models.isAway(c.name) {
		return fmt.Errorf("model %q was removed", c.name)
	}
	_, err = cs.models.swap(m, 0)
	return err
}

// settledOtherwise reports whether the model of a change was removed, or another
// change of it waits that is no dry run.
func (cs *Changes) settledOtherwise(c *Change) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return c.removed || slices.ContainsFunc(cs.waiting,
		func(other *Change) bool { return other.name == c.name && !other.dry })
}

// lost notes that a model is live no more, though nobody removed it.
func (cs *Changes) lost(name string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.serving, name)
	cs.wanted[name] = "the revision that was live made room for a change that failed, and could not be loaded again"
	if cs.configured[name] != nil {
		cs.failed[name] = true
		signal(cs.retry)
	}
}
