package server

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
)

// dialects lays out other stacks' paths: those that score, and what their
// clients ask for besides.
func (s *Server) dialects(r chi.Router) {
	for _, route := range dialect.Routes(s.cfg.Dialects) {
		r.Post(route.Path, s.translate(route))
	}
	r.Get("/", s.probe(s.root))
	for _, path := range []string{"/health", "/ping"} {
		r.Get(path, s.probe(s.health))
	}
	r.Get("/info", s.handle(s.teiInfo, "model"))
	r.Post("/tokenize", s.handle(s.tokenize, "model"))
	r.Post("/decode", s.handle(s.detokenize, "model"))
	r.Post("/seed_session", s.handle(s.seedSession))
	r.Post("/close_session", s.handle(s.closeSession))
	r.Post("/aggregate_metrics", s.handle(s.aggregateMetrics))
	r.Get("/reverify_mode", s.handle(s.reverifyMode))
	r.Get("/models", s.handle(s.infinityModels))
	r.Get("/get_model_info", s.handle(s.sglangInfo, "model"))
	r.Get("/v2", s.handle(s.oipServer))
	r.Get("/v2/health/live", s.probe(s.oipLive))
	r.Get("/v2/health/ready", s.probe(s.oipReady))
	for _, path := range []string{"/v2/models/{name}", "/v2/models/{name}/versions/{version}"} {
		r.Get(path, s.handle(s.oipModel))
		r.Get(path+"/ready", s.handle(s.oipModelReady))
	}
	r.Post("/v2/repository/index", s.handle(s.repositoryIndex))
}

// health handles the probes of vLLM's, SGLang's and TEI's clients: ready or not.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	if err := s.notReady(false); err != nil {
		return err
	}
	s.write(w, http.StatusOK, nil)
	return nil
}

// sessionCookie is what NeMo Gym's environment servers want of a seed, and send
// with the rollout. Nothing is kept under it.
const sessionCookie = "warm_session"

// seedSession handles NeMo Gym's POST /seed_session.
func (s *Server) seedSession(w http.ResponseWriter, r *http.Request) error {
	seed, err := read(s, r, dialect.DecodeSession)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: logOf(r).ID, Path: "/", HttpOnly: true,
		SameSite: http.SameSiteLaxMode})
	return s.reply(w, http.StatusOK, seed)
}

// closeSession handles NeMo Gym's POST /close_session.
func (s *Server) closeSession(w http.ResponseWriter, r *http.Request) error {
	closed, err := read(s, r, dialect.DecodeSession)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, closed)
}

// aggregateMetrics handles NeMo Gym's POST /aggregate_metrics.
func (s *Server) aggregateMetrics(w http.ResponseWriter, r *http.Request) error {
	rollouts, err := read(s, r, dialect.DecodeGymRollouts)
	if err != nil {
		return err
	}
	if err := s.reserveMore(r, rollouts.Size()); err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, rollouts.Metrics())
}

// infinityModels handles infinity's GET /models.
func (s *Server) infinityModels(w http.ResponseWriter, _ *http.Request) error {
	depth, limits := s.queue.Depth(), s.queue.Limits()
	stats := dialect.InfinityStats{
		Fraction: float64(depth.Tokens) / float64(limits.MaxQueuedTokens), Absolute: depth.Sequences,
		BatchSize: limits.MaxBatchTokens,
	}
	list := dialect.InfinityModels{Object: "list", Data: []dialect.InfinityModel{}}
	for _, info := range s.models.List() {
		list.Data = append(list.Data, dialect.NewInfinityModel(info.ID, info.Created, stats))
	}
	return s.reply(w, http.StatusOK, list)
}

// reverifyMode handles NeMo Gym's GET /reverify_mode.
func (s *Server) reverifyMode(w http.ResponseWriter, _ *http.Request) error {
	return s.reply(w, http.StatusOK, dialect.ReverifyMode)
}

// read decodes the body of a request that takes the server's default time.
func read[T any](s *Server, r *http.Request, decode func([]byte) (T, error)) (out T, err error) {
	ctx, cancel, err := s.withDeadline(r)
	if err != nil {
		return out, err
	}
	defer cancel()
	return readBody(ctx, s, logOf(r), r, decode)
}

// readBody decodes the body of a request. The body itself is free with that:
// what was decoded has its own memory.
func readBody[T any](
	ctx context.Context, s *Server, l *requestLog, r *http.Request, decode func([]byte) (T, error),
) (out T, err error) {
	body, err := s.bodies.read(ctx, l, r)
	if err != nil {
		return out, err
	}
	return decode(body)
}

// served returns the model that ?model names, or the only one, for questions
// about it; the caller releases it.
func (s *Server) served(r *http.Request) (*live.Instance, error) {
	d, _, err := s.models.Acquire(r.Context(), r.URL.Query().Get("model"), "")
	if err == nil {
		logOf(r).Revision = d.Info().Revision
	}
	return d, err
}

// vocabulary returns the tokeniser of the model that ?model names.
func (s *Server) vocabulary(r *http.Request) (live.Vocabulary, func(), error) {
	d, err := s.served(r)
	if err != nil {
		return nil, nil, err
	}
	v, ok := d.Model().(live.Vocabulary)
	if !ok {
		d.Release()
		return nil, nil, api.Errorf(api.CodeUnsupportedInput, "",
			"model %q does not show its tokeniser", d.Info().ID)
	}
	return v, d.Release, nil
}
