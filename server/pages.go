package server

import (
	"net/http"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/console"
)

// document lays out what describes the server: openapi.yaml and, for people, the console.
func (s *Server) document(r chi.Router) {
	r.Get("/openapi.yaml", s.handle(s.openapi))
	r.Get("/openapi.json", s.handle(s.openapiJSON))
	if !s.cfg.NoConsole {
		r.Get("/docs", s.probe(s.page))
		r.Get("/console/{file}", s.probe(s.page))
	}
}

// openapi handles GET /openapi.yaml.
func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	s.write(w, http.StatusOK, []byte(api.OpenAPI()))
	return nil
}

// documentJSON is made when it is first asked for: some 30 ms.
var documentJSON = sync.OnceValues(func() ([]byte, error) { return console.JSON(api.OpenAPI()) })

// openapiJSON handles GET /openapi.json.
func (s *Server) openapiJSON(w http.ResponseWriter, _ *http.Request) error {
	doc, err := documentJSON()
	if err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, doc)
	return nil
}

// root handles GET /: the console for a browser, which says that it reads HTML,
// and the probe of text-embeddings-inference's clients for everyone else.
func (s *Server) root(w http.ResponseWriter, r *http.Request) error {
	if !s.cfg.NoConsole && strings.Contains(r.Header.Get("Accept"), "text/html") {
		return s.page(w, r)
	}
	return s.health(w, r)
}

// page handles the paths of the console.
func (s *Server) page(w http.ResponseWriter, r *http.Request) error {
	f, ok := console.Find(r.URL.Path)
	if !ok {
		return api.Errorf(api.CodeUnknownRoute, "", "the console has no such file")
	}
	s.limitWrite(w)
	f.ServeHTTP(w, r)
	return nil
}
