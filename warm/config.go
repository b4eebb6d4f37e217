package warm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ignoredFields are the fields of config.json that do not change what a trained model computes in
// float32, by reason. Every field that is not here is compared, known or not: a false refusal costs
// a look, a false average costs a model. Fields whose name contains "dropout" or ends with "_pdrop"
// are ignored as well.
var ignoredFields = map[string]string{
	"_name_or_path": "provenance", "_commit_hash": "provenance", "transformers_version": "provenance",
	"unsloth_version": "provenance", "unsloth_fixed": "provenance",
	"auto_map":            "where transformers finds code",
	"quantization_config": "how weights were stored once: those that still are quantised do not open",
	"torch_dtype":         "storage", "dtype": "storage",
	"use_cache": "execution", "_attn_implementation": "execution",
	"_attn_implementation_autoset": "execution",
	"attn_implementation":          "execution", "deterministic_flash_attn": "execution",
	"reference_compile":      "execution",
	"repad_logits_with_grad": "execution", "cache_implementation": "execution", "pretraining_tp": "execution",
	"torchscript": "execution", "chunk_size_feed_forward": "execution",
	"reorder_and_upcast_attn": "execution",
	"gradient_checkpointing":  "training", "initializer_range": "training",
	"initializer_cutoff_factor": "training",
	"router_aux_loss_coef":      "training", "problem_type": "the loss; a reward is the raw logit",
	"output_attentions": "what is returned", "output_hidden_states": "what is returned",
	"return_dict": "what is returned",
	"id2label":    "names of labels; their number is num_labels", "label2id": "names of labels",
	"finetuning_task": "provenance", "task_specific_params": "generation",
	"temperature": "generation", "top_k": "generation", "top_p": "generation", "do_sample": "generation",
	"max_length": "generation", "max_new_tokens": "generation", "num_beams": "generation",
	"repetition_penalty": "generation",
	"sparse_prediction":  "masked language models", "sparse_pred_ignore_index": "masked language models",
	"decoder_bias":      "masked language models",
	"normalize_reward":  "whether OpenRLHF applies mean and std",
	"value_head_prefix": "the head's name, which its tensor has",
	"mean":              "OpenRLHF's normalisation, which is dropped from an average", "std": "OpenRLHF's normalisation",
}

// defaults are the values that transformers assumes for absent fields, for every model type ("") or
// one, where one version writes the field and another does not. A value of null counts as absent.
var defaults = map[string]map[string]any{
	"": {"is_decoder": false, "add_cross_attention": false, "legacy": true,
		"position_embedding_type": "absolute"},
	"llama": {"tie_word_embeddings": false, "attention_bias": false, "mlp_bias": false, "hidden_act": "silu",
		"rms_norm_eps": 1e-6},
	"mistral":  {"tie_word_embeddings": false, "hidden_act": "silu"},
	"qwen2":    {"tie_word_embeddings": false, "use_sliding_window": false},
	"qwen3":    {"tie_word_embeddings": false, "use_sliding_window": false, "attention_bias": false},
	"gpt_neox": {"tie_word_embeddings": false, "attention_bias": true, "use_parallel_residual": true},
	"gemma":    {"tie_word_embeddings": true, "head_dim": 256.0, "attention_bias": false},
	"gemma2":   {"tie_word_embeddings": true, "head_dim": 256.0, "attention_bias": false},
	"gemma3_text": {"tie_word_embeddings": true, "head_dim": 256.0, "attention_bias": false,
		"use_bidirectional_attention": false},
	"phi3":       {"tie_word_embeddings": false, "rms_norm_eps": 1e-5},
	"internlm2":  {"tie_word_embeddings": false, "bias": true},
	"olmo2":      {"tie_word_embeddings": false, "attention_bias": false, "rms_norm_eps": 1e-5},
	"bert":       {"tie_word_embeddings": true},
	"roberta":    {"tie_word_embeddings": true},
	"distilbert": {"tie_word_embeddings": true},
	"deberta-v2": {"tie_word_embeddings": true},
	"modernbert": {"tie_word_embeddings": true},
	"gpt2":       {"tie_word_embeddings": true},
}

// canonicalConfig returns the fields of a config.json that change the function, in one spelling for
// transformers 4 and 5: canonical name → canonical JSON.
func canonicalConfig(raw []byte) (map[string]string, error) {
	c := map[string]any{}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	modelType, _ := c["model_type"].(string)
	c["num_labels"] = numLabels(c)
	for k, v := range c {
		_, ignored := ignoredFields[k]
		if ignored || strings.Contains(k, "dropout") || strings.HasSuffix(k, "_pdrop") {
			delete(c, k)
		} else if v == nil && k != "local_rope_theta" { // Its null means something: see canonicalRope.
			delete(c, k)
		}
	}
	canonicalRope(c, modelType)
	canonicalLayers(c, modelType)
	if modelType == "gemma" { // It has both spellings of one thing, of which the newer wins.
		if act, ok := c["hidden_activation"]; ok {
			c["hidden_act"] = act
			delete(c, "hidden_activation")
		}
	}
	for _, t := range []string{"", modelType} {
		for k, v := range defaults[t] {
			if _, ok := c[k]; !ok {
				c[k] = v
			}
		}
	}
	canonicalHeads(c)
	canonicalTokens(c, modelType)
	out := make(map[string]string, len(c))
	for k, v := range c {
		s, err := canonicalJSON(v)
		if err != nil {
			return nil, fmt.Errorf("config.json: %s: %w", k, err)
		}
		out[k] = s
	}
	return out, nil
}

// numLabels is the number of outputs: that of the labels' names, else num_labels, else transformers' default.
func numLabels(c map[string]any) any {
	if names, ok := c["id2label"].(map[string]any); ok {
		return float64(len(names))
	}
	if n, ok := c["num_labels"]; ok && n != nil {
		return n
	}
	return 2.0
}

// canonicalHeads fills in the attention's dimensions that follow from others.
func canonicalHeads(c map[string]any) {
	heads, ok := c["num_attention_heads"].(float64)
	if !ok || heads == 0 {
		return
	}
	hidden, ok := c["hidden_size"].(float64)
	if _, has := c["head_dim"]; ok && !has {
		c["head_dim"] = hidden / heads
	}
	if _, has := c["num_key_value_heads"]; !has {
		c["num_key_value_heads"] = heads
	}
}

// canonicalTokens spells a list of one id as the id, and removes the padding token where no score
// depends on it: an encoder scores its first token, and the rule "last" looks at no token.
func canonicalTokens(c map[string]any, modelType string) {
	for _, key := range []string{"bos_token_id", "eos_token_id", "pad_token_id"} {
		if list, ok := c[key].([]any); ok && len(list) == 1 {
			c[key] = list[0]
		}
	}
	own, _ := c["warmserve"].(map[string]any)
	if slices.Contains(firstTokenTypes, modelType) || own["pooling"] == "last" {
		delete(c, "pad_token_id")
	}
}

// firstTokenTypes are the model types whose reward is read from the first token, or from all.
// RoBERTa's positions go by its padding token: it is none of them.
var firstTokenTypes = []string{"albert", "bert", "deberta-v2", "distilbert", "electra", "modernbert"}

// rotaryTypes are the model types with rotary embeddings, and the share of each head that is
// rotated by default.
var rotaryTypes = map[string]float64{
	"llama": 1, "mistral": 1, "qwen2": 1, "qwen3": 1, "gemma": 1, "gemma2": 1, "modernbert": 1,
	"gpt_neox": 0.25,
	"phi3":     1, "internlm2": 1, "olmo2": 1, "gemma3_text": 1,
}

// canonicalRope moves everything about rotary embeddings to rope_parameters, as transformers 5
// spells it, with defaults filled in. Fields of version 4 are read only where version 5's are
// absent.
func canonicalRope(c map[string]any, modelType string) {
	share, rotary := rotaryTypes[modelType]
	take := func(keys ...string) (found any) {
		for _, k := range keys {
			if v, ok := c[k]; ok && found == nil {
				found = v
			}
			delete(c, k)
		}
		return found
	}
	localTheta, hasLocal := c["local_rope_theta"]
	theta := take("rope_theta", "rotary_emb_base")
	globalTheta := take("global_rope_theta")
	take("local_rope_theta")
	slidingTheta := take("rope_local_base_freq")
	partial := take("partial_rotary_factor", "rotary_pct")
	scaling, _ := take("rope_scaling").(map[string]any)
	rope, _ := c["rope_parameters"].(map[string]any)
	if rope == nil {
		if rope = maps.Clone(scaling); rope == nil {
			rope = map[string]any{}
		}
		if modelType == "gemma3_text" { // What is scaled is the rotation of full layers.
			rope["rope_theta"] = or(theta, 1e6)
			rope = map[string]any{"full_attention": rope,
				"sliding_attention": map[string]any{"rope_theta": or(slidingTheta, 10000.0)}}
		}
		if modelType == "modernbert" {
			globalTheta = or(globalTheta, 160000.0)
			if !hasLocal {
				localTheta = 10000.0
			}
			rope["full_attention"] = map[string]any{"rope_theta": globalTheta}
			rope["sliding_attention"] = map[string]any{"rope_theta": or(localTheta, globalTheta)}
		}
	}
	if !rotary && len(rope) == 0 && theta == nil && partial == nil {
		return
	}
	sets := []map[string]any{rope}
	if nested := nestedSets(rope); nested != nil {
		sets = nested
	}
	for _, r := range sets {
		if t, ok := r["type"]; ok { // The spelling of early version 4.
			r["rope_type"] = or(r["rope_type"], t)
			delete(r, "type")
		}
		r["rope_type"] = or(r["rope_type"], "default")
		if r["rope_type"] == "su" { // The first name.
			r["rope_type"] = "longrope"
		}
		if at := c["original_max_position_embeddings"]; at != nil && r["rope_type"] == "longrope" {
			r["original_max_position_embeddings"] = at
		}
		r["rope_theta"] = or(r["rope_theta"], or(theta, 10000.0))
		r["partial_rotary_factor"] = or(r["partial_rotary_factor"], or(partial, or(share, 1.0)))
	}
	c["rope_parameters"] = rope
}

// nestedSets returns the parameters of each layer type, or nil when there is one set for all.
func nestedSets(rope map[string]any) (sets []map[string]any) {
	for k, v := range rope {
		if set, ok := v.(map[string]any); ok && strings.HasSuffix(k, "_attention") {
			sets = append(sets, set)
		}
	}
	return sets
}

// or returns a, or b when a is nil or the number 0.
func or(a, b any) any {
	if a == nil || a == 0.0 {
		return b
	}
	return a
}

// canonicalLayers removes layer_types where it says what follows from other fields, and windows
// that are not used.
func canonicalLayers(c map[string]any, modelType string) {
	sliding := func(int) bool { return false }
	number := func(key string) int { f, _ := c[key].(float64); return int(f) }
	switch modelType {
	case "qwen2", "qwen3":
		if c["use_sliding_window"] != true {
			delete(c, "sliding_window")
			delete(c, "max_window_layers")
		} else {
			from := number("max_window_layers")
			sliding = func(i int) bool { return i >= from }
		}
	case "gemma3_text":
		every := or(c["sliding_window_pattern"], or(c["_sliding_window_pattern"], 6.0))
		c["sliding_window_pattern"] = every
		delete(c, "_sliding_window_pattern")
		if n, ok := every.(float64); ok && n >= 1 {
			sliding = func(i int) bool { return (i+1)%int(n) != 0 }
		}
	case "gemma2":
		sliding = func(i int) bool { return i%2 == 0 }
	case "modernbert":
		if every := number("global_attn_every_n_layers"); every > 0 {
			sliding = func(i int) bool { return i%every != 0 }
		}
	default:
		return
	}
	given, ok := c["layer_types"].([]any)
	if !ok || len(given) != number("num_hidden_layers") {
		return
	}
	for i, g := range given {
		want := "full_attention"
		if sliding(i) {
			want = "sliding_attention"
		}
		if g != want {
			return
		}
	}
	delete(c, "layer_types")
}

// canonicalJSON renders a decoded value with sorted keys and one spelling for each number.
func canonicalJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// normalisationFields are what OpenRLHF stores to normalise a model's rewards.
var normalisationFields = []string{"mean", "std"}

// hasNormalisation reports whether a config.json has them.
func hasNormalisation(raw []byte) bool {
	var c map[string]json.RawMessage
	if json.Unmarshal(raw, &c) != nil {
		return false
	}
	return slices.ContainsFunc(normalisationFields, func(k string) bool { return c[k] != nil })
}
