package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/net/netutil"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/memory"
	"github.com/warmserve/warmserve/server/score"
)

// Server answers requests with the rewards of live models. Make one with New;
// it works until Run returns or Close is called.
type Server struct {
	cfg       Config
	log       *slog.Logger
	tracer    trace.Tracer // of requests; nil without Config.Tracing
	models    *live.Models
	queue     *batch.Queue
	metrics   *metrics
	scores    *score.Service
	bodies    *bodies
	room      *memory.Room
	reclaimer reclaimer
	changes   *live.Changes // nil without a Config.Builder, as is changed
	changed   *changeMetrics
	keys      atomic.Pointer[keySet]
	ops       http.Handler // of Config.SeparateOps; else nil
	handler   http.Handler
	warned    sync.Map // what was logged once, see annotate
}

// minCompressed is the length from which a reply is compressed: under about
// one packet there is nothing to gain.
const minCompressed = 1400

// New returns a server of the models in models, which may be empty and filled
// later: until then the server is not ready. It starts the queue's goroutine.
func New(cfg Config, models *live.Models) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(minCompressed))
	if err != nil {
		return nil, fmt.Errorf("server: compression of replies: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, models: models, room: memory.New(cfg.requestMemory(0))}
	if s.bodies, err = newBodies(cfg.MaxBodyBytes, cfg.BodyTimeout, s.room); err != nil {
		return nil, fmt.Errorf("server: compression of requests: %w", err)
	}
	if cfg.Tracing != nil {
		s.tracer = cfg.Tracing.Tracer(tracerName)
	}
	models.WatchMemory(func(bytes int64) {
		s.room.SetLimit(cfg.requestMemory(bytes))
		s.reclaimer.released(reclaimFrom) // loading makes garbage, too
	})
	s.keys.Store(&keySet{digests(cfg.Keys), digests(cfg.AdminKeys)})
	s.metrics = newMetrics(cfg.Version, cfg.DriftScores, models)
	if cfg.Cards != nil {
		s.metrics.registry.MustRegister(cardCollector{cfg.Cards})
	}
	queue := cfg.Queue
	queue.Observe = func(b batch.Batch) {
		s.observeBatch(b)
		if cfg.Queue.Observe != nil {
			cfg.Queue.Observe(b)
		}
	}
	s.queue = batch.New(queue)
	s.metrics.watchQueue(s.queue)
	s.metrics.watchRoom(s.room)
	s.scores = score.New(score.Config{
		MaxSequences: cfg.MaxSequences, MaxTokens: cfg.MaxRequestTokens,
		ClientTokensPerMinute: cfg.ClientTokensPerMinute, Observer: s.metrics,
	}, models, s.queue)
	if cfg.Builder != nil {
		if len(cfg.AdminKeys) > 0 && cfg.ModelRoot == "" {
			s.log.Warn("no model can be loaded by a request: there are administrators' keys but no model root")
		}
		s.changed = newChangeMetrics(s.metrics, models)
		if s.changes, err = live.NewChanges(live.Config{
			Builder: cfg.Builder, Root: cfg.ModelRoot, Reference: cfg.Reference, StateFile: cfg.StateFile,
			KeepPrevious: cfg.KeepPrevious, Logger: s.log, Observer: s.changed, Tracer: s.tracer,
		}, models, s.queue); err != nil {
			s.queue.Close()
			return nil, err
		}
		s.changed.watch(s.metrics, s.changes)
	}
	if cfg.AnyModelName {
		models.AnyName(func() bool { return s.changes == nil || s.changes.Sole() })
	}
	s.handler = s.routes(func(next http.Handler) http.Handler { return wrap(next) })
	if cfg.SeparateOps {
		s.ops = s.opsRoutes()
	}
	return s, nil
}

// RunWithOps is Run with a second listener for the routes of
// Config.SeparateOps, which answers until the drain is over.
func (s *Server) RunWithOps(ctx context.Context, ln, ops net.Listener) error {
	hs, ops := s.httpServer(s.ops, ops)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		err := hs.Serve(ops)
		if !errors.Is(err, http.ErrServerClosed) {
			err = fmt.Errorf("server: the port of operators: %w", err)
			cancel(err)
			ended <- err
			return
		}
		ended <- nil
	}()
	err := s.Run(ctx, ln)
	return errors.Join(err, hs.Close(), <-ended)
}

// Handler returns the server's routes, for a listener other than Run's.
func (s *Server) Handler() http.Handler { return s.handler }

// Close ends the queue at once: what waits in it fails. It is for a server
// whose Run was never called.
func (s *Server) Close() {
	s.scores.Drain()
	s.stopChanges()
	s.scores.Stop()
	s.reclaimer.stop()
	s.queue.Close()
	s.closeChanges()
}

// stopChanges calls off the changes of models.
func (s *Server) stopChanges() {
	if s.changes != nil {
		s.changes.Stop()
	}
}

func (s *Server) closeChanges() {
	if s.changes != nil {
		s.changes.Close()
	}
}

// Run serves on ln until ctx ends, and then drains: /readyz turns 503, requests
// are still taken for Config.DrainDelay, then the listener is closed, and those
// in flight have Config.DrainTimeout to finish. It returns nil when all did.
// Run closes ln and is called once.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	served := make(chan error, 1)
	hs, ln := s.httpServer(s.handler, netutil.LimitListener(ln, s.cfg.MaxConnections))
	hs.ConnState = s.metrics.connState
	go func() { served <- hs.Serve(ln) }()
	select {
	case err := <-served:
		s.Close()
		return fmt.Errorf("server: %w", err)
	case <-ctx.Done():
	}
	s.log.Info("draining", "delay", s.cfg.DrainDelay, "timeout", s.cfg.DrainTimeout)
	s.scores.Drain()
	s.stopChanges() // what is loaded now would hardly answer any more, and takes processors from what does
	select {
	case err := <-served:
		s.Close()
		return fmt.Errorf("server: %w", err)
	case <-time.After(s.cfg.DrainDelay):
	}
	s.scores.Stop()
	err := s.drain(hs)
	<-served
	s.reclaimer.stop()
	s.closeChanges()
	return err
}

// httpServer returns what serves h on a listener, which speaks TLS where that is wanted.
func (s *Server) httpServer(h http.Handler, ln net.Listener) (*http.Server, net.Listener) {
	if s.cfg.TLS != nil {
		ln = tls.NewListener(ln, s.cfg.TLS)
	}
	return &http.Server{
		Handler: h, ReadHeaderTimeout: s.cfg.HeaderTimeout,
		IdleTimeout: s.cfg.IdleTimeout, MaxHeaderBytes: s.cfg.MaxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}, ln
}

// drain lets what is in flight finish, and past its time fails it.
func (s *Server) drain(hs *http.Server) error {
	limit, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	err := hs.Shutdown(limit)
	if err == nil {
		return s.queue.Drain(limit)
	}
	// The queue fails what waits, so that those requests still get their 503;
	// whoever is stuck elsewhere is cut off.
	err = fmt.Errorf("server: requests still in flight after %v: %w", s.cfg.DrainTimeout, err)
	_ = s.queue.Drain(limit) // its error would be limit's once more
	last, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if hs.Shutdown(last) != nil {
		err = errors.Join(err, hs.Close())
	}
	return err
}

// observeBatch counts a batch and logs its fault.
func (s *Server) observeBatch(b batch.Batch) {
	s.metrics.batch(b)
	if p, ok := errors.AsType[*batch.PanicError](b.Err); ok {
		s.metrics.panics.Inc()
		s.log.Error("panic in a scorer", "lane", b.Lane.Name(), "sequences", b.Sequences, "tokens", b.Tokens,
			"panic", batch.PanicText(p.Value), "stack", string(p.Stack))
	}
}

// logFault writes an error that its client is not told of.
func (s *Server) logFault(ctx context.Context, l *requestLog, err error) {
	s.log.ErrorContext(ctx, "fault", "id", l.ID, "model", l.Model, "error", err.Error())
}

// reply answers with v.
func (s *Server) reply(w http.ResponseWriter, status int, v any) error {
	body, err := api.Encode(v)
	if err != nil {
		return fmt.Errorf("server: encode reply: %w", err)
	}
	s.writeJSON(w, status, body)
	return nil
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	s.write(w, status, body)
}

// write sends a whole reply, within the time for it. An error of writing means
// that the client is gone, and nobody is left to tell.
func (s *Server) write(w http.ResponseWriter, status int, body []byte) {
	s.limitWrite(w)
	h := w.Header()
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// limitWrite starts the time in which a reply must be written.
func (s *Server) limitWrite(w http.ResponseWriter) {
	// A writer without deadlines, as tests use, has no slow reader either.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout))
}
