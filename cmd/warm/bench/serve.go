package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/cmd/warm/load"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/trainer/bpe"
)

// Serve measures what the server loses of the engine's speed under load.
type Serve struct {
	Device       model.Engine // computes beside the server; who made it closes it
	DeviceName   string       // what the server is told to compute with
	Random       string       // a Hugging Face config.json
	DType        string       // "" is the device's own
	Threads      int
	Dialects     []string // in turn
	Clients      int
	Keep         bool // connections between requests
	Prompt       int  // tokens
	Answer       int  // tokens
	Warmup       time.Duration
	Duration     time.Duration // of each window
	Timeout      time.Duration
	Rounds       int // windows of each dialect
	EngineRounds int // batches that the engine computes beside each
	Overload     bool

	Command func(args ...string) (*exec.Cmd, error) // warm in a process of its own
	Log     io.Writer
}

// ServeReport is what warm bench serve measured.
type ServeReport struct {
	CPU        string          `json:"cpu"`
	Level      string          `json:"level"`
	Go         string          `json:"go"`
	Processors int             `json:"processors"`
	Config     string          `json:"config"`
	Device     string          `json:"device"`
	DType      string          `json:"dtype"`
	Parameters int             `json:"parameters"`
	Runs       []servedRun     `json:"runs"`
	Overload   *overloadReport `json:"overload,omitempty"`
}

// servedRun is one window of load with the engine's own rate beside it.
type servedRun struct {
	Round   int          `json:"round"`
	Dialect string       `json:"dialect"`
	Load    *load.Report `json:"load"`
	Server  serverWindow `json:"server"`
	// Shape is the mean batch of the window, which the engine then computed by
	// itself at EngineTokensPerS, the median of its rounds.
	Shape            string  `json:"engine_shape"`
	EngineTokensPerS float64 `json:"engine_tokens_per_s"`
	// EngineCPUPerMillion is the processor time of the engine alone for a million
	// tokens, and OutsideSeconds what the server took in the window beyond that
	// for its tokens: HTTP, JSON, tokenizer, memory. On a busy machine they say
	// more than rates. 0 and nil where the system does not say.
	EngineCPUPerMillion float64  `json:"engine_cpu_seconds_per_million_tokens,omitempty"`
	OutsideSeconds      *float64 `json:"server_cpu_seconds_outside_engine,omitempty"`
	// Ratio is the load's tokens a second over the engine's. RatioAlone divides it
	// by the share of the machine's processors that the generator left: what the
	// ratio would be if the generator ran elsewhere and the rest scaled.
	Ratio      float64 `json:"ratio"`
	RatioAlone float64 `json:"ratio_without_generator"`
}

// validate reports what is wrong with the command line.
func (b *Serve) validate() error {
	var errs []error
	if b.Random == "" {
		errs = append(errs, errors.New("bench serve needs --random CONFIG.json"))
	}
	errs = append(errs, atLeastOne(count{"threads", b.Threads}, count{"clients", b.Clients},
		count{"prompt", b.Prompt}, count{"answer", b.Answer}, count{"rounds", b.Rounds},
		count{"engine-rounds", b.EngineRounds}))
	if _, err := model.ChooseDType(b.Device, b.DType); err != nil {
		errs = append(errs, err)
	}
	for _, d := range b.Dialects {
		if !slices.Contains(load.Dialects(), d) {
			errs = append(errs, fmt.Errorf("--dialects: %q, want some of %s", d,
				strings.Join(load.Dialects(), ", ")))
		}
	}
	if len(b.Dialects) == 0 {
		errs = append(errs, errors.New("--dialects: none"))
	}
	return errors.Join(errs...)
}

// Run measures, and tells Log what it is at. A [UsageError] says what cannot be measured; with another error
// the report holds what was measured all the same, if there is one.
func (b *Serve) Run(ctx context.Context) (r *ServeReport, err error) {
	if err := b.validate(); err != nil {
		return nil, UsageError{err}
	}
	if b.DType == "" {
		b.DType = b.Device.DTypes()[0].String()
	}
	config, err := os.ReadFile(b.Random)
	if err != nil {
		return nil, UsageError{err}
	}
	dir, err := os.MkdirTemp("", "warm-bench-serve-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	checkpoint := filepath.Join(dir, "random")
	if err := WriteLoadable(checkpoint, config, Seed, "BF16"); err != nil {
		return nil, err
	}
	engine, err := b.openEngine(config)
	if err != nil {
		return nil, err
	}
	defer engine.model.Close()
	if n := b.Prompt + b.Answer + 8; n > engine.model.Network().Positions { // a few special tokens
		return nil, usagef("--prompt and --answer: %d tokens are over the model's context of %d", n,
			engine.model.Network().Positions)
	}
	r = &ServeReport{
		CPU: cpuName(), Level: kernel.Active().String(), Go: runtime.Version(), Processors: runtime.NumCPU(),
		Config: b.Random, Device: b.Device.Device(), DType: b.DType, Parameters: engine.model.Parameters(),
	}
	if err := b.measure(ctx, r, checkpoint, engine); err != nil {
		return nil, err
	}
	if b.Overload {
		if r.Overload, err = b.measureOverload(ctx, checkpoint, r.Runs); err != nil {
			return nil, err
		}
	}
	return r, r.failure()
}

// WriteLoadable writes random weights with a tokenizer that has each of the
// generator's words as one token, so that lengths are exact and text is sent as
// reinforcement-learning stacks send it. Weights are stored as dtype says.
func WriteLoadable(dir string, config []byte, seed uint64, dtype string) error {
	cfg, err := model.ParseConfig(config)
	if err != nil {
		return err
	}
	c := bpe.NewCounter()
	text := load.Words()
	for range 4 { // a pair of symbols that occurs once is not merged
		c.Add([]byte(" " + strings.Join(text, " ") + "\n" + strings.Join(text, "\n")))
	}
	special := bpe.DefaultSpecial()
	merges, err := c.Train(min(4096, cfg.VocabSize-3))
	if err != nil {
		return err
	}
	tokenizer, settings, err := bpe.Write(merges, special, cfg.MaxPositions)
	if err != nil {
		return err
	}
	return loader.Save(dir, loader.Contents{
		Config: config, Tokenizer: tokenizer, TokenizerConfig: settings,
		Source: model.NewRandom(cfg, seed), DType: dtype,
	})
}

// measure runs the windows, each beside the engine.
func (b *Serve) measure(ctx context.Context, r *ServeReport, checkpoint string, engine *benchedEngine) error {
	s, err := b.startServer(ctx, "--model", "bench="+checkpoint)
	if err != nil {
		return err
	}
	defer s.stop()
	for round := range b.Rounds {
		for _, dialect := range b.Dialects {
			fmt.Fprintf(b.Log, "round %d of %d: %s, %v\n", round+1, b.Rounds, dialect, b.Warmup+b.Duration)
			report, window, err := s.load(ctx, b.loadConfig(s.url, dialect))
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			run := servedRun{Round: round + 1, Dialect: dialect, Load: report, Server: window}
			if window.Batches == 0 {
				return fmt.Errorf("the server computed no batch in %v: %v", b.Duration, report.Total.Statuses)
			}
			shape := shape{batch: max(1, int(window.Sequences/window.Batches+0.5)), answers: 1}
			shape.length = max(1, int(window.Tokens/window.Sequences+0.5))
			shape.low, shape.name = shape.length, fmt.Sprintf("%dx%d", shape.batch, shape.length)
			if err := engine.rate(&run, shape); err != nil {
				return err
			}
			run.Ratio = report.TokensPerS / run.EngineTokensPerS
			run.RatioAlone = run.Ratio / (1 - report.CPUShare())
			r.Runs = append(r.Runs, run)
		}
	}
	return nil
}

// loadConfig is the load of one window.
func (b *Serve) loadConfig(url, dialect string) load.Config {
	return load.Config{
		URL: url, Dialect: dialect, Clients: b.Clients, Warmup: b.Warmup, Duration: b.Duration,
		Timeout:        b.Timeout,
		NewConnections: !b.Keep, Prompt: load.Fixed(b.Prompt), Answer: load.Fixed(b.Answer), Answers: 1,
		Distinct: 4096, Seed: 1,
	}
}

// benchedEngine is the engine alone on the same random weights.
type benchedEngine struct {
	bench  Engine
	engine model.Engine
	model  model.Model
}

func (b *Serve) openEngine(config []byte) (*benchedEngine, error) {
	cfg, err := model.ParseConfig(config)
	if err != nil {
		return nil, err
	}
	d, err := kernel.ParseDType(b.DType)
	if err != nil {
		return nil, err
	}
	m, err := b.Device.Load(cfg, model.NewRandom(cfg, Seed), model.LoadOptions{DType: d, Workers: b.Threads})
	if err != nil {
		return nil, err
	}
	return &benchedEngine{bench: Engine{Threads: b.Threads, Rounds: b.EngineRounds}, engine: b.Device, model: m}, nil
}

// rate measures the engine on batches of a shape.
func (e *benchedEngine) rate(run *servedRun, s shape) error {
	var f forwardReport
	before, ok := load.ProcessCPU()
	if _, err := e.bench.score(&f, e.engine, e.model, s.sequences(e.model), 1); err != nil {
		return err
	}
	after, _ := load.ProcessCPU()
	run.Shape, run.EngineTokensPerS = s.name, f.TokensPerS
	if w := run.Server; ok && w.CPUSeconds > 0 {
		batches := float64(e.bench.Rounds + 1) // score runs one before it measures
		perToken := (after - before).Seconds() / (batches * float64(f.Tokens))
		outside := w.CPUSeconds - w.Tokens*perToken
		run.EngineCPUPerMillion, run.OutsideSeconds = 1e6*perToken, &outside
	}
	return nil
}
