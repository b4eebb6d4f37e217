package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/reward"
)

// serveConfig is what warm serve reads from its YAML file. A flag beats an
// environment variable, which beats the file, which beats the default.
type serveConfig struct {
	read string // the file that it was read from; "" for none

	Addr     string                 `yaml:"addr"`     // default 127.0.0.1:8080
	KeyFile  string                 `yaml:"key_file"` // API keys, one a line; relative to the configuration file
	TLSCert  string                 `yaml:"tls_cert"` // PEM files for HTTPS, relative to the configuration file; with tls_key
	TLSKey   string                 `yaml:"tls_key"`
	Threads  int                    `yaml:"threads"`   // engine workers; default all processors
	Log      string                 `yaml:"log"`       // text or json; default text
	LogLevel string                 `yaml:"log_level"` // debug, info (default), warn or error
	OpsAddr  string                 `yaml:"ops_addr"`  // port of /metrics, /livez, /readyz and what changes models; default that of addr
	Ready    string                 `yaml:"ready"`     // all (default): ready once every model is live; any: once one is
	Models   map[string]modelConfig `yaml:"models"`
	Limits   limitsConfig           `yaml:"limits"`

	Dialects dialectsConfig `yaml:"dialects"` // what other stacks' routes answer

	AdminKeyFile string         `yaml:"admin_key_file"` // keys of the routes that change models; without any they are closed
	ModelRoot    string         `yaml:"model_root"`     // folder that holds every path that such a request names
	Watch        string         `yaml:"watch"`          // manifest of models that is carried out whenever it is replaced, or its folder
	State        string         `yaml:"state"`          // file for the last good state across restarts
	KeepPrevious *time.Duration `yaml:"keep_previous"`  // how long the revision before is kept for pinned requests; default 60 s, 0 is not at all
}

// modelConfig is one deployment.
type modelConfig struct {
	Members     []memberConfig `yaml:"members"`
	Mode        string         `yaml:"mode"`        // wa (default), ens, both or member:NAME
	Base        string         `yaml:"base"`        // directory of the shared initialisation
	Alpha       *float64       `yaml:"alpha"`       // distance from base; default 1
	Weights     []float64      `yaml:"weights"`     // one for each member, in place of the members' own
	Extrapolate bool           `yaml:"extrapolate"` // allow negative weights and alpha outside [0, 1]
	Ignore      []string       `yaml:"ignore"`      // what members may differ in; see warm average --ignore
	DType       string         `yaml:"dtype"`       // float32 (default), bfloat16 or int8
	Pooling     string         `yaml:"pooling"`     // hf, last, hf_legacy or first_pad_after_prompt; default the checkpoint's, else hf
	MaxTokens   int            `yaml:"max_tokens"`  // of a sequence; default the model's context
	ABSample    float64        `yaml:"ab_sample"`   // share of requests whose ensemble is scored beside the average, for the metrics; with the mode both
	Guard       *guardConfig   `yaml:"guard"`       // what an average must not lose to go live; default none
}

// guardConfig refuses an average that loses accuracy to its members.
type guardConfig struct {
	Pairs   string  `yaml:"pairs"`    // JSONL of chosen and rejected
	MaxLoss float64 `yaml:"max_loss"` // percentage points
}

// memberConfig is one checkpoint; in YAML a plain string is its path.
type memberConfig struct {
	Name   string   `yaml:"name"`
	Path   string   `yaml:"path"`
	Weight float64  `yaml:"weight"`
	Mean   *float64 `yaml:"mean"` // of its rewards, for z-scores in an ensemble; with std
	Std    *float64 `yaml:"std"`
}

// UnmarshalYAML reads a path or the full form.
func (m *memberConfig) UnmarshalYAML(data []byte) error {
	var path string
	if err := yaml.Unmarshal(data, &path); err == nil {
		*m = memberConfig{Path: path}
		return nil
	}
	type plain memberConfig
	return yaml.UnmarshalWithOptions(data, (*plain)(m), yaml.Strict())
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

// randomMember in front of a config.json's path asks for random weights.
const randomMember = "random:"

const defaultAddr = "127.0.0.1:8080"

// readConfig reads a configuration file; paths in it are relative to it.
func readConfig(path string) (serveConfig, error) {
	var c serveConfig
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := readYAML(path, data, &c); err != nil {
		return c, err
	}
	dir := filepath.Dir(path)
	for _, p := range []*string{&c.KeyFile, &c.TLSCert, &c.TLSKey, &c.AdminKeyFile, &c.ModelRoot, &c.Watch, &c.State} {
		relative(dir, p)
	}
	return c, relativeTo(dir, c.Models)
}

// relativeTo makes the models' paths relative to dir, and lists the embedded members one by one.
func relativeTo(dir string, models map[string]modelConfig) error {
	for name, m := range models {
		var err error
		if m.Members, err = embeddedMembers(m.Members); err != nil {
			return err
		}
		for i := range m.Members {
			relative(dir, &m.Members[i].Path)
		}
		relative(dir, &m.Base)
		if m.Guard != nil {
			relative(dir, &m.Guard.Pairs)
		}
		models[name] = m
	}
	return nil
}

// relative makes a path relative to dir, unless it is absolute, not given or of the embedded model.
func relative(dir string, p *string) {
	if strings.HasPrefix(*p, embedded.Prefix) {
		return
	}
	random, rest := "", *p
	if r, ok := strings.CutPrefix(*p, randomMember); ok {
		random, rest = randomMember, r
	}
	if rest != "" && !filepath.IsAbs(rest) {
		*p = random + filepath.Join(dir, rest)
	}
}

// environment overlays the variables WARM_ADDR, WARM_THREADS, WARM_KEY_FILE,
// WARM_ADMIN_KEY_FILE, WARM_MODEL_ROOT, WARM_WATCH, WARM_STATE, WARM_LOG,
// WARM_LOG_LEVEL and WARM_OPS_ADDR.
func (c *serveConfig) environment(getenv func(string) string) error {
	for name, p := range map[string]*string{"WARM_ADDR": &c.Addr, "WARM_KEY_FILE": &c.KeyFile, "WARM_LOG": &c.Log, "WARM_LOG_LEVEL": &c.LogLevel, "WARM_OPS_ADDR": &c.OpsAddr,
		"WARM_ADMIN_KEY_FILE": &c.AdminKeyFile, "WARM_MODEL_ROOT": &c.ModelRoot, "WARM_WATCH": &c.Watch, "WARM_STATE": &c.State} {
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

// addModels adds the --model flags: NAME=DIR,DIR,… or DIR,DIR,… for the model "default".
func (c *serveConfig) addModels(flags []string, def modelConfig) error {
	for _, f := range flags {
		name, dirs, ok := strings.Cut(f, "=")
		if !ok {
			name, dirs = "default", f
		}
		if _, ok := c.Models[name]; ok {
			return fmt.Errorf("--model: %q is given twice", name)
		}
		m := def
		for d := range strings.SplitSeq(dirs, ",") {
			if d == "" {
				return fmt.Errorf("--model %s: an empty directory name", f)
			}
			m.Members = append(m.Members, memberConfig{Path: d})
		}
		var err error
		if m.Members, err = embeddedMembers(m.Members); err != nil {
			return err
		}
		if c.Models == nil {
			c.Models = map[string]modelConfig{}
		}
		c.Models[name] = m
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
	for name, m := range c.Models {
		if name == "" || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			bad("models: %q: a name is 1 to 200 printable ASCII characters without spaces", name)
		}
		if _, err := m.deployment(); err != nil {
			bad("models.%s: %w", name, err)
		} else if err := m.spec().Validate(); err != nil {
			bad("models.%s: %w", name, err)
		}
	}
	return errors.Join(errs...)
}

// specs returns the models as the server has them, by name.
func (c *serveConfig) specs() map[string]*api.ModelSpec {
	specs := map[string]*api.ModelSpec{}
	for name, m := range c.Models {
		specs[name] = m.spec()
	}
	return specs
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

// deployment returns the configuration that package reward reads.
func (m *modelConfig) deployment() (reward.Config, error) {
	c := reward.Config{
		Mode: reward.Mode(m.Mode), Base: m.Base, Alpha: m.Alpha, Extrapolate: m.Extrapolate, Ignore: m.Ignore, MaxTokens: m.MaxTokens,
	}
	var errs []error
	var err error
	if !(m.ABSample >= 0 && m.ABSample <= 1) || m.ABSample > 0 && m.Mode != string(reward.ModeBoth) {
		errs = append(errs, fmt.Errorf("ab_sample: %v, want a share in [0, 1], and the mode both", m.ABSample))
	}
	if m.DType != "" {
		if c.DType, err = kernel.ParseDType(m.DType); err != nil {
			errs = append(errs, err)
		}
	}
	if m.Pooling != "" {
		if c.Pooling, err = model.ParsePooling(m.Pooling); err != nil {
			errs = append(errs, err)
		}
	}
	if len(m.Members) == 0 {
		errs = append(errs, errors.New("members: none"))
	}
	if m.Weights != nil && len(m.Weights) != len(m.Members) {
		errs = append(errs, fmt.Errorf("weights: %d for %d members", len(m.Weights), len(m.Members)))
		return c, errors.Join(errs...)
	}
	for i, x := range m.Members {
		r := reward.Member{Name: x.Name, Dir: x.Path, Weight: x.Weight}
		if m.Weights != nil {
			if r.Weight = m.Weights[i]; r.Weight == 0 {
				errs = append(errs, fmt.Errorf("weights: 0 for %s would leave it out: leave it out of members", x.Path))
			}
		}
		switch {
		case x.Path == "":
			errs = append(errs, fmt.Errorf("members: %q has no path", x.Name))
		case (x.Mean == nil) != (x.Std == nil):
			errs = append(errs, fmt.Errorf("members: %s: mean and std go together", x.Path))
		case x.Mean != nil:
			r.Calibration = &warm.Calibration{Mean: *x.Mean, Std: *x.Std}
		}
		c.Members = append(c.Members, r)
	}
	return c, errors.Join(errs...)
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
