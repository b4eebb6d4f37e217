package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/load"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/trainer/bpe"
)

// serveBench is the command line of warm bench serve.
type serveBench struct {
	random   string
	dtype    string
	threads  int
	dialects []string
	clients  int
	keep     bool
	prompt   int
	answer   int
	warmup   time.Duration
	duration time.Duration
	timeout  time.Duration
	rounds   int
	engine   int // rounds of the engine beside each
	overload bool
	json     bool
	report   string // a file for the JSON, "" for none

	command func(args ...string) (*exec.Cmd, error) // warm in a process of its own
}

// serveReport is what warm bench serve measured.
type serveReport struct {
	CPU        string          `json:"cpu"`
	Level      string          `json:"level"`
	Go         string          `json:"go"`
	Processors int             `json:"processors"`
	Config     string          `json:"config"`
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

func (p *program) benchServe() *cobra.Command {
	b := serveBench{command: ownCommand}
	c := &cobra.Command{
		Use:   "serve --random CONFIG.json",
		Short: "Measure what the server loses of the engine's speed under load",
		Long: `serve starts warm serve on random weights with a small tokenizer, loads it as
warm bench load does, one sample a request and a new connection each, and then lets
the engine alone compute batches of the shape that the server's metrics say it
formed. It prints tokens/s of both, their ratio and latencies; rounds alternate.

The generator shares the processors with the server. Beside the raw ratio stands
the one without the generator: tokens/s ÷ (1 − generator's processor time ÷
(processors × time)), over the engine's. It is a computed figure, not a measured one.

With --overload a second server with a queue of half a second is sent three times the
measured rate, whatever it answers: throughput against capacity, refusals with
their Retry-After, and the time from the end of it until a client alone waits no
longer than twice as long as before, or 5 ms more.`,
		Example: `  warm bench serve --random cmd/warm/testdata/minilm6x384.json
  warm bench serve --random cmd/warm/testdata/qwen3-0.6b.json --clients 24 --warmup 20s --rounds 1
  warm bench serve --random config.json --dialects reward --overload --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return p.runBenchServe(c.Context(), &b) },
	}
	f := c.Flags()
	f.StringVar(&b.random, "random", "", "a Hugging Face config.json; weights are random")
	f.StringVar(&b.dtype, "dtype", "float32", "number format: float32, bfloat16 or int8")
	f.IntVar(&b.threads, "threads", runtime.GOMAXPROCS(0), "workers of server and engine")
	f.StringSliceVar(&b.dialects, "dialects", []string{"reward", "openrlhf"}, "wire formats, in turn: "+strings.Join(load.Dialects(), ", "))
	f.IntVar(&b.clients, "clients", 256, "clients that wait for their answers")
	f.BoolVar(&b.keep, "keep-connections", false, "keep connections between requests")
	f.IntVar(&b.prompt, "prompt", 96, "tokens of a prompt")
	f.IntVar(&b.answer, "answer", 32, "tokens of an answer")
	f.DurationVar(&b.warmup, "warmup", 5*time.Second, "time of load before each window")
	f.DurationVar(&b.duration, "duration", 60*time.Second, "time of each window")
	f.DurationVar(&b.timeout, "timeout", 180*time.Second, "time for one request")
	f.IntVar(&b.rounds, "rounds", 1, "windows of each dialect, in turn")
	f.IntVar(&b.engine, "engine-rounds", 20, "batches that the engine computes beside each window")
	f.BoolVar(&b.overload, "overload", false, "measure three times the capacity too")
	f.BoolVar(&b.json, "json", false, "print JSON")
	f.StringVar(&b.report, "report", "", "write the JSON to a `file` too")
	return c
}

// ownCommand runs this program.
func ownCommand(args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(exe, args...), nil
}

// validate reports what is wrong with the command line.
func (b *serveBench) validate() error {
	var errs []error
	if b.random == "" {
		errs = append(errs, errors.New("bench serve needs --random CONFIG.json"))
	}
	for _, v := range []struct {
		flag string
		n    int
	}{{"threads", b.threads}, {"clients", b.clients}, {"prompt", b.prompt}, {"answer", b.answer}, {"rounds", b.rounds}, {"engine-rounds", b.engine}} {
		if v.n < 1 {
			errs = append(errs, fmt.Errorf("--%s: %d, want at least 1", v.flag, v.n))
		}
	}
	if _, err := kernel.ParseDType(b.dtype); err != nil {
		errs = append(errs, err)
	}
	for _, d := range b.dialects {
		if !slices.Contains(load.Dialects(), d) {
			errs = append(errs, fmt.Errorf("--dialects: %q, want some of %s", d, strings.Join(load.Dialects(), ", ")))
		}
	}
	if len(b.dialects) == 0 {
		errs = append(errs, errors.New("--dialects: none"))
	}
	return errors.Join(errs...)
}

func (p *program) runBenchServe(ctx context.Context, b *serveBench) (err error) {
	if err := b.validate(); err != nil {
		return usageError{err}
	}
	config, err := os.ReadFile(b.random)
	if err != nil {
		return usageError{err}
	}
	dir, err := os.MkdirTemp("", "warm-bench-serve-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	checkpoint := filepath.Join(dir, "random")
	if err := writeLoadable(checkpoint, config); err != nil {
		return err
	}
	engine, err := b.openEngine(config)
	if err != nil {
		return err
	}
	if n := b.prompt + b.answer + 8; n > engine.model.Net.Positions { // a few special tokens
		return usagef("--prompt and --answer: %d tokens are over the model's context of %d", n, engine.model.Net.Positions)
	}
	r := &serveReport{
		CPU: cpuName(), Level: kernel.Active().String(), Go: runtime.Version(), Processors: runtime.NumCPU(),
		Config: b.random, DType: b.dtype, Parameters: engine.model.Parameters(),
	}
	if err := b.measure(ctx, p, r, checkpoint, engine); err != nil {
		return err
	}
	if b.overload {
		if r.Overload, err = b.measureOverload(ctx, p, checkpoint, r.Runs); err != nil {
			return err
		}
	}
	return errors.Join(b.tell(p, r), r.failure())
}

// tell prints the report, and writes it to the file that was asked for.
func (b *serveBench) tell(p *program, r *serveReport) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if b.report != "" {
		err = os.WriteFile(b.report, data, 0o644)
	}
	if b.json {
		_, e := p.stdout.Write(data)
		return errors.Join(err, e)
	}
	return errors.Join(err, r.write(p.stdout))
}

// writeLoadable writes random weights with a tokenizer that has each of the
// generator's words as one token, so that lengths are exact and text is sent as
// reinforcement-learning stacks send it. Weights are in bfloat16: half the disk.
func writeLoadable(dir string, config []byte) error {
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
		Config: config, Tokenizer: tokenizer, TokenizerConfig: settings, Source: model.NewRandom(cfg, randomSeed), DType: "BF16",
	})
}

// measure runs the windows, each beside the engine.
func (b *serveBench) measure(ctx context.Context, p *program, r *serveReport, checkpoint string, engine *benchedEngine) error {
	s, err := b.startServer(ctx, "--model", "bench="+checkpoint)
	if err != nil {
		return err
	}
	defer s.stop()
	for round := range b.rounds {
		for _, dialect := range b.dialects {
			fmt.Fprintf(p.stderr, "round %d of %d: %s, %v\n", round+1, b.rounds, dialect, b.warmup+b.duration)
			report, window, err := s.load(ctx, b.loadConfig(s.url, dialect))
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			run := servedRun{Round: round + 1, Dialect: dialect, Load: report, Server: window}
			if window.Batches == 0 {
				return fmt.Errorf("the server computed no batch in %v: %v", b.duration, report.Total.Statuses)
			}
			shape := benchShape{batch: max(1, int(window.Sequences/window.Batches+0.5)), answers: 1}
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
func (b *serveBench) loadConfig(url, dialect string) load.Config {
	return load.Config{
		URL: url, Dialect: dialect, Clients: b.clients, Warmup: b.warmup, Duration: b.duration, Timeout: b.timeout,
		NewConnections: !b.keep, Prompt: load.Fixed(b.prompt), Answer: load.Fixed(b.answer), Answers: 1, Distinct: 4096, Seed: 1,
	}
}

// benchedEngine is the engine alone on the same random weights.
type benchedEngine struct {
	bench engineBench
	model *model.Model
}

func (b *serveBench) openEngine(config []byte) (*benchedEngine, error) {
	cfg, err := model.ParseConfig(config)
	if err != nil {
		return nil, err
	}
	d, err := kernel.ParseDType(b.dtype)
	if err != nil {
		return nil, err
	}
	m, err := model.Load(cfg, model.NewRandom(cfg, randomSeed), model.LoadOptions{DType: d, Workers: b.threads})
	return &benchedEngine{engineBench{threads: b.threads, rounds: b.engine}, m}, err
}

// rate measures the engine on batches of a shape.
func (e *benchedEngine) rate(run *servedRun, s benchShape) error {
	engine := model.NewEngine(e.bench.threads)
	defer engine.Close()
	var f forwardReport
	before, ok := load.ProcessCPU()
	if _, err := e.bench.score(&f, engine, e.model, s.sequences(e.model), 1); err != nil {
		return err
	}
	after, _ := load.ProcessCPU()
	run.Shape, run.EngineTokensPerS = s.name, f.TokensPerS
	if w := run.Server; ok && w.CPUSeconds > 0 {
		batches := float64(e.bench.rounds + 1) // score runs one before it measures
		perToken := (after - before).Seconds() / (batches * float64(f.Tokens))
		outside := w.CPUSeconds - w.Tokens*perToken
		run.EngineCPUPerMillion, run.OutsideSeconds = 1e6*perToken, &outside
	}
	return nil
}
