package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"

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
