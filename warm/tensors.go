package warm

import (
	"regexp"
	"slices"
	"strings"
)

// bufferSuffixes end the names of tensors that older checkpoints store although they are no
// parameters: models recompute them from the configuration, and averaging some of them (ids, masks)
// would make nonsense.
var bufferSuffixes = []string{
	"rotary_emb.inv_freq",          // frequencies of rotary embeddings
	"rotary_emb.cos_cached",        // tables of them
	"rotary_emb.sin_cached",        // tables of them
	"rotary_emb.original_inv_freq", // frequencies before a scaling
	"rotary_pos_emb.inv_freq",      // frequencies in ports of other code bases
	"embeddings.position_ids",      // 0, 1, 2, … of BERT and its kin
	"embeddings.token_type_ids",    // zeros of RoBERTa
	"attn.bias",                    // causal mask of GPT-2
	"attn.masked_bias",             // what GPT-2 puts where the mask is
	"attention.bias",               // causal mask of GPT-NeoX
	"attention.masked_bias",        // what GPT-NeoX puts where the mask is
	"num_batches_tracked",          // what batch norms have seen
	"normalizer.count",             // what beaver's normaliser has seen
}

// isBuffer reports whether a tensor is no parameter. A suffix counts from a dot on, so that
// "xattn.bias" is a parameter.
func isBuffer(name string) bool {
	return slices.ContainsFunc(bufferSuffixes, func(s string) bool {
		return name == s || strings.HasSuffix(name, "."+s)
	})
}

// isFloat reports whether the loader reads a stored type as float32.
func isFloat(dtype string) bool {
	return dtype == "F32" || dtype == "BF16" || dtype == "F16" || dtype == "F64"
}

// headNames are the tensors that turn a hidden state into a reward, in the checkpoints of various trainers.
var headNames = []string{
	"score.weight",               // decoders in transformers
	"classifier.weight",          // BERT, DistilBERT, DeBERTa, ModernBERT in transformers
	"classifier.out_proj.weight", // RoBERTa in transformers
	"value_head.weight",          // older OpenRLHF
	"v_head.summary.weight",      // TRL's value head, LLaMA-Factory
	"scalar_head.weight",         // CleanRL's scalar model
	"v_head.weight",              // Starling, Athene, InternLM2
	"regression_head.weight",     // UltraRM, Eurus
	"score_head.weight",          // beaver
	"regression_layer.weight",    // ArmoRM, QRM
}

// topHead is Open-Assistant's, a name that attention has, too, inside of layers.
const topHead = "out_proj.weight"

// headLayer is the number of a layer of a head that is a sequence of them, as in score.2.weight.
var headLayer = regexp.MustCompile(`\.\d+\.weight$`)

// languageHeads are output layers of language models, which a reward model's checkpoint may have
// kept and which nothing reads.
var languageHeads = []string{"lm_head.weight", "embed_out.weight"}

// heads returns the score heads among names; several at once would be strange, but that is the
// model's business.
func heads(names []string) (out []string) {
	for _, n := range names {
		whole := headLayer.ReplaceAllString(n, ".weight")
		if n == topHead || slices.ContainsFunc(headNames,
			func(h string) bool { return whole == h || strings.HasSuffix(whole, "."+h) }) {
			out = append(out, n)
		}
	}
	return out
}
