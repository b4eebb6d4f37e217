package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/device"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/serve"
)

// serveFlags is the command line of warm serve.
type serveFlags struct {
	config  string
	models  []string
	aliases []string
	set     serveConfig   // what other flags say of the configuration
	def     api.ModelSpec // what the --model flags have in common
	alpha   float64

	backend, backendDirectory string
}

const noModels = `nothing to serve: no model is named.

Without --config and --state "warm serve" serves a small reward model that is part
of the program. For your own, point it at reward-model checkpoints, Hugging Face directories that were
fine-tuned from one initialisation:

  warm serve --model NAME=DIR,DIR,DIR,DIR

serves their weight average as NAME at http://127.0.0.1:8080/v1/reward.
"warm check DIR…" says beforehand what would be served and whether the
directories can be averaged. "warm serve --help" explains the rest`

func (p *program) serve() *cobra.Command {
	f := serveFlags{set: serveConfig{Console: new(bool), KeepPrevious: new(time.Duration)}}
	set := &f.set
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve reward models over HTTP",
		Long: `serve averages each model's members, packs the result and answers
POST /v1/reward. It binds to 127.0.0.1 unless told otherwise. When no model is
named anywhere, it serves a small one that is part of the program, for trying out.

A model is a name and the directories of its members, whole checkpoints or LoRA
adapters as PEFT writes them, or their names on the Hugging Face hub; embedded:
instead of directories is the members of the program's own model, and
random:CONFIG.json serves random weights, for load tests. Settings come from
flags, the variables WARM_ADDR, WARM_DEVICE, WARM_THREADS, WARM_KEY_FILE, WARM_LOG
and WARM_API_KEY, and a YAML file, in this order of precedence.

Models change while they are served: by PUT, DELETE and rollback at
/v1/models/NAME for who bears a key of --admin-key-file or WARM_ADMIN_KEY, and
by a manifest that --watch names. With --state the last good state outlives the
process. --backend has an inference engine that runs elsewhere, of SGLang, vLLM or
text-embeddings-inference, compute the model; its key is WARM_BACKEND_KEY.
The settings have variables, too: WARM_ADMIN_KEY_FILE, WARM_MODEL_ROOT,
WARM_WATCH, WARM_STATE, WARM_LOG_LEVEL and WARM_OPS_ADDR.

OTEL_EXPORTER_OTLP_ENDPOINT names what takes traces and metrics by OTLP over HTTP;
the other standard variables of OpenTelemetry hold, too.

SIGHUP reads the configuration again: keys, certificates, the log's level, and the
models that it says otherwise than before; the log names what needs a restart, and
a configuration that is wrong changes nothing. SIGTERM and SIGINT drain, and a
second one ends the program at once.

WARM_DEFAULT_CONFIG names a configuration that is read where it exists and
--config names none.`,
		Example: `  warm serve
  warm serve --model helpful=runs/rm-1,runs/rm-2,runs/rm-3
  warm serve --model helpful=runs/rm-1,runs/rm-2 --mode both --dtype bfloat16
  warm serve --config serve.yaml --addr 0.0.0.0:8080`,
		Args: serveArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("alpha") {
				f.def.Alpha = &f.alpha
			}
			return p.runServe(c.Context(), &f, c.Flags().Changed)
		},
	}
	l := c.Flags()
	l.StringVar(&f.config, "config", "", "configuration in YAML, a `file`")
	l.StringArrayVar(&f.models, "model", nil, "a model and its members, as `NAME=DIR,DIR,…`; may be repeated")
	l.StringArrayVar(&f.aliases, "alias", nil,
		"a further name that requests may give a model, as `NAME=MODEL`; may be repeated")
	l.BoolVar(&set.AnyName, "any-model-name", false,
		"whatever name a request gives means the model, where there is one alone")
	l.StringVar(&set.Addr, "addr", defaultAddr, "where to listen, as `host:port`")
	l.IntVar(&set.Threads, "threads", 0, "engine workers (default all processors)")
	deviceFlag(c, &set.Device)
	l.StringVar(&set.KeyFile, "key-file", "", "API keys, one a line, in a `file`")
	l.StringVar(&set.TLSCert, "tls-cert", "",
		"certificates for HTTPS, in a PEM `file`; read again when it changes")
	l.StringVar(&set.TLSKey, "tls-key", "", "the certificate's key, in a PEM `file`")
	l.StringVar(&set.Log, "log", "text", "log format: text or json")
	l.StringVar(&set.LogLevel, "log-level", "info",
		"least level that is logged: debug (probes and scrapes, too), info, warn or error")
	l.StringVar(&set.OpsAddr, "ops-addr", "",
		"where /metrics, /livez, /readyz and what changes models listen, as `host:port`; they then answer nowhere else (default --addr)")
	l.BoolVar(set.Console, "console", true,
		"the pages for people: the console at / and the API to read at /docs; --console=false leaves them out")
	l.StringVar(&set.Ready, "ready", "all",
		"when /readyz is 200: once all models are live that the server is started with, or any")
	liveFlags(c, set)
	modelFlags(c, &f.def, &f.alpha)
	l.Float64Var(&f.def.ABSample, "ab-sample", 0,
		"share of requests whose ensemble is scored beside the average, for the metrics; with --mode both")
	l.StringVar(&f.def.Swap, "swap", "",
		"how a revision takes the live one's place: beside, or drain, which holds requests and makes its room first (default beside)")
	l.StringVar(&f.backend, "backend", "",
		"an inference engine that computes the model in the place of this machine, as `sglang=URL`, vllm=URL or tei=URL")
	l.StringVar(&f.backendDirectory, "backend-directory", "",
		"where averages are written for --backend, a `directory` that the engine sees under the same path")
	refuses(c, append(serveRules(&f, p.getenv), baseAlone(c))...)
	return c
}

// liveFlags are the settings of models that change while they are served.
func liveFlags(c *cobra.Command, set *serveConfig) {
	l := c.Flags()
	l.StringVar(&set.AdminKeyFile, "admin-key-file", "",
		"keys of the routes that change models, one a line, in a `file`; without any they are closed")
	l.StringVar(&set.ModelRoot, "model-root", "", "`directory` that holds every path that a request which changes a model names")
	l.StringVar(&set.Watch, "watch", "",
		"manifest of models that is carried out whenever it is replaced: a `file`, its directory, or its address s3://, gs:// or https://…")
	l.StringVar(&set.State, "state", "", "`file` for the last good state of the models across restarts")
	l.DurationVar(set.KeepPrevious, "keep-previous", time.Minute,
		"how long the revision before is kept for requests pinned to it; 0 is not at all")
}

// modelFlags are the settings of a model that several commands take.
func modelFlags(c *cobra.Command, m *api.ModelSpec, alpha *float64) {
	l := c.Flags()
	l.StringVar(&m.Mode, "mode", "wa", "what is held in memory: wa, ens, both or member:NAME")
	l.StringVar(&m.DType, "dtype", "",
		"number format of the weights: float32, bfloat16, int8 (the CPU) or fp8 (cards) (default float32 on the CPU, bfloat16 on a card)")
	readFlags(c, m)
	l.IntVar(&m.MaxTokens, "max-tokens", 0, "tokens of a sequence (default the model's context)")
	l.StringVar(&m.Base, "base", "", "the shared initialisation for --alpha, a `directory`")
	l.Float64Var(alpha, "alpha", 1, "distance of the average from --base: 0 is the base, 1 the average")
}

// readFlags are the settings of how a model's text and its score head are read.
func readFlags(c *cobra.Command, m *api.ModelSpec) {
	l := c.Flags()
	l.StringVar(&m.Pooling, "pooling", "", "which token is scored, by `rule`: "+model.PoolingForms+
		" (default the checkpoint's own, else hf)")
	l.StringVar(&m.Ending, "ending", "",
		"how the text of a conversation ends: as-is, eos or openrlhf (default the checkpoint's own, else as-is)")
	l.BoolVar(&m.DoubleBOS, "double-bos", false,
		"put the tokenizer's special tokens before a template's too, and keep two BOS")
	l.StringVar(&m.Head, "head", "", "what the reward is read by: "+model.HeadForms+
		", as in lm_head[0] (default the score head that is there)")
	l.StringVar(&m.Output, "output", "", "how outputs become the reward: "+model.OutputForms+
		" (default the checkpoint's own)")
}

// reading returns what readFlags set, for commands that name checkpoints elsewhere.
func reading(spec *api.ModelSpec) (reward.Config, error) {
	alone := *spec
	alone.Members = []api.MemberSpec{{Path: "."}}
	c, err := serve.RewardConfig(&alone, nil)
	if err != nil {
		err = usageError{err}
	}
	c.Members = nil
	return c, err
}

// settings merges defaults, file, environment and flags.
func (f *serveFlags) settings(getenv func(string) string, changed func(string) bool) (serveConfig, error) {
	c := serveConfig{sources: sourcesOf(getenv)}
	if file := f.file(getenv); file != "" {
		var err error
		if c, err = readConfig(file, c.sources); err != nil {
			return c, err
		}
		c.read = file
	}
	if err := c.environment(getenv); err != nil {
		return c, err
	}
	c.overlay(&f.set, changed)
	c.Addr = cmp.Or(c.Addr, f.set.Addr)
	if err := f.addBackend(); err != nil {
		return c, err
	}
	if err := c.addModels(f.models, f.def); err != nil {
		return c, err
	}
	if len(c.Models) > 0 { // else the embedded one, or those of a manifest
		if err := c.addAliases(f.aliases); err != nil {
			return c, err
		}
	}
	return c, c.validate()
}

// serveEmbedded makes the embedded model the one that is served, where nothing asks for others.
func (f *serveFlags) serveEmbedded(c *serveConfig) error {
	if c.read != "" || c.State != "" {
		return errors.New(noModels)
	}
	if err := c.addModels([]string{embeddedName + "=" + embedded.Prefix}, f.def); err != nil {
		return err
	}
	if err := c.addAliases(f.aliases); err != nil {
		return err
	}
	return c.validate()
}

// listen opens a port that a flag names.
func listen(flag, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use by another program: end that, or choose another port with %s", addr, flag)
	}
	return ln, err
}

// openEngine opens what computes, and gives the --model flags' models its number format
// where they say none: a state file compares what it says with what it said before.
func (p *program) openEngine(f *serveFlags, c *serveConfig, log *slog.Logger) (model.Engine, error) {
	e, why, err := p.device(c.Device, device.Options{Threads: c.Threads, Log: func(card, event string) {
		log.Warn("card", "card", card, "event", event)
	}})
	if err != nil {
		return nil, err
	}
	switch {
	case why == nil:
		log.Info("computing", "device", e.Device())
	case errors.Is(why, device.ErrNoCard):
		log.Info("computing", "device", e.Device(), "why", why.Error())
	default:
		log.Warn("the card cannot be used", "device", e.Device(), "why", why.Error())
	}
	if f.def.DType == "" && f.def.Backend == nil {
		f.def.DType = dtypeOn(e, "") // of what is read again, too
		for _, name := range c.flagged {
			c.Models[name].DType = f.def.DType
		}
	}
	return e, nil
}

func (p *program) runServe(ctx context.Context, f *serveFlags, changed func(string) bool) error {
	hangup, stop := hangups()
	defer stop()
	c, err := f.settings(p.getenv, changed)
	if err != nil {
		return usageError{err}
	}
	keys, adminKeys, err := c.keys(p.getenv)
	if err != nil {
		return usageError{err}
	}
	level := new(slog.LevelVar)
	level.Set(c.level())
	log := p.newLog(c.Log, level)
	exported, err := p.telemetry(ctx, c.Telemetry, log)
	if err != nil {
		return err
	}
	defer exported.close(log)
	log = exported.Log(log)
	demo := len(c.Models) == 0 && c.Watch == "" && len(adminKeys) == 0
	if demo {
		if err := f.serveEmbedded(&c); err != nil {
			return usageError{err}
		}
	}
	if len(c.Models) == 0 && len(f.aliases) > 0 {
		return usagef("--alias is for the models of --model or the configuration: in a manifest, and in a request, aliases is a field of the model")
	}
	certificates, certificate, err := tlsConfig(c.TLSCert, c.TLSKey, log)
	if err != nil {
		return usageError{err}
	}
	engine, err := p.openEngine(f, &c, log)
	if err != nil {
		return err
	}
	l := c.Limits
	s, err := serve.New(serve.Config{
		Models: c.Models, Watch: c.Watch, Engine: engine, Sources: c.sources,
		BackendKey: p.getenv(backendKeyVariable), BackendWrap: exported.engines,
		Server: server.Config{
			AdminKeys: adminKeys, ModelRoot: c.ModelRoot, StateFile: c.State, KeepPrevious: c.keepPrevious(),
			Keys: keys, Logger: log, Version: version(), SeparateOps: c.OpsAddr != "",
			NoConsole: c.Console != nil && !*c.Console, ReadyWithAny: c.Ready == "any",
			AnyModelName: c.AnyName,
			MaxBodyBytes: l.MaxBodyBytes, MaxSequences: l.MaxSequences, MaxRequestTokens: l.MaxRequestTokens,
			ClientTokensPerMinute: l.ClientTokens, RequestMemory: l.RequestMemory, Memory: memoryBudget(),
			MaxConnections: connectionLimit(l.MaxConnections, raiseOpenFiles, log), TLS: certificates,
			DriftScores: l.DriftScores,
			Timeout:     l.Timeout, DrainDelay: l.DrainDelay, DrainTimeout: l.DrainTimeout,
			Dialects: c.Dialects.config(), Cards: cardsOf(engine), Tracing: exported.Tracing(),
			Queue: batch.Config{MaxBatchTokens: batchTokens(l.MaxBatchTokens, engine), MaxQueuedTokens: l.MaxQueuedTokens},
		},
	})
	if err != nil {
		return usageError{err}
	}
	defer s.Close()
	exported.Export(s.Gatherer())
	ln, err := listen("--addr", c.Addr)
	if err != nil {
		return err
	}
	run := s.Run
	if c.OpsAddr != "" {
		ops, err := listen("--ops-addr", c.OpsAddr)
		if err != nil {
			return errors.Join(err, ln.Close())
		}
		log.Info("operators", "addr", ops.Addr().String())
		run = func(ctx context.Context, ln net.Listener) error { return s.RunWithOps(ctx, ln, ops) }
	}
	if host, _, _ := net.SplitHostPort(ln.Addr().String()); len(keys) == 0 &&
		!net.ParseIP(host).IsLoopback() {
		log.Warn("listening beyond this machine without an API key: whoever reaches it can use it",
			"addr", ln.Addr().String())
	}
	scheme := "http://"
	if certificates != nil {
		scheme = "https://"
	}
	if demo {
		log.Info(`serving the embedded demonstration model, since no other is named; "warm embedded --card" says what it is`, "model", embeddedName, "members", len(c.Models[embeddedName].Members))
	}
	log.Info("listening", "addr", scheme+ln.Addr().String())
	if _, ok := terminal(p.stderr); ok && c.Log != "json" {
		b := banner{url: scheme + reachable(ln.Addr().String()), console: c.Console == nil ||
			*c.Console, keys: len(keys) > 0, models: c.Models, watched: c.Watch, device: engine.Device()}
		b.write(p.stderr, painted(p.stderr))
	}
	reloads := &reloading{program: p, flags: f, changed: changed, config: c, demo: demo,
		server: s.Server, certificates: certificate, level: level, log: log}
	ctx, cancel := context.WithCancel(ctx)
	var reloading sync.WaitGroup
	reloading.Go(func() { reloads.run(ctx, hangup) })
	err = run(ctx, ln)
	cancel()
	reloading.Wait()
	return err
}
