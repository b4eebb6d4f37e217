package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
)

// document is openapi.yaml, parsed and valid.
var document = sync.OnceValue(func() *openapi3.T {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		panic(err)
	}
	return doc
})

// rollout is the prefix of NeMo Gym that every path may have.
var rollout = regexp.MustCompile(`^/ng-rollout/[^/.][^/]*`)

// harness is a server on a socket. Every reply that passes through it is held
// against openapi.yaml.
type harness struct {
	t      *testing.T
	server *server.Server
	models *live.Models
	url    string
	log    *logBuffer
}

// logBuffer is a log that a test reads while the server writes.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, cfg server.Config, models ...live.Model) *harness {
	h := &harness{t: t, models: live.NewModels(), log: &logBuffer{}}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, m := range models {
		_, err := h.models.Swap(m)
		require.NoError(t, err)
	}
	s, err := server.New(cfg, h.models)
	require.NoError(t, err)
	h.server = s
	hs := httptest.NewServer(s.Handler())
	h.url = hs.URL
	t.Cleanup(func() {
		hs.Close()
		s.Close()
		assert.Zero(t, server.Held(s), "bytes that a request reserved and did not give back")
	})
	return h
}

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r *reply) json(t *testing.T, out any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(out), "%s", r.body)
}

// wireError is the documented shape of an error, read independently of package api.
type wireError struct {
	Error struct {
		Type    string
		Message string
		Param   *string
		Code    string
	}
}

func (r *reply) error(t *testing.T) (e wireError) {
	t.Helper()
	r.json(t, &e)
	return e
}

// post sends body to /v1/reward.
func (h *harness) post(body string, header ...string) *reply {
	h.t.Helper()
	return h.do(http.MethodPost, "/v1/reward", body, header...)
}

func (h *harness) get(path string, header ...string) *reply {
	h.t.Helper()
	return h.do(http.MethodGet, path, "", header...)
}

// do sends a request with headers, given as name and value in turn, and checks
// the reply against the document.
func (h *harness) do(method, path, body string, header ...string) *reply {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	require.NoError(h.t, err)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			req.Header.Del(header[i])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(h.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(h.t, err)
	r := &reply{resp.StatusCode, resp.Header, data}
	if resp.Header.Get("Content-Encoding") == "" && method != http.MethodHead {
		checkDocumented(h.t, method, rollout.ReplaceAllString(plainPath(req.URL), ""), r)
	}
	return r
}

// plainPath is a path without the slashes that the server overlooks.
func plainPath(u *url.URL) string {
	parts := strings.FieldsFunc(u.EscapedPath(), func(r rune) bool { return r == '/' })
	return "/" + strings.Join(parts, "/")
}

// operation finds what the document says of a path.
func operation(method, path string) *openapi3.Operation {
	if item := document().Paths.Find(path); item != nil {
		return item.GetOperation(method)
	}
	for pattern, item := range document().Paths.Map() {
		if matches(strings.Split(pattern, "/"), strings.Split(path, "/")) {
			return item.GetOperation(method)
		}
	}
	return nil
}

// matches reports whether a path is one of a documented pattern.
func matches(pattern, path []string) bool {
	for i, p := range pattern {
		if i >= len(path) || p != path[i] && !strings.HasPrefix(p, "{") || path[i] == "" && i > 0 {
			return false
		}
	}
	return len(pattern) == len(path)
}

// checkDocumented holds a reply against openapi.yaml: its status, its headers
// and its body.
func checkDocumented(t *testing.T, method, path string, r *reply) {
	t.Helper()
	assert.NotEmpty(t, r.header.Get("X-Request-Id"))
	op := operation(method, path)
	if op == nil && dialect.ShapeOf(path) == nil {
		// A path or method that is not there answers in the shape of an error.
		assert.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnauthorized}, r.status)
		checkBody(t, document().Components.Schemas["Error"].Value, r)
		return
	}
	if op == nil {
		return // in the shape of a dialect, which its package's tests hold
	}
	ref := op.Responses.Value(strconv.Itoa(r.status))
	if !assert.NotNil(t, ref, "%s %s answered %d, which the document does not have: %s", method, path, r.status, r.body) {
		return
	}
	for name, hdr := range ref.Value.Headers {
		value := r.header.Get(name)
		if value == "" && !hdr.Value.Required {
			continue
		}
		if assert.NotEmpty(t, value, "header %s of %d", name, r.status) {
			var v any = value
			if hdr.Value.Schema.Value.Type.Is("integer") {
				n, err := strconv.ParseFloat(value, 64)
				require.NoError(t, err)
				v = n
			}
			assert.NoError(t, hdr.Value.Schema.Value.VisitJSON(v), "header %s", name)
		}
	}
	if len(ref.Value.Content) == 0 {
		assert.Empty(t, r.body)
		return
	}
	kind, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	media := ref.Value.Content.Get(kind)
	if assert.NotNil(t, media, "%s %s answered %q", method, path, kind) && kind == "application/json" {
		checkBody(t, media.Schema.Value, r)
	}
}

func checkBody(t *testing.T, schema *openapi3.Schema, r *reply) {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(r.body, &v), "%s", r.body)
	assert.NoError(t, schema.VisitJSON(v, openapi3.VisitAsResponse()), "%s", r.body)
	if e := (wireError{}); json.Unmarshal(r.body, &e) == nil && e.Error.Code != "" {
		code := api.Code(e.Error.Code)
		assert.Equal(t, code.Status(), r.status, "status of %s", code)
		assert.Equal(t, code.Type(), e.Error.Type, "type of %s", code)
	}
}

// What a model says of itself in the list it says alone, too.
func TestTheDetailsOfAModelHaveAllThatTheListHas(t *testing.T) {
	schemas := document().Components.Schemas
	for name := range schemas["Model"].Value.Properties {
		assert.Contains(t, schemas["ModelDetail"].Value.Properties, name)
	}
}
