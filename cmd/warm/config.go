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

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/reward"
	"github.com/warmserve/warmserve/warm"
)

// serveConfig is what warm serve reads from its YAML file. A flag beats an
// environment variable, which beats the file, which beats the default.
type serveConfig struct {
	Addr    string                 `yaml:"addr"`     // default 127.0.0.1:8080
	KeyFile string                 `yaml:"key_file"` // API keys, one a line; relative to the configuration file
	Threads int                    `yaml:"threads"`  // engine workers; default all processors
	Log     string                 `yaml:"log"`      // text or json; default text
	Models  map[string]modelConfig `yaml:"models"`
	Limits  limitsConfig           `yaml:"limits"`
}

// modelConfig is one deployment.
type modelConfig struct {
	Members     []memberConfig `yaml:"members"`
	Mode        string         `yaml:"mode"`        // wa (default), ens, both or member:NAME
	Base        string         `yaml:"base"`        // directory of the shared initialisation
	Alpha       *float64       `yaml:"alpha"`       // distance from base; default 1
	Extrapolate bool           `yaml:"extrapolate"` // allow negative weights and alpha outside [0, 1]
	DType       string         `yaml:"dtype"`       // float32 (default), bfloat16 or int8
	Pooling     string         `yaml:"pooling"`     // hf, last, hf_legacy or first_pad_after_prompt; default the checkpoint's, else hf
	MaxTokens   int            `yaml:"max_tokens"`  // of a sequence; default the model's context
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

// limitsConfig bounds what clients may ask for; 0 is the default.
type limitsConfig struct {
	MaxBodyBytes     int64         `yaml:"max_body_bytes"`
	MaxSequences     int           `yaml:"max_sequences"`
	MaxRequestTokens int           `yaml:"max_request_tokens"`
	MaxBatchTokens   int           `yaml:"max_batch_tokens"`
	MaxQueuedTokens  int           `yaml:"max_queued_tokens"`
	MaxConnections   int           `yaml:"max_connections"`
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
	if err := yaml.UnmarshalWithOptions(data, &c, yaml.Strict()); err != nil {
		return c, fmt.Errorf("%s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	dir := filepath.Dir(path)
	relative := func(p *string) {
		random, rest := "", *p
		if r, ok := strings.CutPrefix(*p, randomMember); ok {
			random, rest = randomMember, r
		}
		if rest != "" && !filepath.IsAbs(rest) {
			*p = random + filepath.Join(dir, rest)
		}
	}
	relative(&c.KeyFile)
	for name, m := range c.Models {
		for i := range m.Members {
			relative(&m.Members[i].Path)
		}
		relative(&m.Base)
		c.Models[name] = m
	}
	return c, nil
}

// environment overlays the variables WARM_ADDR, WARM_THREADS, WARM_KEY_FILE and WARM_LOG.
func (c *serveConfig) environment(getenv func(string) string) error {
	for name, p := range map[string]*string{"WARM_ADDR": &c.Addr, "WARM_KEY_FILE": &c.KeyFile, "WARM_LOG": &c.Log} {
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
	if !slices.Contains([]string{"", "text", "json"}, c.Log) {
		bad("log: %q, want text or json", c.Log)
	}
	for name, m := range c.Models {
		if name == "" || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			bad("models: %q: a name is 1 to 200 printable ASCII characters without spaces", name)
		}
		if _, err := m.deployment(); err != nil {
			bad("models.%s: %w", name, err)
		}
	}
	return errors.Join(errs...)
}

// deployment returns the configuration that package reward reads.
func (m *modelConfig) deployment() (reward.Config, error) {
	c := reward.Config{
		Mode: reward.Mode(m.Mode), Base: m.Base, Alpha: m.Alpha, Extrapolate: m.Extrapolate, MaxTokens: m.MaxTokens,
	}
	var errs []error
	var err error
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
	for _, x := range m.Members {
		r := reward.Member{Name: x.Name, Dir: x.Path, Weight: x.Weight}
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

// readKeys reads API keys: the variable WARM_API_KEY, and the lines of a file.
// Empty lines and those that begin with # are left out.
func readKeys(file string, getenv func(string) string) ([]string, error) {
	var keys []string
	if k := getenv("WARM_API_KEY"); k != "" {
		keys = append(keys, k)
	}
	if file == "" {
		return keys, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	n := len(keys)
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			keys = append(keys, line)
		}
	}
	if len(keys) == n {
		return nil, fmt.Errorf("key_file: %s holds no key", file)
	}
	return keys, nil
}
