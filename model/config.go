package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/jsonerr"
	"github.com/warmserve/warmserve/model/nn"
)

// Config is what a checkpoint's config.json says about the function that the
// model computes, in the spelling of transformers 4 or 5.
type Config struct {
	Architecture string // such as "LlamaForSequenceClassification"
	ModelType    string // such as "llama"

	VocabSize    int
	Hidden       int // C
	Intermediate int // F
	Layers       int
	Heads        int // H
	KVHeads      int // K
	HeadDim      int // D
	MaxPositions int // longest sequence
	TypeVocab    int // token types, 0 for none

	// FirstPosition is where positions begin, behind the padding token's own, when
	// tokens that are padding are not counted; 0 when all are.
	FirstPosition int `json:",omitempty"`

	Positioned       bool          `json:",omitempty"` // DeBERTa: the embedding has positions, as BERT's always does
	Disentangled     *Disentangled `json:",omitempty"` // nil: attention does not see distances
	PoolerActivation string        `json:",omitempty"` // of a pooler that is not the class's own
	ConvKernel       int           `json:",omitempty"` // DeBERTa: tokens of the convolution behind the first block, 0 for none
	ConvActivation   string        `json:",omitempty"`

	ModernBERT *ModernBERT `json:",omitempty"`
	Experts    *Experts    `json:",omitempty"` // nil where no layer has any

	Embedding int `json:",omitempty"` // width of the embedding where that is not C by definition, else 0
	Groups    int `json:",omitempty"` // of blocks whose weights layers share, 0 where none does
	InGroup   int `json:",omitempty"` // blocks of a group

	NormEps       float64
	Activation    string
	AttentionBias bool
	MLPBias       bool
	Parallel      bool  // GPT-NeoX: attention and feed-forward side by side
	Windows       []int // for each layer the tokens a query sees, 0 for all; nil for all layers 0

	Unscaled     bool `json:",omitempty"` // attention's scores are not divided by the root of HeadDim
	ScaleByLayer bool `json:",omitempty"` // attention's scores are divided by the number of the layer, from 1 on

	QueryScalar float64 `json:",omitempty"` // scores are divided by its root; 0 for HeadDim
	SoftCap     float64 `json:",omitempty"` // bound of attention's scores, 0 for none
	OutputCap   float64 `json:",omitempty"` // bound of a language model's logits, which a reward model does not have

	RopeTheta   float64
	LocalTheta  float64 `json:",omitempty"` // of sliding layers, 0 for that of all
	RotaryShare float64 // part of each head that is rotated
	Llama3      *Llama3Scaling
	Linear      float64          // positions are divided by it; 0 or 1 for none
	Yarn        *YarnScaling     `json:",omitempty"`
	LongRope    *LongRopeScaling `json:",omitempty"`
	Dynamic     *DynamicScaling  `json:",omitempty"`

	PadTokenID *int32 // nil when the configuration has none
	NumLabels  int
	Label      string // id2label["0"]

	// Prefix stands in front of the names of the body's tensors; nil for the class's own.
	Prefix *string `json:",omitempty"`
	// NoPooler says that an encoder's head reads the encoder's output as it is, without the layer
	// that its class has between.
	NoPooler bool `json:",omitempty"`
	Inside   bool `json:",omitempty"` // the body is the text part of a larger model, whose other parts are left out

	Head     string `json:",omitempty"` // name of the score head's tensors, "" for the class's own
	HeadBias bool   `json:",omitempty"` // a decoder's score head has a bias
	Mean     bool   `json:",omitempty"` // a decoder's score head reads the mean of all tokens

	// Reading is how text is read, of which weights know nothing.
	Reading Reading `json:"-"`

	Scoring *Scoring `json:",omitempty"` // nil for a linear head with one output
}

// rawConfig has config.json's keys. Pointers tell an absent or null key, for
// which the class's default holds, from a zero.
type rawConfig struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`

	VocabSize    *int `json:"vocab_size"`
	Hidden       *int `json:"hidden_size"`
	Intermediate *int `json:"intermediate_size"`
	Layers       *int `json:"num_hidden_layers"`
	Heads        *int `json:"num_attention_heads"`
	KVHeads      *int `json:"num_key_value_heads"`
	HeadDim      *int `json:"head_dim"`
	MaxPositions *int `json:"max_position_embeddings"`
	TypeVocab    *int `json:"type_vocab_size"`

	rawDeberta
	rawModernBERT
	rawExperts

	Embedding *int `json:"embedding_size"`
	Groups    *int `json:"num_hidden_groups"`
	InGroup   *int `json:"inner_group_num"`

	// GPT-2's names of the sizes, and DistilBERT's.
	NEmbd        *int     `json:"n_embd"`
	NInner       *int     `json:"n_inner"`
	NLayer       *int     `json:"n_layer"`
	NHead        *int     `json:"n_head"`
	NPositions   *int     `json:"n_positions"`
	GPT2Eps      *float64 `json:"layer_norm_epsilon"`
	GPT2Act      *string  `json:"activation_function"`
	ScaleWeights *bool    `json:"scale_attn_weights"`
	ScaleByLayer *bool    `json:"scale_attn_by_inverse_layer_idx"`

	Dim       *int    `json:"dim"`
	HiddenDim *int    `json:"hidden_dim"`
	NLayers   *int    `json:"n_layers"`
	NHeads    *int    `json:"n_heads"`
	DistilAct *string `json:"activation"`

	RMSNormEps    *float64 `json:"rms_norm_eps"`
	LayerNormEps  *float64 `json:"layer_norm_eps"`
	Activation    *string  `json:"hidden_act"`
	GemmaAct      *string  `json:"hidden_activation"`
	AttentionBias *bool    `json:"attention_bias"`
	Bias          *bool    `json:"bias"`
	MLPBias       *bool    `json:"mlp_bias"`
	Parallel      *bool    `json:"use_parallel_residual"`
	PositionType  *string  `json:"position_embedding_type"`
	Bidirectional *bool    `json:"use_bidirectional_attention"`

	QueryScalar *float64        `json:"query_pre_attn_scalar"`
	SoftCap     json.RawMessage `json:"attn_logit_softcapping"` // absent and null differ
	OutputCap   json.RawMessage `json:"final_logit_softcapping"`

	SlidingWindow    json.RawMessage `json:"sliding_window"` // absent and null differ
	UseSlidingWindow *bool           `json:"use_sliding_window"`
	MaxWindowLayers  *int            `json:"max_window_layers"`
	LayerTypes       []string        `json:"layer_types"`
	Pattern          *int            `json:"sliding_window_pattern"`
	PrivatePattern   *int            `json:"_sliding_window_pattern"`

	RopeTheta      *float64        `json:"rope_theta"`
	RotaryBase     *float64        `json:"rotary_emb_base"`
	LocalTheta     *float64        `json:"rope_local_base_freq"`
	RotaryShare    *float64        `json:"rotary_pct"`
	Original       *float64        `json:"original_max_position_embeddings"`
	PartialRotary  *float64        `json:"partial_rotary_factor"`
	RopeScaling    json.RawMessage `json:"rope_scaling"`
	RopeParameters json.RawMessage `json:"rope_parameters"`

	PadTokenID  *int32            `json:"pad_token_id"`
	RewardToken *int32            `json:"reward_token_id"` // InternLM2's code ends every text with it
	Pooling     *string           `json:"pooling"`         // Open-Assistant's
	NumLabels   *int              `json:"num_labels"`
	ID2Label    map[string]string `json:"id2label"`

	HeadPrefix string `json:"value_head_prefix"` // OpenRLHF's name of the head
	NameOrPath string `json:"_name_or_path"`

	GatingTemperature *float64 `json:"gating_temperature"` // ArmoRM's and QRM's
	Quantiles         *int     `json:"num_quantiles"`      // QRM's
	SoftGate          *bool    `json:"softmax"`            // LDL-Reward's
	DoNormalize       *bool    `json:"do_normalize"`       // beaver's
	ScoreType         string   `json:"score_type"`         // beaver's: reward or cost

	Mean json.RawMessage `json:"mean"` // OpenRLHF's normalisation, which is not applied
	Std  json.RawMessage `json:"std"`

	Own        rawOwn          `json:"warmserve"`
	TextConfig json.RawMessage `json:"text_config"` // of a model that reads more than text
	inside     bool            // this is such a text_config
}

// ErrArchitecture is wrapped by the error for a configuration whose
// architecture this engine does not run.
var ErrArchitecture = errors.New("unsupported architecture")

// ParseConfig reads config.json by what it says alone; see [Resolve] for a checkpoint's. The error
// lists every problem found.
func ParseConfig(data []byte) (*Config, error) {
	raw, err := decodeConfig(data)
	if err != nil {
		return nil, err
	}
	if len(raw.Architectures) != 1 {
		return nil, raw.unsupported()
	}
	if _, ok := architectures[raw.Architectures[0]]; !ok {
		return nil, raw.unsupported()
	}
	c, err := raw.config(raw.Architectures[0])
	if err != nil {
		return nil, err
	}
	c.Reading, err = raw.reading(nil)
	return c, err
}

func decodeConfig(data []byte) (*rawConfig, error) {
	var raw rawConfig
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("config.json: %w", jsonerr.WrongType(err))
	}
	if own, ok := otherTypes[raw.ModelType]; ok {
		raw.ModelType = own
	}
	return raw.textOf()
}

// otherTypes are model types of other code for a body that is known.
var otherTypes = map[string]string{"gpt_neox_reward_model": "gpt_neox"} // Open-Assistant's

// unsupported is the error for a class that is not known.
func (raw *rawConfig) unsupported() error {
	return fmt.Errorf("config.json: %w: architectures %q, model_type %q; supported are %s",
		ErrArchitecture, raw.Architectures, raw.ModelType, architectureNames())
}

// config reads the configuration as one of a supported class.
func (raw *rawConfig) config(class string) (*Config, error) {
	a := architectures[class]
	c := &Config{Architecture: class, ModelType: raw.ModelType, Label: raw.ID2Label["0"], Inside: raw.inside}
	if c.ModelType != "" && c.ModelType != a.modelType {
		return nil, fmt.Errorf("config.json: model_type: %q, want %q for %s", c.ModelType,
			a.modelType, c.Architecture)
	}
	c.common(raw, a)
	c.own(raw, a)
	err := errors.Join(c.rope(raw, a), c.windows(raw, a), c.experts(raw, a), c.caps(raw, a),
		c.validate(raw, a))
	if a.disentangled {
		err = errors.Join(err, c.deberta(raw))
	}
	if a.modern {
		err = errors.Join(err, c.modernBERT(raw))
	}
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return c, nil
}

func architectureNames() string {
	return strings.Join(slices.Sorted(maps.Keys(architectures)), ", ")
}

// or returns *p, or def when the key is absent.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

func (c *Config) common(raw *rawConfig, a architecture) {
	c.VocabSize = or(raw.VocabSize, 0)
	c.Hidden = or(cmp.Or(raw.Hidden, raw.Dim, raw.NEmbd), 0)
	c.Intermediate = or(cmp.Or(raw.Intermediate, raw.HiddenDim, raw.NInner), a.defaults.widening*c.Hidden)
	c.Layers = or(cmp.Or(raw.Layers, raw.NLayers, raw.NLayer), 0)
	c.Heads = or(cmp.Or(raw.Heads, raw.NHeads, raw.NHead), 0)
	c.MaxPositions = or(cmp.Or(raw.MaxPositions, raw.NPositions), 0)
	c.KVHeads = c.Heads
	if a.grouped {
		c.KVHeads = or(raw.KVHeads, or(a.defaults.kvHeads, c.Heads))
	}
	if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if a.grouped {
		c.HeadDim = or(raw.HeadDim, or(a.defaults.headDim, c.HeadDim))
	}
	if a.defaults.types > 0 || a.disentangled {
		c.TypeVocab = or(raw.TypeVocab, a.defaults.types)
	}
	c.NormEps = or(raw.RMSNormEps, cmp.Or(a.defaults.rmsNormEps, 1e-6))
	if a.layerNorm {
		c.NormEps = or(cmp.Or(raw.LayerNormEps, raw.GPT2Eps), a.defaults.layerNormEps)
	}
	if a.modern {
		raw.Activation = raw.GemmaAct
		c.NormEps = or(raw.rawModernBERT.NormEps, a.defaults.layerNormEps) // its files have layer_norm_eps, too
	}
	if a.defaults.fixedEps > 0 {
		c.NormEps = a.defaults.fixedEps
	}
	if a.defaults.embedding > 0 {
		c.Embedding = or(raw.Embedding, a.defaults.embedding)
	}
	if a.defaults.groups > 0 {
		c.Groups, c.InGroup = or(raw.Groups, a.defaults.groups), or(raw.InGroup, 1)
	}
	c.Activation = or(cmp.Or(raw.Activation, raw.DistilAct, raw.GPT2Act), a.defaults.activation)
	if a.geluIsTanh && c.Activation == "gelu" {
		c.Activation = "gelu_pytorch_tanh"
	}
	c.AttentionBias = or(raw.AttentionBias, a.defaults.attentionBias)
	if a.plainBias {
		c.AttentionBias = or(raw.Bias, a.defaults.attentionBias)
	}
	if a.experts != nil && a.experts.Shared > 0 {
		c.AttentionBias = or(raw.QKVBias, a.defaults.attentionBias)
	}
	c.MLPBias = or(raw.MLPBias, false)
	c.Parallel = or(raw.Parallel, true)
	if c.PadTokenID = raw.PadTokenID; c.PadTokenID == nil {
		c.PadTokenID = a.defaults.pad
	}
	if a.padded {
		c.FirstPosition = int(*c.PadTokenID) + 1
		c.MaxPositions -= c.FirstPosition
	}
	if a.defaults.queryScalar > 0 {
		c.QueryScalar = or(raw.QueryScalar, a.defaults.queryScalar)
		c.Activation = or(raw.GemmaAct, a.defaults.activation)
	}
	if a.defaults.widening > 0 {
		c.Unscaled, c.ScaleByLayer = !or(raw.ScaleWeights, true), or(raw.ScaleByLayer, false)
	}
	c.NumLabels = or(raw.NumLabels, 2)
	if n := len(raw.ID2Label); n > 0 {
		c.NumLabels = n // what transformers goes by
	}
}

// caps reads the bounds of scores and logits of classes that have some.
func (c *Config) caps(raw *rawConfig, a architecture) error {
	read := func(key string, value json.RawMessage, known bool, def float64, to *float64) error {
		if *to = def; !known || value == nil {
			return nil
		}
		if *to = 0; string(value) == "null" {
			return nil
		}
		if err := json.Unmarshal(value, to); err != nil || !(*to > 0) {
			return fmt.Errorf("%s: %s, want null or a positive number", key, value)
		}
		return nil
	}
	return errors.Join(
		read("attn_logit_softcapping", raw.SoftCap, a.defaults.softCap > 0, a.defaults.softCap, &c.SoftCap),
		read("final_logit_softcapping", raw.OutputCap, a.defaults.queryScalar > 0,
			a.defaults.outputCap, &c.OutputCap))
}

// windows reads which layers attend to a sliding window only.
func (c *Config) windows(raw *rawConfig, a architecture) error {
	if a.window == noWindow || c.Layers <= 0 || c.Layers > maxDim {
		return nil
	}
	w, used := 0, or(raw.UseSlidingWindow, false)
	switch {
	case !used && (a.window == allWhenUsed || a.window == halfWhenUsed): // whatever sliding_window is
	case raw.SlidingWindow == nil && a.window != whenUsed && a.window != whenGiven:
		w = 4096 // the default of MistralConfig, Gemma2Config and Qwen2MoeConfig for an absent key
	case raw.SlidingWindow == nil || string(raw.SlidingWindow) == "null":
	default:
		if err := json.Unmarshal(raw.SlidingWindow, &w); err != nil || w < 1 {
			return fmt.Errorf("sliding_window: %s, want null or a positive number", raw.SlidingWindow)
		}
	}
	if a.window == whenUsed && !used {
		w = 0
	}
	pattern := or(cmp.Or(raw.Pattern, raw.PrivatePattern), 6)
	if a.window == patterned && (w == 0 || pattern < 1) {
		return fmt.Errorf("sliding_window: null or sliding_window_pattern: %d, want positive numbers",
			pattern)
	}
	if w == 0 {
		return nil
	}
	if raw.LayerTypes != nil && len(raw.LayerTypes) != c.Layers {
		return fmt.Errorf("layer_types: %d entries for %d layers", len(raw.LayerTypes), c.Layers)
	}
	c.Windows = make([]int, c.Layers)
	for l := range c.Windows {
		slides := a.window == always || a.window == whenGiven || a.window == allWhenUsed
		switch a.window {
		case whenUsed:
			slides = l >= or(raw.MaxWindowLayers, 28)
		case halfWhenUsed:
			slides = l%2 == 0 && l < or(raw.MaxWindowLayers, 28)
		case patterned:
			slides = (l+1)%pattern != 0
		case alternating:
			slides = l%2 == 0
		}
		if raw.LayerTypes != nil {
			slides = raw.LayerTypes[l] == "sliding_attention"
		}
		if slides {
			c.Windows[l] = w
		}
	}
	return nil
}

// maxDim bounds every size of a configuration, so that products of a few of
// them stay far from overflow.
const maxDim = 1 << 21

func (c *Config) validate(raw *rawConfig, a architecture) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, d := range []struct {
		key string
		v   int
	}{
		{"vocab_size", c.VocabSize}, {"hidden_size", c.Hidden}, {"intermediate_size", c.Intermediate},
		{"num_hidden_layers", c.Layers}, {"num_attention_heads", c.Heads}, {"num_key_value_heads", c.KVHeads},
		{"head_dim", c.HeadDim}, {"max_position_embeddings", c.MaxPositions},
	} {
		if d.v < 1 || d.v > maxDim {
			bad("%s: %d, want 1 to %d", d.key, d.v, maxDim)
		}
	}
	if a.defaults.embedding > 0 && (c.Embedding < 1 || c.Embedding > maxDim) {
		bad("embedding_size: %d, want 1 to %d", c.Embedding, maxDim)
	}
	if a.defaults.groups > 0 && (c.Groups < 1 || c.Groups > c.Layers) {
		bad("num_hidden_groups: %d for %d layers", c.Groups, c.Layers)
	}
	if a.defaults.groups > 0 && (c.InGroup < 1 || c.InGroup > maxDim) {
		bad("inner_group_num: %d, want 1 to %d", c.InGroup, maxDim)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if c.Heads%c.KVHeads != 0 {
		bad("num_attention_heads: %d is no multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	}
	if raw.HeadDim == nil && c.HeadDim*c.Heads != c.Hidden && a.defaults.headDim == nil {
		bad("hidden_size: %d is no multiple of num_attention_heads %d", c.Hidden, c.Heads)
	}
	if n := c.RotaryDim(); a.defaults.ropeTheta > 0 && (n%2 != 0 || n > c.HeadDim || n < 0) {
		bad("rotary embedding of %d of %d head dimensions, want an even number up to that", n, c.HeadDim)
	}
	if a.defaults.ropeTheta > 0 && !(c.RopeTheta > 0) {
		bad("rope_theta: %v, want a positive number", c.RopeTheta)
	}
	if a.defaults.localTheta > 0 && !(c.LocalTheta > 0) {
		bad("rope_local_base_freq: %v, want a positive number", c.LocalTheta)
	}
	if !(c.NormEps > 0) || c.NormEps > 1 {
		bad("norm epsilon: %v, want a number in (0, 1]", c.NormEps)
	}
	if _, ok := a.activations[c.Activation]; !ok {
		bad("hidden_act: %q is not supported for %s", c.Activation, c.Architecture)
	}
	if or(raw.Bidirectional, false) {
		bad("use_bidirectional_attention: true is not supported for %s", c.Architecture)
	}
	if a.defaults.queryScalar > 0 && (!(c.QueryScalar > 0) || math.IsInf(c.QueryScalar, 0)) {
		bad("query_pre_attn_scalar: %v, want a positive number", c.QueryScalar)
	}
	if p := or(raw.PositionType, "absolute"); a.encoder && p != "absolute" {
		bad("position_embedding_type: %q is not supported, want absolute", p)
	}
	if c.NumLabels != 1 {
		bad("num_labels: %d (id2label has %d entries): a reward model has one output", c.NumLabels,
			len(raw.ID2Label))
	}
	return errors.Join(errs...)
}

// RotaryDim returns the number of rotated elements of a head.
func (c *Config) RotaryDim() int { return int(c.RotaryShare * float64(c.HeadDim)) }

// Window returns the sliding window of a layer, 0 for none.
func (c *Config) Window(layer int) int {
	if c.Windows == nil {
		return 0
	}
	return c.Windows[layer]
}

// activations of plain and of gated feed-forward layers, by hidden_act.
var (
	plainActivations = map[string]nn.Activation{
		"gelu": nn.GELU, "gelu_new": nn.GELUTanh, "gelu_fast": nn.GELUTanh,
		"gelu_pytorch_tanh": nn.GELUTanh, "relu": nn.ReLU,
	}
	poolerActivations = map[string]nn.Activation{"gelu": nn.GELU, "gelu_new": nn.GELUTanh,
		"tanh": nn.Tanh, "relu": nn.ReLU}
	gatedActivations = map[string]nn.Activation{
		"silu": nn.SiLU, "swish": nn.SiLU, "gelu": nn.GELU, "gelu_pytorch_tanh": nn.GELUTanh,
		"gelu_new": nn.GELUTanh,
	}
)

// Causal says whether tokens see only those before them.
func (c *Config) Causal() bool { return !architectures[c.Architecture].encoder }
