// Package backendtest is inference engines for tests: small servers that speak the wires
// of SGLang, vLLM and text-embeddings-inference as these do, and compute on the CPU what
// they were started on or were given since.
package backendtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/tokenizer"
)

// Server is an engine. Its fields may be changed while nothing is asked of it.
type Server struct {
	URL string
	// Fixed is an engine that takes no other weights while it runs: vLLM without its
	// development mode. TEI always is one.
	Fixed bool
	// Activated has vLLM's outputs go through a sigmoid, as of one that does not know
	// use_activation.
	Activated bool
	// Key, when not "", is the bearer that every request must have.
	Key string
	// Longest is the tokens of a sequence; 0 is those of the model.
	Longest int

	t        testing.TB
	kind     string
	started  string // the directory that it was started on
	http     *httptest.Server
	engine   model.CPU
	mu       sync.Mutex
	dir      string // of the weights that it has
	version  string
	weights  *weights
	fault    Fault
	requests []Request
}

// Request is what an engine was asked.
type Request struct {
	Path   string
	Body   string
	Header http.Header
}

// Fault answers a request in the place of an engine, and reports whether it did.
type Fault func(w http.ResponseWriter, r *http.Request, body string) bool

// New starts an engine of a kind on a checkpoint directory. It ends with the test.
func New(t testing.TB, kind, dir string) *Server {
	s := &Server{t: t, kind: kind, engine: model.NewEngine(1)}
	require.NoError(t, s.start(dir))
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.http.URL
	t.Cleanup(func() { s.http.Close(); s.engine.Close() })
	return s
}

// start is a process's: its weights are those of the directory.
func (s *Server) start(dir string) error {
	if s.kind == "tei" {
		if err := TEIReads(dir); err != nil {
			return err
		}
	}
	w, err := open(dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started, s.dir, s.version, s.weights = dir, dir, "default", w
	return nil
}

// Restart is the end of the engine's process and the start of another, on a directory or,
// with "", on that of the first.
func (s *Server) Restart(dir string) {
	if dir == "" {
		dir = s.started
	}
	s.http.CloseClientConnections()
	require.NoError(s.t, s.start(dir))
}

// Break has requests answered by f; nil ends that.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Serves returns the directory of the weights that the engine has.
func (s *Server) Serves() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir
}

// Asked returns the requests to a path since the last call, all of them with "".
func (s *Server) Asked(path string) (out []Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if path == "" || r.Path == path {
			out = append(out, r)
		}
	}
	s.requests = nil
	return out
}

// weights are a checkpoint as an engine has it.
type weights struct {
	config    *model.Config
	model     *cpu.Model
	tokenizer *tokenizer.Tokenizer
	files     map[string]any // config.json
}

func open(dir string) (*weights, error) {
	c, err := loader.Open(dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	cfg, _, err := model.Resolve(c.Config, c, model.Settings{Output: "0"})
	if err != nil {
		return nil, err
	}
	w := &weights{config: cfg, files: map[string]any{}}
	if err := json.Unmarshal(c.Config, &w.files); err != nil {
		return nil, err
	}
	if w.model, err = model.Load(cfg, c, model.LoadOptions{Workers: 1}); err != nil {
		return nil, err
	}
	if c.Tokenizer != nil {
		w.tokenizer, err = tokenizer.Parse(c.Tokenizer)
	}
	return w, err
}

// outputs computes the outputs of the last token of each sequence, or of an encoder's first.
func (s *Server) outputs(w *weights, ids, types [][]int32) ([][]float32, error) {
	out := make([][]float32, len(ids))
	for i := range ids {
		read := int32(len(ids[i]) - 1)
		if !w.config.Causal() {
			read = 0
		}
		out[i] = make([]float32, w.config.Outputs())
		seq := model.Sequence{IDs: ids[i], Read: []int32{read}, Outputs: out[i]}
		if types != nil && w.config.TypeVocab > 0 {
			seq.Types = types[i]
		}
		if n := s.longest(w); len(ids[i]) > n {
			return nil, fmt.Errorf("a sequence of %d tokens, at most %d", len(ids[i]), n)
		}
		if err := s.engine.Score(w.model, make([]float32, 1), []model.Sequence{seq}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Server) longest(w *weights) int {
	if s.Longest > 0 {
		return s.Longest
	}
	return w.config.MaxPositions
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{Path: r.URL.Path, Body: string(data), Header: r.Header.Clone()})
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r, string(data)) {
		return
	}
	if s.Key != "" && r.Header.Get("Authorization") != "Bearer "+s.Key {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "Unauthorized"})
		return
	}
	switch s.kind {
	case "sglang":
		s.sglang(w, r, data)
	case "vllm":
		s.vllm(w, r, data)
	case "tei":
		s.tei(w, r, data)
	}
}

// load takes other weights, as an engine does in place: of another class they are none.
func (s *Server) load(dir string) error {
	w, err := open(dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, b := w.config, s.weights.config; a.Architecture != b.Architecture || a.Outputs() != b.Outputs() {
		return errors.New("the weights are of another model")
	}
	s.dir, s.weights = dir, w
	return nil
}

// reserve is how much of its context an engine leaves no sequence.
func (s *Server) reserve() int {
	if s.kind == "sglang" {
		return 7
	}
	return 0
}

// now is what the engine serves.
func (s *Server) now() (w *weights, dir, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.weights, s.dir, s.version
}

func (s *Server) setVersion(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = v
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// strict reads a request that has these fields and no others.
func strict(data []byte, v any) error {
	var known, got map[string]json.RawMessage
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &known); err != nil {
		return err
	}
	if err := json.Unmarshal(data, &got); err != nil {
		return err
	}
	for name := range got {
		if _, ok := known[name]; !ok {
			return fmt.Errorf("no field is called %q", name)
		}
	}
	return json.Unmarshal(data, v)
}

// list is GET /v1/models as SGLang and vLLM have it.
func (s *Server) list(w http.ResponseWriter, root string) {
	of, _, _ := s.now()
	reply(w, http.StatusOK, map[string]any{"object": "list", "data": []any{map[string]any{
		"id": root, "object": "model", "created": 1, "owned_by": s.kind, "root": root, "parent": nil, "max_model_len": s.longest(of) + s.reserve()}}})
}
