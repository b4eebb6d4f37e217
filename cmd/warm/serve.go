package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/reward"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
)

// serveFlags is the command line of warm serve.
type serveFlags struct {
	config  string
	models  []string
	addr    string
	threads int
	keyFile string
	log     string
	def     modelConfig // what the --model flags have in common
	alpha   float64
}

const noModels = `warm serve: nothing to serve.

Point it at reward-model checkpoints, Hugging Face directories that were
fine-tuned from one initialisation:

  warm serve --model NAME=DIR,DIR,DIR,DIR

serves their weight average as NAME at http://127.0.0.1:8080/v1/reward.
"warm check DIR…" says beforehand what would be served and whether the
directories can be averaged. "warm serve --help" explains the rest.`

func (p *program) serve() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve reward models over HTTP",
		Long: `serve averages each model's members, packs the result and answers
POST /v1/reward. It binds to 127.0.0.1 unless told otherwise.

A model is a name and the directories of its members; random:CONFIG.json instead
of a directory serves random weights, for load tests. Settings come from flags,
the variables WARM_ADDR, WARM_THREADS, WARM_KEY_FILE, WARM_LOG and WARM_API_KEY,
and a YAML file, in this order of precedence.`,
		Example: `  warm serve --model helpful=runs/rm-1,runs/rm-2,runs/rm-3
  warm serve --model helpful=runs/rm-1,runs/rm-2 --mode both --dtype bfloat16
  warm serve --config serve.yaml --addr 0.0.0.0:8080`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("alpha") {
				f.def.Alpha = &f.alpha
			}
			return p.runServe(c.Context(), &f, c.Flags().Changed)
		},
	}
	l := c.Flags()
	l.StringVar(&f.config, "config", "", "YAML configuration `file`")
	l.StringArrayVar(&f.models, "model", nil, "`NAME=DIR,DIR,…`: a model and its members; may be repeated")
	l.StringVar(&f.addr, "addr", defaultAddr, "`host:port` to listen on")
	l.IntVar(&f.threads, "threads", 0, "engine workers (default all processors)")
	l.StringVar(&f.keyFile, "key-file", "", "`file` of API keys, one a line")
	l.StringVar(&f.log, "log", "text", "log format: text or json")
	modelFlags(c, &f.def, &f.alpha)
	return c
}

// modelFlags are the settings of a model that several commands take.
func modelFlags(c *cobra.Command, m *modelConfig, alpha *float64) {
	l := c.Flags()
	l.StringVar(&m.Mode, "mode", "wa", "what is held in memory: wa, ens, both or member:NAME")
	l.StringVar(&m.DType, "dtype", "float32", "number format of the weights: float32, bfloat16 or int8")
	l.StringVar(&m.Pooling, "pooling", "", "which token is scored: hf, last, hf_legacy or first_pad_after_prompt (default the checkpoint's own, else hf)")
	l.IntVar(&m.MaxTokens, "max-tokens", 0, "tokens of a sequence (default the model's context)")
	l.StringVar(&m.Base, "base", "", "`directory` of the shared initialisation, for --alpha")
	l.Float64Var(alpha, "alpha", 1, "distance of the average from --base: 0 is the base, 1 the average")
}

// settings merges defaults, file, environment and flags.
func (f *serveFlags) settings(getenv func(string) string, changed func(string) bool) (serveConfig, error) {
	var c serveConfig
	if f.config != "" {
		var err error
		if c, err = readConfig(f.config); err != nil {
			return c, err
		}
	}
	if err := c.environment(getenv); err != nil {
		return c, err
	}
	for name, set := range map[string]func(){
		"addr":     func() { c.Addr = f.addr },
		"threads":  func() { c.Threads = f.threads },
		"key-file": func() { c.KeyFile = f.keyFile },
		"log":      func() { c.Log = f.log },
	} {
		if changed(name) {
			set()
		}
	}
	if c.Addr == "" {
		c.Addr = f.addr
	}
	if err := c.addModels(f.models, f.def); err != nil {
		return c, err
	}
	return c, c.validate()
}

func (p *program) runServe(ctx context.Context, f *serveFlags, changed func(string) bool) error {
	c, err := f.settings(p.getenv, changed)
	if err != nil {
		return usageError{err}
	}
	if len(c.Models) == 0 {
		return usageError{errors.New(noModels)}
	}
	keys, err := readKeys(c.KeyFile, p.getenv)
	if err != nil {
		return usageError{err}
	}
	log := slog.New(slog.NewTextHandler(p.stderr, nil))
	if c.Log == "json" {
		log = slog.New(slog.NewJSONHandler(p.stderr, nil))
	}
	l := c.Limits
	models := server.NewModels()
	s, err := server.New(server.Config{
		Keys: keys, Logger: log, Version: version(),
		MaxBodyBytes: l.MaxBodyBytes, MaxSequences: l.MaxSequences, MaxRequestTokens: l.MaxRequestTokens,
		MaxConnections: l.MaxConnections, Timeout: l.Timeout, DrainDelay: l.DrainDelay, DrainTimeout: l.DrainTimeout,
		Queue: batch.Config{MaxBatchTokens: l.MaxBatchTokens, MaxQueuedTokens: l.MaxQueuedTokens},
	}, models)
	if err != nil {
		return usageError{err}
	}
	ln, err := net.Listen("tcp", c.Addr)
	if err != nil {
		s.Close()
		return err
	}
	if host, _, _ := net.SplitHostPort(ln.Addr().String()); len(keys) == 0 && !net.ParseIP(host).IsLoopback() {
		log.Warn("listening beyond this machine without an API key: whoever reaches it can use it", "addr", ln.Addr().String())
	}
	log.Info("listening", "addr", "http://"+ln.Addr().String())
	return p.serveWhileLoading(ctx, s, ln, func(ctx context.Context) error {
		e := model.NewEngine(c.Threads)
		return loadAll(ctx, c, e, models, log)
	})
}

// serveWhileLoading answers from the start, as not ready until the models are
// loaded; a model that cannot be loaded ends the server.
func (p *program) serveWhileLoading(ctx context.Context, s *server.Server, ln net.Listener, load func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		err := load(ctx)
		failed <- err
		if err != nil {
			cancel()
		}
	}()
	err := s.Run(ctx, ln)
	return errors.Join(<-failed, err)
}

func loadAll(ctx context.Context, c serveConfig, e *model.Engine, models *server.Models, log *slog.Logger) error {
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		if ctx.Err() != nil {
			return nil // told to stop before all was loaded
		}
		m := c.Models[name]
		rc, err := m.deployment()
		if err != nil {
			return fmt.Errorf("model %s: %w", name, err)
		}
		rc.Progress = logProgress(log, name)
		d, err := reward.Open(rc, e.Workers())
		if err != nil {
			return fmt.Errorf("model %s: %w", name, err)
		}
		debug.FreeOSMemory() // the memory that loading needed for a moment
		for _, w := range d.Warnings {
			log.Warn(w, "model", name)
		}
		if _, err := models.Swap(newDeployment(name, d, e)); err != nil {
			return fmt.Errorf("model %s: %w", name, err)
		}
		log.Info("model is live", "model", name, "mode", string(d.Mode), "members", len(d.Members()), "architecture", d.Config().Architecture,
			"dtype", d.DType.String(), "pooling", string(d.Pooling), "context", d.Context, "weights_mb", d.Bytes()/1e6,
			"revision", short(d.Revision), "seconds", d.LoadTime.Round(time.Millisecond).Seconds())
	}
	return nil
}

// logProgress returns a progress function that logs every five seconds.
func logProgress(log *slog.Logger, name string) func(string, float64) {
	every := newThrottle(5 * time.Second)
	return func(what string, share float64) {
		if every.pass() {
			log.Info("loading", "model", name, "what", what, "percent", int(100*share))
		}
	}
}

// short abbreviates a revision for people.
func short(revision string) string {
	const digits = 12
	return revision[:min(len(revision), len("sha256:")+digits)]
}
