package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader/hub"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/warm/backend"
	"github.com/warmserve/warmserve/warm/reward"
)

// builder makes the server's models out of checkpoints.
type builder struct {
	engine  model.Engine
	models  *live.Models // to know whether somebody is being served
	sources Sources
	log     *slog.Logger

	key  string // of the engines of others
	wrap func(http.RoundTripper) http.RoundTripper

	mu       sync.Mutex
	backends map[api.BackendSpec]*backend.Engine // those that models were built for
}

// Check implements live.Builder.
func (b *builder) Check(spec *api.ModelSpec) error {
	_, err := RewardConfig(spec, b.engine)
	return err
}

// Build implements live.Builder.
func (b *builder) Build(ctx context.Context, name string, spec *api.ModelSpec,
	progress func(string, float64)) (live.Model, error) {
	c, err := RewardConfig(spec, b.engine)
	if err != nil {
		return nil, err
	}
	engine, others := b.engine, spec.Backend != nil
	if others {
		e := b.backend(spec.Backend)
		if other := b.taken(name, e); other != "" {
			return nil, fmt.Errorf("%s serves the model %q: an engine holds one", e.Device(), other)
		}
		engine, c.Engine = e, e
	}
	open := b.sources.Opening(ctx, downloads(progress))
	c.Progress, c.Open = progress, open.Open
	workers := engine.Workers()
	if len(b.models.List()) > 0 {
		workers = max(1, workers/2) // the rest is for the requests beside it
	}
	d, err := reward.Open(ctx, c, workers)
	if err != nil {
		return nil, b.roomFor(name, spec, err)
	}
	if err := context.Cause(ctx); err != nil {
		d.Close()
		return nil, err
	}
	for _, w := range d.Warnings {
		b.log.WarnContext(ctx, w, "model", name)
	}
	told := []any{"model", name, "weights_mb", d.Bytes() / 1e6, "revision", d.Revision, "seconds", d.LoadTime.Seconds()}
	for _, t := range d.Times {
		told = append(told, t.What+"_seconds", t.Took.Seconds())
	}
	b.log.InfoContext(ctx, "loaded", told...)
	m := NewModel(name, d, engine)
	m.info.Sample, m.info.Aliases = spec.ABSample, spec.Aliases
	if len(open.Exact) > 0 {
		m.info.Exact = open.exactly(spec)
		for _, x := range spec.Members {
			if exact, ok := open.Exact[x.Path]; ok {
				m.info.Sources = append(m.info.Sources, exact)
			}
		}
	}
	if others {
		return onBackend(m, engine.(*backend.Engine), spec.Backend), nil
	}
	return m, nil
}

// roomFor says what to do about a model that does not fit beside what is live.
func (b *builder) roomFor(name string, spec *api.ModelSpec, err error) error {
	if _, ok := errors.AsType[*model.MemoryError](err); !ok {
		return err
	}
	if _, _, live := b.models.Describe(name); live && spec.Swap != api.SwapDrain {
		return fmt.Errorf("%w beside the revision that is live: swap: drain makes its room first", err)
	}
	return err
}

// downloads tells of downloads as of the other work of a load.
func downloads(progress func(string, float64)) hub.Progress {
	return func(name hub.Name, done, total int64) {
		progress("download "+name.String(), float64(done)/float64(max(total, 1)))
	}
}
