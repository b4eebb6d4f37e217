package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/telemetry"
	"github.com/warmserve/warmserve/loader/hub"
	"github.com/warmserve/warmserve/model/device"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/warm/serve"
)

// serveConfig is what warm serve reads from its YAML file. A flag beats an
// environment variable, which beats the file, which beats the default.
type serveConfig struct {
	sources serve.Sources // of the models

	read    string   // the file that it was read from; "" for none
	flagged []string // the models of --model

	Addr     string                    `yaml:"addr"`     // default 127.0.0.1:8080
	KeyFile  string                    `yaml:"key_file"` // API keys, one a line; relative to the configuration file
	TLSCert  string                    `yaml:"tls_cert"` // PEM files for HTTPS, relative to the configuration file; with tls_key
	TLSKey   string                    `yaml:"tls_key"`
	Threads  int                       `yaml:"threads"`   // engine workers; default all processors
	Device   string                    `yaml:"device"`    // what computes: auto (default), cpu, cuda, cuda:all, or cards as in cuda:0,1
	Log      string                    `yaml:"log"`       // text or json; default text
	LogLevel string                    `yaml:"log_level"` // debug, info (default), warn or error
	Console  *bool                     `yaml:"console"`   // the pages for people at / and /docs; default true
	OpsAddr  string                    `yaml:"ops_addr"`  // port of /metrics, /livez, /readyz and what changes models; default that of addr
	Ready    string                    `yaml:"ready"`     // all (default): ready once every model is live; any: once one is
	Models   map[string]*api.ModelSpec `yaml:"models"`
	AnyName  bool                      `yaml:"any_name"` // whatever name a request gives means the model, where there is one alone
	Limits   limitsConfig              `yaml:"limits"`

	Dialects dialectsConfig `yaml:"dialects"` // what other stacks' routes answer

	Telemetry telemetry.Config `yaml:"telemetry"` // where traces and metrics are exported to by OTLP; default what the environment says

	AdminKeyFile string         `yaml:"admin_key_file"` // keys of the routes that change models; without any they are closed
	ModelRoot    string         `yaml:"model_root"`     // folder that holds every path that such a request names
	Watch        string         `yaml:"watch"`          // manifest of models that is carried out whenever it is replaced, or its folder
	State        string         `yaml:"state"`          // file for the last good state across restarts
	KeepPrevious *time.Duration `yaml:"keep_previous"`  // how long the revision before is kept for pinned requests; default 60 s, 0 is not at all
}

// dialectsConfig sets what the protocols of other stacks leave to a server.
type dialectsConfig struct {
	OpenRLHFScores string `yaml:"openrlhf_scores"` // sigmoid (default) or raw: the "scores" of /get_reward
	VLLMActivation bool   `yaml:"vllm_activation"` // vLLM's default, a sigmoid, where a request does not say; default false, raw logits
}

func (c dialectsConfig) config() dialect.Config {
	return dialect.Config{Scores: c.OpenRLHFScores, Activation: c.VLLMActivation}
}

// limitsConfig bounds what clients may ask for; 0 is the default.
type limitsConfig struct {
	MaxBodyBytes     int64         `yaml:"max_body_bytes"`
	MaxSequences     int           `yaml:"max_sequences"`
	MaxRequestTokens int           `yaml:"max_request_tokens"`
	RequestMemory    int64         `yaml:"request_memory"`           // bytes that all requests hold together; default half of what the models leave
	ClientTokens     int           `yaml:"client_tokens_per_minute"` // that a key, or without one an address, may have scored in a minute; default no bound
	MaxBatchTokens   int           `yaml:"max_batch_tokens"`
	MaxQueuedTokens  int           `yaml:"max_queued_tokens"`
	MaxConnections   int           `yaml:"max_connections"`
	DriftScores      int           `yaml:"drift_scores"` // rewards of a revision that the metrics of drift start from
	Timeout          time.Duration `yaml:"timeout"`
	DrainDelay       time.Duration `yaml:"drain_delay"`
	DrainTimeout     time.Duration `yaml:"drain_timeout"`
}

const defaultAddr = "127.0.0.1:8080"

// readConfig reads a configuration file; paths in it are relative to it.
func readConfig(path string, sources serve.Sources) (serveConfig, error) {
	c := serveConfig{sources: sources}
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := serve.ParseYAML(path, data, &c); err != nil {
		return c, err
	}
	dir := filepath.Dir(path)
	for _, p := range []*string{&c.KeyFile, &c.TLSCert, &c.TLSKey, &c.AdminKeyFile, &c.ModelRoot,
		&c.Watch, &c.State} {
		resolve(dir, p)
	}
	return c, c.sources.Resolve(dir, c.Models)
}

// resolve makes a path one below dir, unless it is absolute, an address or not given.
func resolve(dir string, p *string) {
	if *p != "" && !filepath.IsAbs(*p) && !hub.Elsewhere(*p) {
		*p = filepath.Join(dir, *p)
	}
}

// environment overlays the variables WARM_ADDR, WARM_DEVICE, WARM_THREADS, WARM_KEY_FILE,
// WARM_ADMIN_KEY_FILE, WARM_MODEL_ROOT, WARM_WATCH, WARM_STATE, WARM_LOG,
// WARM_LOG_LEVEL and WARM_OPS_ADDR.
func (c *serveConfig) environment(getenv func(string) string) error {
	for name, p := range map[string]*string{"WARM_ADDR": &c.Addr, deviceVariable: &c.Device, "WARM_KEY_FILE": &c.KeyFile,
		"WARM_LOG": &c.Log, "WARM_LOG_LEVEL": &c.LogLevel, "WARM_OPS_ADDR": &c.OpsAddr,
		"WARM_ADMIN_KEY_FILE": &c.AdminKeyFile, "WARM_MODEL_ROOT": &c.ModelRoot,
		"WARM_WATCH": &c.Watch, "WARM_STATE": &c.State} {
		if v := getenv(name); v != "" {
			*p = v
		}
	}
	if v := getenv("WARM_THREADS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("WARM_THREADS: %q is not a number", v)
		}
		c.Threads = n
	}
	return nil
}

// overlay takes over the settings whose flags are given, which bear their names in the file
// with hyphens.
func (c *serveConfig) overlay(set *serveConfig, given func(flag string) bool) {
	to, from := reflect.ValueOf(c).Elem(), reflect.ValueOf(set).Elem()
	for i := range to.NumField() {
		name := strings.ReplaceAll(to.Type().Field(i).Tag.Get("yaml"), "_", "-")
		if name == "any-name" {
			name = "any-model-name"
		}
		if name != "" && given(name) {
			to.Field(i).Set(from.Field(i))
		}
	}
}

// addModels adds the --model flags: NAME=DIR,DIR,… or DIR,DIR,… for the model "default".
func (c *serveConfig) addModels(flags []string, def api.ModelSpec) error {
	for _, f := range flags {
		name, dirs, ok := strings.Cut(f, "=")
		if !ok {
			name, dirs = "default", f
		}
		if _, ok := c.Models[name]; ok {
			return fmt.Errorf("--model: %q is given twice", name)
		}
		m := def.Clone()
		for d := range strings.SplitSeq(dirs, ",") {
			if d == "" {
				return fmt.Errorf("--model %s: an empty directory name", f)
			}
			m.Members = append(m.Members, api.MemberSpec{Path: d})
		}
		if c.Models == nil {
			c.Models = map[string]*api.ModelSpec{}
		}
		c.Models[name] = m
		c.flagged = append(c.flagged, name)
	}
	return c.sources.Resolve("", c.Models)
}

// addAliases adds the --alias flags, NAME=MODEL, to the models that there are.
func (c *serveConfig) addAliases(flags []string) error {
	for _, f := range flags {
		alias, name, ok := strings.Cut(f, "=")
		if !ok || alias == "" || name == "" {
			return fmt.Errorf("--alias %s: want NAME=MODEL", f)
		}
		m := c.Models[name]
		if m == nil {
			return fmt.Errorf("--alias %s: no model %q is named by --model or the configuration, only %q", f, name, slices.Sorted(maps.Keys(c.Models)))
		}
		m.Aliases = append(m.Aliases, alias)
	}
	return nil
}

// validate reports every problem at once.
func (c *serveConfig) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		bad("addr: %w", err)
	}
	if err := device.Check(c.Device); err != nil {
		errs = append(errs, err)
	}
	if c.Threads < 0 {
		bad("threads: %d, want 0 for all processors, or more", c.Threads)
	}
	if c.KeepPrevious != nil && *c.KeepPrevious < 0 {
		bad("keep_previous: %v, want 0 or more", *c.KeepPrevious)
	}
	if !slices.Contains([]string{"", "text", "json"}, c.Log) {
		bad("log: %q, want text or json", c.Log)
	}
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, c.LogLevel) {
		bad("log_level: %q, want debug, info, warn or error", c.LogLevel)
	}
	if !slices.Contains([]string{"", "all", "any"}, c.Ready) {
		bad("ready: %q, want all or any", c.Ready)
	}
	if c.OpsAddr != "" {
		if _, port, err := net.SplitHostPort(c.OpsAddr); err != nil {
			bad("ops_addr: %w", err)
		} else if c.OpsAddr == c.Addr && port != "0" {
			bad("ops_addr: %s is addr, too: give it a port of its own", c.OpsAddr)
		}
	}
	if s := c.Dialects.OpenRLHFScores; !slices.Contains([]string{"", "sigmoid", "raw"}, s) {
		bad("dialects.openrlhf_scores: %q, want sigmoid or raw", s)
	}
	if c.AnyName && len(c.Models) > 1 {
		bad("any_name: any name would mean one of %d models: name them, or give each its aliases",
			len(c.Models))
	}
	errs = append(errs, c.Telemetry.Validate(), serve.Check(c.Models, nil))
	return errors.Join(errs...)
}

// keepPrevious returns the setting as the server has it, where 0 is its default.
func (c *serveConfig) keepPrevious() time.Duration {
	switch {
	case c.KeepPrevious == nil:
		return 0
	case *c.KeepPrevious == 0:
		return -1
	}
	return *c.KeepPrevious
}

// readKeys reads keys: the variable, and the lines of a file, which setting
// names. Empty lines and those that begin with # are left out.
func readKeys(variable, setting, file string, getenv func(string) string) ([]string, error) {
	var keys []string
	if k := getenv(variable); k != "" {
		keys = append(keys, k)
	}
	if file == "" {
		return keys, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	n := len(keys)
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	if len(keys) == n {
		return nil, fmt.Errorf("%s: %s holds no key", setting, file)
	}
	return keys, nil
}
