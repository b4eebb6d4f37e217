package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/tokenizer"
)

// Kind is whose engine it is.
type Kind string

// The engines that are spoken to.
const (
	SGLang Kind = "sglang"
	VLLM   Kind = "vllm"
	TEI    Kind = "tei"
)

// Options say where an engine is and how it is used.
type Options struct {
	Kind Kind
	URL  string // http or https, without a query
	// Directory is where averages are written, each in a folder of its own;
	// EngineDirectory is the same directory as the engine sees it, "" for Directory.
	Directory, EngineDirectory string
	// ByName takes the engine's word for the weights that it serves. Without it the
	// CPU scores a few sequences as well, and holds the model for it.
	ByName bool
	// Tolerance is how far outputs may be from the CPU's, as a share of their root mean
	// square; 0 is 5 %.
	Tolerance float64
	// Key is the bearer of every request; "" for none.
	Key string
	// Wrap puts something around what carries the requests, as who traces or counts them
	// does; nil does not.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Log is told of what an engine refuses and loses; nil is slog.Default().
	Log *slog.Logger
}

// Limits of time. They are fields so that tests need not wait for them.
type times struct {
	score    time.Duration // of one batch, its retries included
	load     time.Duration // of the engine's loading of weights
	ask      time.Duration // of a question about its state
	pause    time.Duration // before the first retry; each further is twice as long
	patience time.Duration // how long an engine that is away is waited for in a batch
	watch    time.Duration // between looks at an engine
}

var usual = times{score: 2 * time.Minute, load: time.Hour, ask: 10 * time.Second,
	pause: 100 * time.Millisecond, patience: 3 * time.Second, watch: 5 * time.Second}

// Engine is an engine of others. It serves one model at a time, the one that was
// activated last.
type Engine struct {
	o     Options
	wire  wire
	log   *slog.Logger
	times times

	loading sync.Mutex // held while the engine is made to load weights
	mu      sync.Mutex
	given   []string            // folders that the engine was given, the last one last
	watched map[*Model]struct{} // models that are watched
}

// New returns an engine. Nothing is asked of it yet.
func New(o Options) *Engine {
	e := &Engine{o: o, watched: map[*Model]struct{}{}, log: cmp.Or(o.Log, slog.Default()), times: usual}
	c := newClient(o)
	switch o.Kind {
	case SGLang:
		e.wire = &sglang{c}
	case VLLM:
		e.wire = &vllm{c}
	case TEI:
		e.wire = &tei{client: c}
	default:
		panic(fmt.Sprintf("backend: no engine is called %q", o.Kind))
	}
	return e
}

// DTypes implements [model.Engine]: those that weights are written in. What the engine
// computes in is its own setting.
func (e *Engine) DTypes() []kernel.DType {
	if e.o.Kind == TEI {
		return []kernel.DType{kernel.Float32, kernel.BFloat16}
	}
	return []kernel.DType{kernel.BFloat16, kernel.Float32}
}

// Workers implements [model.Engine]: those that read the members.
func (e *Engine) Workers() int { return runtime.GOMAXPROCS(0) }

// Device implements [model.Engine].
func (e *Engine) Device() string { return string(e.o.Kind) + " " + e.o.URL }

// Textual says that the engine is sent texts, so that tokens that no text has are not scored.
func (e *Engine) Textual() bool { return e.o.Kind == TEI }

// Stop ends what the engine is asked for, and its watch, without waiting for them.
func (e *Engine) Stop() (stopped []*Model) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for m := range e.watched {
		m.end(errClosed)
		stopped = append(stopped, m)
	}
	return stopped
}

// Close implements [model.Engine]. What the engine serves stays with it.
func (e *Engine) Close() {
	for _, m := range e.Stop() {
		m.Close()
	}
	e.wire.close()
}

// Model is a reward model for an engine of others. It can be scored once it was
// activated.
type Model struct {
	engine *Engine
	staged

	mu      sync.Mutex
	active  bool
	closed  bool
	trouble error // why it cannot be scored now; nil when it can
	loads   int   // times that the engine was made to load it
	watched sync.WaitGroup
	ctx     context.Context //nolint:containedctx // ends with the model: what is asked for it then, and its watch
	end     context.CancelCauseFunc
	look    chan struct{} // holds a token when the watch has something to look at
}

// staged is what is known of a model whose directory is written.
type staged struct {
	id         string // of the files, and the name of their folder
	dir        string // the folder, here
	net        *nn.Network
	dtype      kernel.DType
	parameters int
	digest     string
	longest    int
	bias       []float32 // added to the outputs here; nil for none
	labels     []string  // of the outputs
	tokenizer  *tokenizer.Tokenizer
	probes     []item
	expected   [][]float32 // outputs of the probes; nil where nobody computed them
}

// Network implements [model.Model].
func (m *Model) Network() *nn.Network { return m.net }

// DType implements [model.Model].
func (m *Model) DType() kernel.DType { return m.dtype }

// Parameters implements [model.Model].
func (m *Model) Parameters() int { return m.parameters }

// Bytes implements [model.Model]: none of this machine's.
func (m *Model) Bytes() int { return 0 }

// Longest implements [model.Model].
func (m *Model) Longest() int { return m.longest }

// Digest implements [model.Model].
func (m *Model) Digest() string { return m.digest }

// Constants implements [model.Model]: the heads that engines have read none.
func (m *Model) Constants() [][]float32 { return nil }

// Pooled implements [model.Pooled].
func (m *Model) Pooled() {}

// Close implements [model.Model]. The engine goes on with the weights until it is given others.
func (m *Model) Close() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed = true
	m.mu.Unlock()
	m.end(errClosed)
	m.watched.Wait()
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	delete(m.engine.watched, m)
}

// Trouble says why the model cannot be scored now; "" when it can.
func (m *Model) Trouble() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trouble == nil {
		return ""
	}
	return m.engine.Device() + ": " + m.trouble.Error()
}

// setTrouble notes why the model cannot be scored, nil when it can, and tells what is news.
func (m *Model) setTrouble(err error) {
	m.mu.Lock()
	before := m.trouble
	m.trouble = err
	m.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		m.engine.log.Error("the engine cannot be used", "engine", m.engine.Device(), "error", err.Error())
	case err == nil && before != nil:
		m.engine.log.Info("the engine answers again", "engine", m.engine.Device(), "weights", m.id)
	}
}

// errClosed is that of work for a model that nobody holds any more.
var errClosed = errors.New("backend: the model was closed")

// usable says whether the model can be scored.
func (m *Model) usable() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return errClosed
	case !m.active:
		return errors.New("backend: the model was not activated")
	}
	return nil
}

// own returns a model of this engine.
func (e *Engine) own(m model.Model) (*Model, error) {
	on, ok := m.(*Model)
	if !ok || on.engine != e {
		return nil, model.OtherDevice(e, m)
	}
	return on, nil
}
