package backend

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model"
)

// teiClasses are the classes that TEI classifies with, but for DeBERTa's, whose scores depend on
// what is computed beside them there: each sequence attends to the padding behind it.
//
// Source: text-embeddings-inference at 0d124dc, backends/candle/src/lib.rs and models; measured.
var teiClasses = []string{"BertForSequenceClassification", "RobertaForSequenceClassification", "XLMRobertaForSequenceClassification",
	"DistilBertForSequenceClassification", "ModernBertForSequenceClassification"}

// teiLeavesOut says what of a model TEI would not compute; "" where it computes all of it.
func teiLeavesOut(c *model.Config) string {
	switch m := c.ModernBERT; {
	case c.Architecture == "DebertaV2ForSequenceClassification":
		return "it has DeBERTa's sequences attend to their padding, so that a score depends on what is computed beside it"
	case !slices.Contains(teiClasses, c.Architecture):
		return fmt.Sprintf("it classifies with encoders of BERT's, RoBERTa's, XLM-RoBERTa's, DistilBERT's and ModernBERT's "+
			"class alone, and the model is a %s", c.Architecture)
	case c.NoPooler && (c.Mean || c.Architecture != "BertForSequenceClassification"):
		return "the head reads what the encoder leaves, and its class has a layer between"
	case m == nil:
		return ""
	case m.NormBias || m.HeadBias:
		return "its norms, or the layer before its score head, have biases (norm_bias, classifier_bias), which it does not read"
	case !slices.Equal(m.Reach, reaches(m, everyOf(m))):
		return "its layers see all tokens by a pattern (layer_types) that no global_attn_every_n_layers says"
	}
	return ""
}

// everyOf is which layers of ModernBERT see all tokens: each of so many, from the first on.
func everyOf(m *model.ModernBERT) int {
	if n := slices.Index(m.Reach[1:], 0); n >= 0 {
		return n + 1
	}
	return max(2, len(m.Reach))
}

// reaches are those of layers of which each of so many sees all tokens.
func reaches(m *model.ModernBERT, every int) []int {
	out := make([]int, len(m.Reach))
	for i := range out {
		if i%every != 0 {
			out[i] = slices.Max(m.Reach)
		}
	}
	return out
}

// teiOwn are keys of config.json whose value is written for TEI in any case: what it spells or
// counts otherwise, or what was set beside the checkpoint.
var teiOwn = []string{"hidden_act", "activation", "hidden_activation", "classifier_activation", "classifier_pooling",
	"global_attn_every_n_layers"}

// teiFields is what TEI wants config.json to say, as it has no defaults for absent keys and
// reads the spelling of transformers 4. Those of training compute nothing here.
func teiFields(c *model.Config) map[string]any {
	activation, pad := teiActivation(c.Activation), int32(0)
	if c.PadTokenID != nil {
		pad = *c.PadTokenID
	}
	if m := c.ModernBERT; m != nil {
		pooling := "cls"
		if m.Mean {
			pooling = "mean"
		}
		return map[string]any{"hidden_activation": activation, "norm_eps": c.NormEps, "norm_bias": false, "attention_bias": c.AttentionBias,
			"global_rope_theta": c.RopeTheta, "local_rope_theta": m.LocalTheta, "global_attn_every_n_layers": everyOf(m),
			"local_attention": max(2, 2*slices.Max(m.Reach)), "classifier_activation": teiActivation(m.HeadAct), "classifier_pooling": pooling, "num_labels": c.Outputs(),
			"pad_token_id": pad, "bos_token_id": 0, "eos_token_id": 0, "cls_token_id": 0, "sep_token_id": 0,
			"initializer_range": 0.02, "initializer_cutoff_factor": 2.0, "attention_dropout": 0.0}
	}
	if c.ModelType == "distilbert" {
		return map[string]any{"activation": activation, "pad_token_id": pad}
	}
	return map[string]any{"hidden_act": activation, "type_vocab_size": c.TypeVocab, "layer_norm_eps": c.NormEps, "pad_token_id": pad,
		"initializer_range": 0.02, "hidden_dropout_prob": 0.0}
}

// teiActivation is what TEI calls an activation: it knows fewer names.
func teiActivation(name string) string {
	switch name {
	case "gelu_fast":
		return "gelu_new"
	case "swish":
		return "silu"
	}
	return name
}
