package model

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// What package cpu runs networks with, under the names that users of models know.
type (
	Sequence       = plan.Sequence
	Source         = binding.Source
	LoadOptions    = binding.Options
	BindingError   = binding.Error
	Training       = cpu.Training
	Pass           = cpu.Pass
	Regularization = cpu.Regularization
	Language       = cpu.Language
	Text           = cpu.Text
	Decoder        = cpu.Decoder
	LoRA           = cpu.LoRA
	LoRAConfig     = cpu.LoRAConfig
)

// NoTarget is the target of a token after which nothing is to be learned.
const NoTarget = cpu.NoTarget

// ErrNotFinite is wrapped by the error for a weight that is NaN or infinite.
var ErrNotFinite = binding.ErrNotFinite

// NewLoRA is [cpu.NewLoRA].
func NewLoRA(t cpu.Learner, c LoRAConfig, seed uint64) (*LoRA, error) { return cpu.NewLoRA(t, c, seed) }

// Own returns how many tokens of a sequence of a causal model are computed for it in training
// behind a sequence of such ids: those that do not begin both.
func Own(ids, before []int32) int { return plan.Own(ids, before) }

// Load builds the model of a configuration from a source's tensors, on the CPU: see
// [cpu.Load]. On the device of an engine it is [Engine].Load.
func Load(c *Config, src Source, o LoadOptions) (*cpu.Model, error) {
	return cpu.Load(c.Network(), c.Tensors(src), o)
}

// Count returns the number of weights that a configuration asks for, and a
// *BindingError when the source's tensors are others.
func Count(c *Config, src Source) (int, error) { return binding.Count(c.Network(), c.Tensors(src)) }

// NewTraining reads the weights of a configuration from a source, whose tensors
// must be the model's own: see [cpu.NewTraining].
func NewTraining(c *Config, src Source, workers int, d kernel.DType) (*Training, error) {
	return cpu.NewTraining(c.Network(), c.Tensors(src), workers, d)
}

// NewLanguage reads a language model for training. c is the configuration of the
// reward model with the same backbone; tied says that the output layer is the
// embedding.
func NewLanguage(c *Config, src Source, tied bool, workers int, d kernel.DType) (*Language, error) {
	name, err := outputOf(c, src, tied)
	if err != nil {
		return nil, err
	}
	return cpu.NewLanguage(c.Network(), c.Tensors(src), name, workers, d)
}

// NewDecoder reads a language model; see [NewLanguage] for the arguments.
func NewDecoder(c *Config, src Source, tied bool, workers int) (*Decoder, error) {
	name, err := outputOf(c, src, tied)
	if err != nil {
		return nil, err
	}
	return cpu.NewDecoder(c.Network(), c.Tensors(src), name, workers)
}

// outputOf returns the name of the output layer's weight, "" when it is tied.
func outputOf(c *Config, src Source, tied bool) (string, error) {
	name := OutputLayer(c)
	switch _, ok := src.Shape(name); {
	case !c.Causal():
		return "", fmt.Errorf("%s is no language model: %w", c.Architecture, ErrArchitecture)
	case c.OutputCap > 0:
		return "", fmt.Errorf("%s as a language model bounds its logits (final_logit_softcapping), which is not computed: %w", c.Architecture, ErrArchitecture)
	case !tied:
		return name, nil
	case ok: // a copy of the embedding
		return "", &BindingError{Architecture: c.Architecture,
			Unknown: []string{name + " of a model with tied embeddings"}}
	}
	return "", nil
}

// OutputLayer returns the name of the output layer's weight in language models of
// a configuration's family.
func OutputLayer(c *Config) string {
	switch c.Architecture {
	case "GPTNeoXForSequenceClassification":
		return "embed_out.weight"
	case "InternLM2ForRewardModel":
		return "output.weight"
	}
	return "lm_head.weight"
}

// Network returns what the model of a configuration computes, without weights.
func (c *Config) Network() *nn.Network {
	a := architectures[c.Architecture]
	layers := a.new(c)
	n := &nn.Network{
		Name: c.Architecture, Layers: layers, InSource: c.tensorName, Left: c.left(), Leaves: c.leaves(),
		Embed: nn.NewProgram(0), Features: nn.NewProgram(c.Hidden), Head: c.head(),
		Tokens: layers.embedding(),
		Causal: !a.encoder, Hidden: c.Hidden, Vocab: c.VocabSize, Types: c.TypeVocab,
		Positions: c.MaxPositions,
	}
	if first := int32(c.FirstPosition); first > 0 {
		n.Uncounted, n.First = first-1, first
	}
	n.Embed.Out = layers.embed(n.Embed)
	if a, ok := layers.(averager); ok {
		each := nn.NewProgram(c.Hidden)
		if each.Out = a.each(each, each.In); each.Out != nn.NoValue {
			n.Each = each
		}
	}
	n.Features.Out = layers.features(n.Features, n.Features.In)
	if c.Mean { // of what the head would read of one token
		n.Each, n.Features = n.Features, nn.NewProgram(c.Hidden)
		n.Features.Out = n.Features.In
	}
	for _, b := range layers.blocks() {
		p := nn.NewProgram(c.Hidden)
		p.Out = b.forward(p, p.In)
		n.Blocks = append(n.Blocks, p)
		for i := range p.Ops {
			if r := p.Ops[i].Rope; r != nil && r.Limit > 0 && !slices.Contains(n.Stretched, r) {
				n.Stretched = append(n.Stretched, r)
			}
		}
	}
	return n
}
