package serve

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader/hub"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/warm/backend"
)

// Config is what a server of checkpoints is made of.
type Config struct {
	// Server sets limits, keys, the log and what else has nothing to do with
	// what is served. Its Builder is New's.
	Server server.Config
	// Models are what is served from the start, by name. May be empty where
	// administrators, a manifest or a state file bring models.
	Models map[string]*api.ModelSpec
	// Watch is a manifest of models that is carried out whenever it is replaced,
	// or the folder that holds it, or with a hub in Sources the address of a manifest,
	// as s3://bucket/manifest.yaml. Default: none.
	Watch string
	// Threads is the number of workers of the CPU's engine; default all processors.
	Threads int
	// Engine computes, on its device; nil is the CPU. The server closes it, and New
	// when it fails.
	Engine model.Engine
	// Sources open references to checkpoints that are no directories. Default: none.
	Sources Sources
	// BackendKey is what engines of others want as a bearer's key; BackendWrap puts
	// something around what carries requests to them, as who traces them does. Default:
	// none.
	BackendKey  string
	BackendWrap func(http.RoundTripper) http.RoundTripper
}

// Server serves checkpoints. Make one with New, and close it.
type Server struct {
	*server.Server
	config Config
	models *live.Models
	engine model.Engine
	built  *builder
	away   *hub.File // the watched manifest, where it is none of a disk
	log    *slog.Logger
}

// New returns a server that loads its models once it runs. The paths of
// c.Models are taken relative to the process's folder.
func New(c Config) (*Server, error) {
	models := make(map[string]*api.ModelSpec, len(c.Models))
	for name, spec := range c.Models {
		models[name] = spec.Clone()
	}
	c.Models = models
	if c.Engine == nil {
		c.Engine = model.NewEngine(c.Threads)
	}
	s := &Server{config: c, models: live.NewModels(), engine: c.Engine,
		log: cmp.Or(c.Server.Logger, slog.Default())}
	if err := s.check(); err != nil {
		s.engine.Close()
		return nil, err
	}
	s.built = &builder{engine: s.engine, models: s.models, sources: c.Sources, log: s.log,
		key: c.BackendKey, wrap: c.BackendWrap, backends: map[api.BackendSpec]*backend.Engine{}}
	c.Server.Builder = s.built
	c.Server.Reference = c.Sources.asked
	var err error
	if s.Server, err = server.New(c.Server, s.models); err != nil {
		s.engine.Close()
		return nil, err
	}
	return s, nil
}

// check settles the paths of the models and reports what is wrong with them.
func (s *Server) check() error {
	if w := s.config.Watch; hub.Elsewhere(w) {
		var err error
		if s.away, err = s.config.Sources.awayManifest(w); err != nil {
			return err
		}
	}
	if err := s.config.Sources.Resolve("", s.config.Models); err != nil {
		return err
	}
	return Check(s.config.Models, s.engine)
}

// Close ends the server at once. It is called after Run too: a batch that
// outlived the drain still computes on the engine.
func (s *Server) Close() {
	s.built.stop()
	s.Server.Close()
	s.built.close()
	s.engine.Close()
}

// Run serves on ln until ctx ends, and then drains, as [server.Server.Run] does.
// Meanwhile it loads the models and carries out the watched manifest. It answers
// from the start, as not ready until the models are loaded. Models that cannot be
// loaded are tried again while others are served; where none is and none can
// come, Run ends with the reason.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	return s.run(ctx, func(ctx context.Context) error { return s.Server.Run(ctx, ln) })
}

// RunWithOps is Run with a second listener, for the routes of
// Config.Server.SeparateOps.
func (s *Server) RunWithOps(ctx context.Context, ln, ops net.Listener) error {
	return s.run(ctx, func(ctx context.Context) error { return s.Server.RunWithOps(ctx, ln, ops) })
}

// run serves while the models are kept as they should be.
func (s *Server) run(ctx context.Context, serve func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kept := make(chan error, 1)
	go func() {
		err := s.keep(ctx)
		if err != nil {
			cancel()
		}
		kept <- err
	}()
	err := serve(ctx)
	cancel() // a listener may have ended by itself
	return errors.Join(<-kept, err)
}

// keep loads the models of the configuration, and those of the watched manifest
// whenever it is replaced, until ctx ends.
func (s *Server) keep(ctx context.Context) error {
	err := s.Changes().Start(ctx, s.config.Models)
	switch {
	case ctx.Err() != nil:
		return nil // told to stop before all was loaded
	case err != nil && s.config.Watch == "" && len(s.models.List()) == 0: // the manifest may have the cure
		return err
	case err != nil:
		s.log.Error("not all models are served; those that are not are tried again", "error", err.Error())
	}
	var retries sync.WaitGroup
	defer retries.Wait()
	retries.Go(func() { s.Changes().Retry(ctx) })
	if s.config.Watch != "" {
		w := &watcher{path: s.config.Watch, away: s.away, live: s.Changes(), note: s.ManifestLooked,
			sources: s.config.Sources, log: s.log}
		w.run(ctx)
	}
	return nil
}
