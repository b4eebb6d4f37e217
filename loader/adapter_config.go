package loader

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"

	"github.com/warmserve/warmserve/loader/jsonerr"
)

// adapterConfig is what an adapter_config.json says about the weights.
type adapterConfig struct {
	Base     string   // base_model_name_or_path; may be empty
	Task     string   // taskClassifier, taskCausal or ""
	Class    string   // of the base, where PEFT was told no task; may be empty
	Rank     int      // r ≥ 1, of the modules without a pattern
	Alpha    float64  // lora_alpha, finite
	RSLoRA   bool     // the change is scaled by α/√r, not by α/r
	Whole    []string // modules_to_save: modules that the adapter replaces
	targets  []string // the last parts of the changed modules' names; nil with a pattern
	target   *fullPattern
	all      bool     // every linear layer but the output layer, and no list of them
	narrowed bool     // some modules that the targets name are left out on purpose
	params   []string // target_parameters: the last parts of the names of changed parameters
	ranks    []modulePattern
	alphas   []modulePattern
}

// modulePattern gives the modules whose name it matches another rank or alpha.
type modulePattern struct {
	match *fullPattern
	value float64
}

// The tasks whose models are known here, as PEFT names them.
const (
	taskClassifier = "SEQ_CLS"
	taskCausal     = "CAUSAL_LM"
)

// allLinear is PEFT's word for every linear layer but the output layer.
const allLinear = "all-linear"

// maxRank is beyond every matrix of a language model.
const maxRank = 1 << 20

// neutralOptions change nothing in how weights are made of an adapter's tensors: they say how it
// was begun, trained or found, or are read by [parseAdapterConfig].
var neutralOptions = []string{
	"alpha_pattern", "auto_mapping", "base_model_class", "base_model_name_or_path", "bias",
	"corda_config", "eva_config",
	"exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
	"layers_to_transform", "lora_alpha",
	"lora_dropout", "megatron_core", "modules_to_save", "parent_library", "peft_type", "peft_version",
	"qalora_group_size",
	"r", "rank_pattern", "revision", "runtime_config", "target_modules", "target_parameters",
	"task_type", "use_rslora",
}

// refusedOptions are those of which it is known why the sum W + α/r·B·A is not the model.
var refusedOptions = map[string]string{
	"use_dora":                "DoRA scales the columns of the sum",
	"alora_invocation_tokens": "the change depends on the tokens of the text",
	"layer_replication":       "the model has other layers than its base",
	"lora_bias":               "the change has a bias",
	"use_qalora":              "the change is of groups of columns",
	"trainable_token_indices": "rows of the embedding are replaced",
	"megatron_config":         "the layers are split over processes",
	"loftq_config":            "the base was changed before the training",
}

// adapterFile is the part of an adapter_config.json that decides about weights.
type adapterFile struct {
	Type      string          `json:"peft_type"`
	Task      string          `json:"task_type"` // null where PEFT was told none
	Auto      autoMapping     `json:"auto_mapping"`
	Base      string          `json:"base_model_name_or_path"`
	Rank      int             `json:"r"`
	Alpha     *float64        `json:"lora_alpha"`
	RSLoRA    bool            `json:"use_rslora"`
	Bias      string          `json:"bias"`
	Init      json.RawMessage `json:"init_lora_weights"`
	Targets   json.RawMessage `json:"target_modules"`
	Params    []string        `json:"target_parameters"`
	Whole     []string        `json:"modules_to_save"`
	Ranks     json.RawMessage `json:"rank_pattern"`
	Alphas    json.RawMessage `json:"alpha_pattern"`
	Layers    json.RawMessage `json:"layers_to_transform"`
	Excluding json.RawMessage `json:"exclude_modules"`
}

// autoMapping names the class of the base.
type autoMapping struct {
	Class string `json:"base_model_class"`
}

// parseAdapterConfig reads an adapter_config.json and refuses, with all reasons at once, what would
// not give the weights that PEFT computes. An option that is set and not known here is refused as
// well.
func parseAdapterConfig(raw []byte) (*adapterConfig, error) {
	if !isObject(raw) {
		return nil, ErrJSON
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	var in adapterFile
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, jsonerr.WrongType(err)
	}
	wrong := append(in.refusals(), refusals(all)...)
	if in.Alpha == nil {
		in.Alpha = new(float64)
	}
	c := &adapterConfig{Base: in.Base, Task: in.Task, Class: in.Auto.Class, Rank: in.Rank,
		Alpha: *in.Alpha, RSLoRA: in.RSLoRA, Whole: in.Whole,
		narrowed: isSet(in.Layers) || isSet(in.Excluding), params: in.Params}
	if in.Task == taskClassifier {
		c.Whole = append(slices.Clone(c.Whole), "score", "classifier") // PEFT does so for every classifier
	}
	for _, err := range []error{c.parseTargets(in.Targets),
		parsePatterns(&c.ranks, in.Ranks, "rank_pattern"),
		parsePatterns(&c.alphas, in.Alphas, "alpha_pattern")} {
		if err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	for _, p := range c.ranks {
		if p.value != math.Trunc(p.value) || p.value < 1 || p.value > maxRank {
			wrong = append(wrong, fmt.Sprintf("rank_pattern: %v, want whole numbers from 1 to %d",
				p.value, maxRank))
		}
	}
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return c, nil
}

// refusals says what stands against the values of the options that are read here.
func (in *adapterFile) refusals() (out []string) {
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if in.Type != "LORA" {
		bad("peft_type %q, want LORA", in.Type)
	}
	if in.Task != "" && in.Task != taskClassifier && in.Task != taskCausal {
		bad("task_type %q, want %s, %s or none", in.Task, taskClassifier, taskCausal)
	}
	if in.Rank < 1 || in.Rank > maxRank {
		bad("r %d, want 1 to %d", in.Rank, maxRank)
	}
	if in.Alpha == nil {
		bad("lora_alpha is missing")
	}
	if in.Bias != "" && in.Bias != "none" {
		bad("bias %q: biases are changed as well, want none", in.Bias)
	}
	if s := initialisation(in.Init); s != "" {
		bad("init_lora_weights %s: the base was changed before the training", s)
	}
	return out
}

// isSet reports whether an option has a value that asks for something.
func isSet(v json.RawMessage) bool {
	v = bytes.Join(bytes.Fields(v), nil)
	return !slices.Contains([]string{"", "null", "false", "{}", "[]", `""`}, string(v))
}

// refusals says what stands against the other options that are set.
func refusals(all map[string]json.RawMessage) (out []string) {
	for _, key := range sortedKeys(all) {
		switch reason := refusedOptions[key]; {
		case !isSet(all[key]) || slices.Contains(neutralOptions, key):
		case reason != "":
			out = append(out, key+": "+reason)
		default:
			out = append(out, fmt.Sprintf("%s: an option that is not known here is set", key))
		}
	}
	return out
}

// initialisation returns the value of init_lora_weights where that one changes the base, so that the adapter
// belongs to weights that are nowhere stored.
func initialisation(v json.RawMessage) string {
	var name string
	if !isSet(v) || string(v) == "true" || json.Unmarshal(v, &name) == nil &&
		slices.Contains([]string{"gaussian", "eva", "orthogonal"}, name) {
		return ""
	}
	return string(v)
}

// parseTargets reads target_modules: a list of names, a regular expression, or "all-linear".
func (c *adapterConfig) parseTargets(v json.RawMessage) error {
	var pattern string
	if json.Unmarshal(v, &pattern) == nil && pattern != "" {
		if c.all = pattern == allLinear; c.all {
			pattern = ".*"
		}
		var err error
		if c.target, err = compileFull(pattern); err != nil {
			return fmt.Errorf("target_modules: %w", err)
		}
		return nil
	}
	if json.Unmarshal(v, &c.targets) != nil || len(c.targets) == 0 && len(c.params) == 0 ||
		slices.Contains(c.targets, "") {
		return fmt.Errorf("target_modules %.80s, want names of modules or a pattern", v)
	}
	return nil
}

// parsePatterns reads a pattern's values in the order of the file, since the first that matches counts.
func parsePatterns(out *[]modulePattern, object json.RawMessage, option string) error {
	if !isSet(object) {
		return nil
	}
	members, err := objectMembers(object)
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	for _, m := range members {
		p := modulePattern{}
		if p.match, err = compileFull(`(?:.*\.)?(?:` + m.key + `)`); err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		if err := json.Unmarshal(object[m.value:m.end], &p.value); err != nil {
			return fmt.Errorf("%s: %q: %w", option, m.key, err)
		}
		*out = append(*out, p)
	}
	return nil
}

// fullPattern is a regular expression of Python, which knows lookahead and matches a whole name.
type fullPattern struct{ expr *regexp2.Regexp }

// patternTime bounds the search for a match in one name, against expressions that take exponential time.
const patternTime = 100 * time.Millisecond

func compileFull(expr string) (*fullPattern, error) {
	re, err := regexp2.Compile(`\A(?:` + strings.ReplaceAll(expr, "(?P<", "(?<") + `)\z`)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = patternTime
	return &fullPattern{re}, nil
}

// matches is false for a name on which the expression takes too long: the adapter is refused then,
// since it changes a module that is no target.
func (p *fullPattern) matches(name string) bool {
	ok, err := p.expr.MatchString(name)
	return err == nil && ok
}

func valueOf(patterns []modulePattern, module string, otherwise float64) float64 {
	for _, p := range patterns {
		if p.match.matches(module) {
			return p.value
		}
	}
	return otherwise
}

// rank returns the rank of a module's change.
func (c *adapterConfig) rank(module string) float64 { return valueOf(c.ranks, module, float64(c.Rank)) }

// scale returns what B·A is multiplied with.
func (c *adapterConfig) scale(module string) float64 {
	alpha, r := valueOf(c.alphas, module, c.Alpha), c.rank(module)
	if c.RSLoRA {
		return alpha / math.Sqrt(r)
	}
	return alpha / r
}

// isTarget reports whether the configuration names a module as one that changes.
func (c *adapterConfig) isTarget(module string) bool {
	if c.target != nil {
		return c.target.matches(module)
	}
	return slices.ContainsFunc(c.targets, func(t string) bool { return hasSuffixPart(module, t) }) ||
		c.isParameter(module+".weight")
}

// isParameter reports whether target_parameters names a parameter.
func (c *adapterConfig) isParameter(name string) bool {
	return slices.ContainsFunc(c.params, func(p string) bool { return p != "" && hasSuffixPart(name, p) })
}

// isWhole reports whether the configuration names a module, or one around it, as one that is replaced.
func (c *adapterConfig) isWhole(module string) bool {
	// PEFT replaces every module whose name ends with an entry, with all that is in it.
	for end := 0; end <= len(module); end++ {
		if end < len(module) && module[end] != '.' {
			continue
		}
		if slices.ContainsFunc(c.Whole,
			func(w string) bool { return w != "" && strings.HasSuffix(module[:end], w) }) {
			return true
		}
	}
	return false
}

// hasSuffixPart reports whether a dotted name ends with whole parts.
func hasSuffixPart(name, parts string) bool {
	return name == parts || strings.HasSuffix(name, "."+parts)
}
