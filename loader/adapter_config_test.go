package loader

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/torchfile"
)

func TestAdaptersAreRefusedWithTheReason(t *testing.T) {
	const q0 = "base_model.model.model.layers.0.q_proj"
	set := func(key string, v any) func(o options, m []matrix) []matrix {
		return func(o options, m []matrix) []matrix {
			o[key] = v
			return m
		}
	}
	without := func(suffix string) func(o options, m []matrix) []matrix {
		return func(_ options, m []matrix) []matrix {
			return slices.DeleteFunc(m, func(x matrix) bool { return strings.HasSuffix(x.name, suffix) })
		}
	}
	with := func(x matrix) func(o options, m []matrix) []matrix {
		return func(_ options, m []matrix) []matrix { return append(m, x) }
	}
	reshape := func(suffix string, shape ...int) func(o options, m []matrix) []matrix {
		return func(_ options, m []matrix) []matrix {
			for i := range m {
				if strings.HasSuffix(m[i].name, suffix) {
					m[i].shape = shape
				}
			}
			return m
		}
	}
	for _, c := range []struct {
		name string
		edit func(o options, m []matrix) []matrix
		want []string
	}{
		{"another method than LoRA", set("peft_type", "LOHA"), []string{`peft_type "LOHA"`}},
		{"another task", set("task_type", "TOKEN_CLS"), []string{`task_type "TOKEN_CLS"`}},
		{"no rank", set("r", 0), []string{"r 0"}},
		{"an enormous rank", set("r", 1<<40), []string{"r 1099511627776"}},
		{"a rank that is text", set("r", "8"), []string{"adapter_config.json"}},
		{"no alpha", set("lora_alpha", nil), []string{"lora_alpha is missing"}},
		{"biases", set("bias", "lora_only"), []string{`bias "lora_only"`}},
		{"DoRA", set("use_dora", true), []string{"use_dora: DoRA scales"}},
		{"activated LoRA", set("alora_invocation_tokens", []int{1}), []string{"alora_invocation_tokens", "tokens"}},
		{"replicated layers", set("layer_replication", []int{0}), []string{"layer_replication"}},
		{"a bias of the change", set("lora_bias", true), []string{"lora_bias"}},
		{"tokens that are trained", set("trainable_token_indices", []int{3}), []string{"trainable_token_indices"}},
		{"an option of the future", set("use_xlora9", true), []string{"use_xlora9: an option that is not known here"}},
		{"a base that was changed", set("init_lora_weights", "pissa_niter_4"), []string{"pissa_niter_4"}},
		{"several reasons, all of which are named", func(o options, m []matrix) []matrix {
			o["bias"], o["use_dora"], o["r"] = "all", true, -1
			return m
		}, []string{"bias", "use_dora", "r -1"}},
		{"experts that the base does not have", func(o options, m []matrix) []matrix {
			o["target_parameters"] = []string{"experts.down_proj"}
			return append(m, matrix{name: "base_model.model.model.layers.0.mlp.experts.lora_A.weight", shape: []int{testRank, testIn}},
				matrix{name: "base_model.model.model.layers.0.mlp.experts.lora_B.weight", shape: []int{testOut, testRank}})
		}, []string{`"model.layers.0.mlp.experts": the base has no matrices of single experts`}},
		{"half of a change of experts", func(o options, m []matrix) []matrix {
			o["target_parameters"] = []string{"experts.down_proj"}
			return append(m, matrix{name: "base_model.model.model.layers.0.mlp.experts.lora_A.weight", shape: []int{testRank, testIn}})
		}, []string{`"model.layers.0.mlp.experts" has no matrices lora_A and lora_B`}},
		{"no targets", set("target_modules", nil), []string{"target_modules"}},
		{"an empty target", set("target_modules", []string{""}), []string{"target_modules"}},
		{"a target pattern that is none", set("target_modules", "("), []string{"target_modules"}},
		{"a rank pattern that is none", set("rank_pattern", options{"(": 1}), []string{"rank_pattern"}},
		{"a rank of zero by a pattern", set("rank_pattern", options{"q_proj": 0}), []string{"rank_pattern: 0"}},
		{"half a rank by a pattern", set("rank_pattern", options{"q_proj": 1.5}), []string{"rank_pattern: 1.5"}},
		{"an alpha pattern without a number", set("alpha_pattern", options{"q": "x"}), []string{"alpha_pattern", `"q"`}},
		{"a list for a pattern", set("alpha_pattern", []int{1}), []string{"alpha_pattern"}},
		{"targets of another architecture alone", func(o options, _ []matrix) []matrix {
			o["target_modules"], o["task_type"] = []string{"c_attn", "lm_head2"}, "CAUSAL_LM"
			return nil
		}, []string{"it changes nothing", "q_proj", "base_model_name_or_path"}},
		{"a target that the adapter does not change", set("target_modules", []string{"q_proj", "embed_tokens"}), []string{`module "model.embed_tokens" is among the target_modules`}},
		{"a change of no target", set("target_modules", []string{"layers.0.q_proj"}), []string{`module "model.layers.1.q_proj" is not among the target_modules`}},
		{"a change that is missing", without("layers.1.q_proj.lora_A.weight"), []string{`"model.layers.1.q_proj" has one of lora_A and lora_B`}},
		{"a module that is missing", func(_ options, m []matrix) []matrix { return m[:3] }, []string{`module "model.layers.1.q_proj" is among the target_modules and has no lora_A`}},
		{"another rank than the configuration's", set("r", testRank+1), []string{"want rank 7"}},
		{"another rank by a pattern", set("rank_pattern", options{"q_proj": 2}), []string{"want rank 2"}},
		{"A that does not fit", reshape("layers.0.q_proj.lora_A.weight", testRank, testIn/2), []string{"does not fit the base's [5 300]"}},
		{"B that does not fit", reshape("layers.0.q_proj.lora_B.weight", testOut+1, testRank), []string{"does not fit the base's [5 300]"}},
		{"B that is a vector", reshape("layers.0.q_proj.lora_B.weight", testOut*testRank), []string{"want matrices"}},
		{"A of integers", func(_ options, m []matrix) []matrix { m[1].dtype = "I32"; return m }, []string{"I32"}},
		{"a module that the base does not have", func(o options, m []matrix) []matrix {
			return append(m, matrix{name: "base_model.model.extra.q_proj.lora_A.weight", shape: []int{testRank, testIn}},
				matrix{name: "base_model.model.extra.q_proj.lora_B.weight", shape: []int{testOut, testRank}})
		}, []string{`module "extra.q_proj" is not in the base`}},
		{"a vector of magnitudes", with(matrix{name: q0 + ".lora_magnitude_vector", shape: []int{5}}), []string{"lora_magnitude_vector", "no matrix A or B"}},
		{"an embedding", with(matrix{name: "base_model.model.model.embed_tokens.lora_embedding_A", shape: []int{5}}), []string{"lora_embedding_A"}},
		{"a name without PEFT's prefix", with(matrix{name: "score.bias", shape: []int{1}}), []string{`"score.bias"`, "base_model.model."}},
		{"a tensor that nobody asked for", with(matrix{name: "base_model.model.model.norm.weight", shape: []int{testIn}}), []string{"modules_to_save"}},
		{"a replacement of another shape", func(o options, m []matrix) []matrix {
			o["modules_to_save"] = []string{"norm"}
			return append(m, matrix{name: "base_model.model.model.norm.weight", shape: []int{2}})
		}, []string{"shape [2], the base has [300]"}},
		{"a module that is changed and replaced", func(o options, m []matrix) []matrix {
			o["modules_to_save"] = []string{"q_proj"}
			return m
		}, []string{"is changed and replaced"}},
		{"no score head over a language model", func(_ options, m []matrix) []matrix { return m[1:] }, []string{"no matrix score.weight"}},
		{"a score head without rows", reshape("score.weight", 0, testIn), []string{"has 0 rows"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := adapterOptions()
			dir := writeAdapter(t, o, adapterTensors())
			tensors := c.edit(o, adapterTensors())
			for i := range tensors {
				n := 1
				for _, d := range tensors[i].shape {
					n *= d
				}
				tensors[i].values = make([]float32, n)
			}
			writeAdapterTo(t, dir, o, tensors)
			_, err := Open(dir)
			require.ErrorIs(t, err, ErrAdapter)
			assert.ErrorContains(t, err, dir)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

func TestAdaptersWithoutTheirFilesAreRefused(t *testing.T) {
	dir := writeAdapter(t, adapterOptions(), adapterTensors())
	require.NoError(t, os.Remove(filepath.Join(dir, adapterWeightsFile)))
	_, err := Open(dir)
	assert.ErrorContains(t, err, "adapter_model.safetensors is missing")
	require.NoError(t, os.WriteFile(filepath.Join(dir, adapterTorchFile), nil, 0o600))
	_, err = Open(dir)
	assert.ErrorIs(t, err, torchfile.ErrFormat)
	require.NoError(t, os.WriteFile(filepath.Join(dir, adapterWeightsFile), []byte("cut"), 0o600))
	_, err = Open(dir)
	assert.Error(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfigFile), []byte("["), 0o600))
	_, err = Open(dir)
	assert.ErrorIs(t, err, ErrJSON)
}

func TestThePaddingTokenOfTheBaseMustBeOneOfItsTokens(t *testing.T) {
	for name, c := range map[string]struct{ tokenizer, config, want string }{
		"a token that is not there":    {`{"added_tokens":[]}`, `{"pad_token":"<pad>"}`, `pad_token "<pad>" is not among the added_tokens`},
		"a tokenizer of another shape": {`{"added_tokens":3}`, `{"pad_token":"<pad>"}`, tokenizerFile},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeAdapter(t, adapterOptions(), adapterTensors())
			base := filepath.Join(dir, "..", "base")
			require.NoError(t, os.WriteFile(filepath.Join(base, tokenizerFile), []byte(c.tokenizer), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(base, tokenizerConfigFile), []byte(c.config), 0o600))
			_, err := Open(dir)
			require.ErrorIs(t, err, ErrAdapter)
			assert.ErrorContains(t, err, c.want)
		})
	}
	t.Run("and may be none, or an object", func(t *testing.T) {
		dir := writeAdapter(t, adapterOptions(), adapterTensors())
		base := filepath.Join(dir, "..", "base")
		for config, want := range map[string]string{`{}`: "", `{"pad_token":{"content":"<pad>"}}`: `"pad_token_id": 7`} {
			require.NoError(t, os.WriteFile(filepath.Join(base, tokenizerConfigFile), []byte(config), 0o600))
			c := mustOpen(t, dir)
			assert.Equal(t, want != "", strings.Contains(string(c.Config), "pad_token_id"))
			assert.Contains(t, string(c.Config), want)
		}
	})
}

// FuzzAdapterConfig holds that what is accepted has finite scales and can be asked about any module.
func FuzzAdapterConfig(f *testing.F) {
	good, err := json.Marshal(adapterOptions())
	require.NoError(f, err)
	for _, s := range []string{string(good), `{}`, `[]`, `{"r":1e99}`,
		`{"peft_type":"LORA","task_type":"CAUSAL_LM","r":4,"lora_alpha":-8,"target_modules":"all-linear","rank_pattern":{"^a.*":2,"b|c":3},"alpha_pattern":{"(?i)Q":1e308}}`,
		`{"peft_type":"LORA","task_type":"SEQ_CLS","r":1,"lora_alpha":0,"target_modules":["a.b","a.b"],"exclude_modules":"x","modules_to_save":["",".","score"],"use_rslora":true}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseAdapterConfig(raw)
		if err != nil {
			return
		}
		for _, module := range []string{"", "a", "model.layers.0.self_attn.q_proj", "score", ".", "a.b"} {
			c.isTarget(module)
			c.isWhole(module)
			scale := c.scale(module)
			if scale-scale != 0 {
				t.Fatalf("scale %v of %s", scale, raw)
			}
		}
	})
}
