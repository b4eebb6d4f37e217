package model

import (
	"math"

	"github.com/warmserve/warmserve/model/nn"
)

// architecture is what differs between the classes of transformers before any
// weight is read: defaults of absent keys and the constructor.
type architecture struct {
	modelType   string
	embedding   string // name of the tensor with a row for each token
	head        string // name of the score head's tensors where that is no decoder's
	new         func(c *Config) network
	activations map[string]nn.Activation
	defaults    defaults
	grouped     bool // num_key_value_heads and head_dim are read
	layerNorm   bool // layer_norm_eps rather than rms_norm_eps
	encoder     bool // bidirectional, scored at its first token
	// disentangled: DeBERTa's keys are read, and token types have no default.
	disentangled bool
	modern       bool     // ModernBERT's keys are read
	tied         bool     // tie_word_embeddings of language models is true where it is absent
	left         []string // tensors that checkpoints may have and no output depends on
	padded       bool     // positions count the tokens that are not padding, from the padding token's id on
	window       windowRule
	geluIsTanh   bool     // hidden_act "gelu" of the first files means the tanh form
	plainBias    bool     // the key of attention's biases is "bias"
	experts      *Experts // the class's own; nil where layers have none. Without Intermediate they have the layers'
}

// defaults are the configuration class's own, for keys that are absent.
type defaults struct {
	ropeTheta     float64 // 0: the class has no rotary embedding
	rotaryShare   float64 // 0: the class has no partial rotary embedding
	layerNormEps  float64
	rmsNormEps    float64 // 0 for 1e-6
	original      float64 // original_max_position_embeddings; 0: max_position_embeddings
	activation    string
	attentionBias bool
	kvHeads       *int
	headDim       *int
	pad           *int32
	types         int     // type_vocab_size; 0: the class has no token types
	embedding     int     // embedding_size; 0: the embedding is as wide as the blocks
	groups        int     // num_hidden_groups, of inner_group_num blocks; 0: each block has weights of its own
	widening      int     // n_inner, in widths of the blocks
	fixedEps      float64 // what norms have whatever the configuration says
	queryScalar   float64 // query_pre_attn_scalar; 0: scores are divided by √head_dim
	localTheta    float64 // rope_local_base_freq, of sliding layers; 0: that of all
	softCap       float64 // attn_logit_softcapping; 0: the class has none
	outputCap     float64 // final_logit_softcapping; 0: the class has none
}

type windowRule uint8

const (
	noWindow     windowRule = iota
	always                  // sliding_window holds for every layer
	whenUsed                // only with use_sliding_window, from max_window_layers on
	alternating             // sliding_window holds for every second layer, the first included
	patterned               // sliding_window holds for all but each sliding_window_pattern-th layer
	whenGiven               // sliding_window holds for every layer, and there is none by default
	allWhenUsed             // only with use_sliding_window, then for every layer
	halfWhenUsed            // only with use_sliding_window, then for every second layer below max_window_layers, the first included
)

// architectures are the supported classes, by the name in config.json.
var architectures = map[string]architecture{
	"LlamaForSequenceClassification": {
		modelType: "llama", embedding: "model.embed_tokens.weight", new: newLlama,
		activations: gatedActivations, grouped: true,
		defaults: defaults{ropeTheta: 10000, activation: "silu"},
	},
	"MistralForSequenceClassification": {
		modelType: "mistral", embedding: "model.embed_tokens.weight", new: newMistral,
		activations: gatedActivations, grouped: true, window: always,
		defaults: defaults{ropeTheta: 10000, activation: "silu", kvHeads: new(8)},
	},
	"Qwen2ForSequenceClassification": {
		modelType: "qwen2", embedding: "model.embed_tokens.weight", new: newQwen2,
		activations: gatedActivations, grouped: true, window: whenUsed,
		defaults: defaults{ropeTheta: 10000, activation: "silu"},
	},
	"Qwen3ForSequenceClassification": {
		modelType: "qwen3", embedding: "model.embed_tokens.weight", new: newQwen3,
		activations: gatedActivations, grouped: true, window: whenUsed,
		defaults: defaults{ropeTheta: 10000, activation: "silu", headDim: new(128)},
	},
	"MixtralForSequenceClassification": {
		modelType: "mixtral", embedding: "model.embed_tokens.weight", new: newMixtral,
		activations: gatedActivations, grouped: true, window: whenGiven,
		defaults: defaults{ropeTheta: 1e6, rmsNormEps: 1e-5, activation: "silu", kvHeads: new(8)},
		experts:  &Experts{Count: 8, Top: 2, Normalized: true},
	},
	"Qwen2MoeForSequenceClassification": {
		modelType: "qwen2_moe", embedding: "model.embed_tokens.weight", new: newQwen2MoE,
		activations: gatedActivations, grouped: true, window: halfWhenUsed,
		defaults: defaults{ropeTheta: 10000, activation: "silu", kvHeads: new(16), attentionBias: true},
		experts:  &Experts{Count: 60, Top: 4, Intermediate: 1408, Shared: 5632},
	},
	"Qwen3MoeForSequenceClassification": {
		modelType: "qwen3_moe", embedding: "model.embed_tokens.weight", new: newQwen3MoE,
		activations: gatedActivations, grouped: true, window: allWhenUsed,
		defaults: defaults{ropeTheta: 10000, activation: "silu", kvHeads: new(4)},
		experts:  &Experts{Count: 128, Top: 8, Intermediate: 768},
	},
	"GemmaForSequenceClassification": {
		tied: true, modelType: "gemma", embedding: "model.embed_tokens.weight", new: newGemma,
		activations: gatedActivations, grouped: true, geluIsTanh: true,
		defaults: defaults{ropeTheta: 10000, activation: "gelu_pytorch_tanh", kvHeads: new(16),
			headDim: new(256), pad: new(int32(0))},
	},
	"Gemma2ForSequenceClassification": {
		tied: true, modelType: "gemma2", embedding: "model.embed_tokens.weight", new: newGemma2,
		activations: gatedActivations, grouped: true, window: alternating,
		defaults: defaults{ropeTheta: 10000, activation: "gelu_pytorch_tanh", kvHeads: new(4),
			headDim: new(256), pad: new(int32(0)), queryScalar: 256, softCap: 50, outputCap: 30},
	},
	"Gemma3TextForSequenceClassification": {
		tied: true, modelType: "gemma3_text", embedding: "model.embed_tokens.weight", new: newGemma3,
		activations: gatedActivations, grouped: true, window: patterned,
		defaults: defaults{ropeTheta: 1e6, localTheta: 10000, activation: "gelu_pytorch_tanh",
			kvHeads: new(4), headDim: new(256), pad: new(int32(0)), queryScalar: 256},
	},
	"Phi3ForSequenceClassification": {
		modelType: "phi3", embedding: "model.embed_tokens.weight", new: newPhi3,
		activations: gatedActivations, grouped: true, window: whenGiven,
		defaults: defaults{ropeTheta: 10000, rotaryShare: 1, rmsNormEps: 1e-5, original: 4096,
			activation: "silu", pad: new(int32(32000))},
	},
	"InternLM2ForRewardModel": {
		modelType: "internlm2", embedding: "model.tok_embeddings.weight", new: newInternLM2,
		activations: gatedActivations, grouped: true, plainBias: true,
		defaults: defaults{ropeTheta: 10000, activation: "silu", attentionBias: true, pad: new(int32(0))},
	},
	"Olmo2ForSequenceClassification": {
		modelType: "olmo2", embedding: "model.embed_tokens.weight", new: newOLMo2,
		activations: gatedActivations, grouped: true,
		defaults: defaults{ropeTheta: 10000, rmsNormEps: 1e-5, activation: "silu", pad: new(int32(1))},
	},
	"GPTNeoXForSequenceClassification": {
		modelType: "gpt_neox", embedding: "gpt_neox.embed_in.weight", new: newGPTNeoX,
		activations: plainActivations, layerNorm: true,
		defaults: defaults{ropeTheta: 10000, rotaryShare: 0.25, layerNormEps: 1e-5,
			activation: "gelu", attentionBias: true},
	},
	"GPT2ForSequenceClassification": {
		tied: true, modelType: "gpt2", embedding: "transformer.wte.weight", new: newGPT2,
		activations: plainActivations, layerNorm: true,
		defaults: defaults{layerNormEps: 1e-5, activation: "gelu_new", widening: 4},
	},
	"BertForSequenceClassification": {
		modelType: "bert", embedding: "bert.embeddings.word_embeddings.weight", head: "classifier",
		new: newBert, activations: plainActivations, layerNorm: true, encoder: true,
		defaults: defaults{layerNormEps: 1e-12, activation: "gelu", types: 2},
	},
	"DistilBertForSequenceClassification": {
		modelType: "distilbert", embedding: "distilbert.embeddings.word_embeddings.weight",
		head: "classifier", new: newDistilBERT, activations: plainActivations, layerNorm: true,
		encoder:  true,
		defaults: defaults{fixedEps: 1e-12, activation: "gelu"},
	},
	"ElectraForSequenceClassification": {
		modelType: "electra", embedding: "electra.embeddings.word_embeddings.weight",
		head: "classifier.out_proj", new: newElectra, activations: plainActivations,
		layerNorm: true, encoder: true,
		defaults: defaults{layerNormEps: 1e-12, activation: "gelu", types: 2, embedding: 128},
	},
	"AlbertForSequenceClassification": {
		modelType: "albert", embedding: "albert.embeddings.word_embeddings.weight",
		head: "classifier", new: newAlbert, activations: plainActivations, layerNorm: true, encoder: true,
		defaults: defaults{layerNormEps: 1e-12, activation: "gelu_new", types: 2, embedding: 128, groups: 1},
	},
	"DebertaV2ForSequenceClassification": {
		modelType: "deberta-v2", embedding: "deberta.embeddings.word_embeddings.weight",
		head: "classifier", new: newDeberta, activations: plainActivations, layerNorm: true,
		encoder: true, disentangled: true,
		defaults: defaults{layerNormEps: 1e-7, activation: "gelu"},
	},
	"ModernBertForSequenceClassification": {
		modelType: "modernbert", embedding: "model.embeddings.tok_embeddings.weight",
		head: "classifier", new: newModernBERT, activations: gatedActivations, layerNorm: true,
		encoder: true, modern: true,
		defaults: defaults{layerNormEps: 1e-5, activation: "gelu"},
	},
	"RobertaForSequenceClassification":    robertaArchitecture("roberta"),
	"XLMRobertaForSequenceClassification": robertaArchitecture("xlm-roberta"),
}

// robertaArchitecture is RoBERTa's, which other model types name as their own.
func robertaArchitecture(modelType string) architecture {
	return architecture{
		left:      []string{"roberta.pooler.dense.weight", "roberta.pooler.dense.bias"},
		modelType: modelType, embedding: "roberta.embeddings.word_embeddings.weight",
		head: "classifier.out_proj", new: newRoberta, activations: plainActivations,
		layerNorm: true, encoder: true, padded: true,
		defaults: defaults{layerNormEps: 1e-12, activation: "gelu", types: 2, pad: new(int32(1))},
	}
}

// network is one architecture with its weights: an embedding and a stack of blocks,
// below a head. What each part computes is a program, which
// executors run: see [nn.Program].
type network interface {
	// embed is the input of the first block.
	embed(p *nn.Program) nn.Value
	blocks() []block
	// features is what a head reads of the last block's output: the score head,
	// or the output layer of a language model.
	features(p *nn.Program, x nn.Value) nn.Value
	embedding() *nn.Embedding // of token ids
}

// averager is a network whose head reads the mean of all tokens.
type averager interface {
	// each is what the mean is of, or NoValue where the head reads one token.
	each(p *nn.Program, x nn.Value) nn.Value
}

// block is one layer of a network: attention and a feed-forward network, with
// their norms and residual connections.
type block interface {
	forward(p *nn.Program, x nn.Value) nn.Value
}

// blocksOf lists the blocks of a network.
func blocksOf[B any, P interface {
	*B
	block
}](layers []B) []block {
	out := make([]block, len(layers))
	for i := range layers {
		out[i] = P(&layers[i])
	}
	return out
}

// newAttention returns the attention of a layer.
func newAttention(c *Config, layer int, causal bool) nn.Attention {
	a := nn.Attention{H: c.Heads, K: c.KVHeads, D: c.HeadDim, Scale: nn.DefaultScale(c.HeadDim),
		Causal: causal, Window: c.Window(layer), SoftCap: float32(c.SoftCap)}
	if c.QueryScalar > 0 {
		a.Scale = float32(1 / math.Sqrt(c.QueryScalar))
	}
	if c.Unscaled {
		a.Scale = 1
	}
	if c.ScaleByLayer {
		a.Scale /= float32(layer + 1)
	}
	return a
}
