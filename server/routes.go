package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
)

// router is what all paths have in common.
func (s *Server) router(compress func(http.Handler) http.Handler) chi.Router {
	r := chi.NewRouter()
	r.Use(canonical, s.observe, compress, s.contain, s.authorize, middleware.GetHead)
	r.NotFound(s.answer(func(_ http.ResponseWriter, req *http.Request) error {
		if slices.Contains(generators, req.URL.Path) {
			return api.Errorf(api.CodeUnknownRoute, "",
				"the models here score text and generate none: %s is a path of servers that generate",
				req.URL.Path)
		}
		return api.Errorf(api.CodeUnknownRoute, "",
			"there is no such path; GET /openapi.yaml lists those there are")
	}))
	r.MethodNotAllowed(s.answer(func(w http.ResponseWriter, req *http.Request) error {
		allowed := allowedMethods(r, req.URL)
		w.Header().Set("Allow", allowed)
		return api.Errorf(api.CodeMethodNotAllowed, "", "this path takes %s", allowed)
	}))
	return r
}

// generators are paths that a client asks when it takes this server for one of a
// language model, as slime does with --rm-url in on-policy distillation.
var generators = []string{"/generate", "/v1/completions", "/v1/chat/completions", "/v1/responses"}

// routes lays out the paths of openapi.yaml.
func (s *Server) routes(compress func(http.Handler) http.Handler) chi.Router {
	r := s.router(compress)
	r.Post("/v1/reward", s.handle(s.reward, dialect.Choices...))
	r.Post("/v1/compare", s.handle(s.compare))
	r.Get("/v1/models", s.handle(s.listModels))
	r.Get("/v1/models/{name}", s.handle(s.getModel))
	s.dialects(r)
	s.document(r)
	if !s.cfg.SeparateOps {
		s.operation(r)
	}
	return r
}

// opsRoutes lays out what is for operators, where that has a port of its own.
func (s *Server) opsRoutes() chi.Router {
	r := s.router(func(next http.Handler) http.Handler { return next })
	r.Get("/v1/models", s.handle(s.listModels))
	r.Get("/v1/models/{name}", s.handle(s.getModel))
	if s.document(r); !s.cfg.NoConsole {
		r.Get("/", s.probe(s.page))
	}
	s.operation(r)
	return r
}

// operation lays out probes, metrics and what changes models.
func (s *Server) operation(r chi.Router) {
	r.Put("/v1/models/{name}", s.admin(s.putModel, "wait", "dry_run"))
	r.Delete("/v1/models/{name}", s.admin(s.deleteModel))
	r.Post("/v1/models/{name}/rollback", s.admin(s.rollbackModel, "wait"))
	r.Post("/update_weights_from_disk", s.admin(s.updateWeights, "model"))
	r.Post("/v2/repository/models/{name}/load", s.admin(s.repositoryLoad))
	r.Post("/v2/repository/models/{name}/unload", s.admin(s.repositoryUnload))
	r.Get("/livez", s.probe(s.livez))
	r.Get("/readyz", s.probe(s.readyz))
	r.Get("/metrics", s.handle(s.scrape(s.metrics.handler())))
}

// handler is a handler that returns its error.
type handler func(http.ResponseWriter, *http.Request) error

// handle adapts a handler of a route whose query has the parameters named, and
// no others.
func (s *Server) handle(h handler, query ...string) http.HandlerFunc {
	return s.probe(func(w http.ResponseWriter, r *http.Request) error {
		if err := checkQuery(r, query); err != nil {
			return err
		}
		return h(w, r)
	})
}

// probe adapts the handler of a probe, or of a page, which reads nothing of the query:
// what an orchestrator or a load balancer adds to its probes takes no server out of
// service, and what is added to a link breaks no page.
func (s *Server) probe(h handler) http.HandlerFunc {
	return s.answer(func(w http.ResponseWriter, r *http.Request) error {
		if _, err := timeout(r); err != nil {
			return err
		}
		return h(w, r)
	})
}

// answer answers a handler's error in the native shape, or that of the
// request's dialect.
func (s *Server) answer(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		l := logOf(r)
		// A context that is merely done says nothing: net/http ends it when a
		// body times out, too, whose sender is still there.
		if errors.Is(err, errClientGone) || errors.Is(err, context.Canceled) {
			// Whoever may still listen must not take an empty 200 for an answer.
			l.status = statusClientGone
			panic(http.ErrAbortHandler)
		}
		e := wireError(err)
		if e.Code.Status() == http.StatusInternalServerError {
			s.logFault(r.Context(), l, err)
		}
		s.writeError(w, r, e)
	}
}

// allowedMethods lists the methods that a path takes, as the header Allow does.
func allowedMethods(routes chi.Routes, u *url.URL) string {
	path := cmp.Or(u.RawPath, u.Path)
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), method, path) {
			allowed = append(allowed, method)
			if method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
	}
	return strings.Join(allowed, ", ")
}

// listModels handles GET /v1/models.
func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) error {
	list := api.ModelList{Object: "list", Data: []api.Model{}}
	for _, info := range s.models.List() {
		list.Data = append(list.Data, info.Wire())
	}
	return s.reply(w, http.StatusOK, list)
}

// getModel handles GET /v1/models/{name}.
func (s *Server) getModel(w http.ResponseWriter, r *http.Request) error {
	name := s.models.Canonical(modelName(r))
	if detail, ok := s.detail(name); ok {
		logOf(r).about(detail)
		return s.reply(w, http.StatusOK, detail)
	}
	return live.UnknownModel("name", name)
}

// livez handles GET /livez.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) error {
	return s.reply(w, http.StatusOK, api.Status{Status: "live"})
}

// readyz handles GET /readyz, whether requests should be sent here: those for one
// revision where the header X-Pin-Revision asks so.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	k := s.keys.Load()
	why := k.open() || k.lets(r)
	if err := s.notReady(why); err != nil {
		return err
	}
	if err := s.models.Holds(r.Header.Get(live.PinHeader)); err != nil {
		return err
	}
	status := api.Status{Status: "ready"}
	if why && s.changes != nil {
		status.Detail = s.changes.Notes()
	}
	return s.reply(w, http.StatusOK, status)
}

// notReady says why requests should not be sent here; nil when they may. Why
// asks for reasons that may name files, which a stranger is not told.
func (s *Server) notReady(why bool) error {
	if s.scores.Draining() {
		return api.Errorf(api.CodeDraining, "", "the server is stopping")
	}
	if s.queue.Err() != nil {
		return api.Errorf(api.CodeNotReady, "", "the queue has stopped")
	}
	count, missing := len(s.models.List()), ""
	if s.changes != nil {
		missing = s.changes.Missing(why)
	}
	switch {
	case count == 0 && missing == "":
		return api.Errorf(api.CodeNotReady, "", "no model is live yet")
	case count == 0:
		return api.Errorf(api.CodeNotReady, "", "no model is live yet; %s", missing)
	case missing != "" && !s.cfg.ReadyWithAny:
		return api.Errorf(api.CodeNotReady, "", "live models: %d; %s", count, missing)
	}
	return s.troubled(count, why)
}

// troubled says which live models cannot be scored now; nil when the server is ready
// all the same.
func (s *Server) troubled(count int, why bool) error {
	troubles := s.models.Troubles()
	if len(troubles) == 0 || s.cfg.ReadyWithAny && len(troubles) < count {
		return nil
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(troubles)) {
		reason := "its engine is away"
		if why {
			reason = troubles[name]
		}
		out = append(out, fmt.Sprintf("model %s cannot be scored: %s", name, reason))
	}
	return api.Errorf(api.CodeNotReady, "", "%s", strings.Join(out, "; "))
}

// scrape handles GET /metrics.
func (s *Server) scrape(metrics http.Handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		s.limitWrite(w)
		metrics.ServeHTTP(w, r)
		return nil
	}
}
