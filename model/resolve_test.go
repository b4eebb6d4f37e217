package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cpu"
)

// TestHeadsOfOtherTrainersScoreAsTheirOwnCode holds linear heads under every name, with and without a bias, against the
// families' own scores. The tolerance is that of float32 sums.
func TestHeadsOfOtherTrainersScoreAsTheirOwnCode(t *testing.T) {
	for name, head := range map[string]string{"openrlhf-value-head": "value_head.weight", "openrlhf-bf16": "score.weight", "openrlhf-normalized": "score.weight",
		"score-bias": "score.weight", "trl-value-head": "v_head.summary.weight", "grm-linear": "v_head.summary.weight", "grm-sftreg": "v_head.summary.2.weight",
		"inform": "score.2.weight", "qwen2-rm": "score.2.weight", "ultrarm": "regression_head.weight", "eurus": "regression_head.weight", "athene": "v_head.weight"} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, head, scoresOfFamily(t, name, "config.json").HeadTensors()[0])
		})
	}
}

func TestBodiesScoreAsTransformersInEverySpelling(t *testing.T) {
	for _, name := range []string{"gemma2-scalar", "llama-linear", "llama-llama3", "llama-yarn", "llama-yarn-betas", "qwen2-yarn", "llama-longrope", "llama-dynamic",
		"phi3-window", "phi3-longrope", "phi3-partial", "internlm2", "internlm2-bias", "internlm2-dynamic", "olmo2", "gemma3-text", "gemma3-linear", "gemma3-bf16", "mistral-headdim", "xlm-roberta", "electra", "albert", "qwen3-window-off", "qwen2-window-on",
		"mixtral", "qwen2-moe", "qwen3-moe", "qwen3-moe-raw"} {
		spellings, err := filepath.Glob(filepath.Join(goldens(t), "..", "goldens-families", name, "config*.json"))
		require.NoError(t, err)
		for _, config := range spellings {
			t.Run(name+"/"+filepath.Base(config), func(t *testing.T) {
				eachLevel(t, func(t *testing.T) { scoresOfFamily(t, name, filepath.Base(config)) })
			})
		}
	}
}

// scoresOfFamily compares a checkpoint of the reference material with its own
// scores, and returns its configuration.
func scoresOfFamily(t *testing.T, name, config string) *Config {
	dir := filepath.Join(goldens(t), "..", "goldens-families", name)
	data, err := os.ReadFile(filepath.Join(dir, config))
	if err != nil {
		t.Skipf("no reference values: %v", err)
	}
	src := openSource(t, filepath.Join(dir, "model.safetensors"))
	c, _, err := Resolve(data, src, Settings{})
	require.NoError(t, err)
	m, err := Load(c, src, LoadOptions{})
	require.NoError(t, err)
	engine := NewEngine(1)
	defer engine.Close()
	raw, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(t, err)
	var golden struct {
		Sequences []struct {
			IDs   []int32 `json:"input_ids"`
			Types []int32 `json:"token_type_ids"`
		} `json:"sequences"`
		Scores []float64 `json:"scores_f64"`
		At     []int     `json:"scored_positions"`
	}
	require.NoError(t, json.Unmarshal(raw, &golden))
	require.NotEmpty(t, golden.Sequences)
	worst := 0.0
	for i, s := range golden.Sequences {
		got := make([]float32, 1)
		at := 0
		if c.Causal() {
			at = len(s.IDs) - 1
		}
		if golden.At != nil {
			at = golden.At[i]
		}
		require.NoError(t, engine.Score(m, got, []Sequence{{IDs: s.IDs, Types: s.Types, Read: []int32{int32(at)}}}))
		assert.InDelta(t, golden.Scores[i], got[0], 2e-5)
		worst = max(worst, math.Abs(golden.Scores[i]-float64(got[0])))
	}
	t.Logf("largest difference %.1e", worst)
	return c
}

func TestTensorsDecideWhereLabelsDisagree(t *testing.T) {
	base, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	source := func(edit func(*Random)) *Random {
		src := NewRandom(base, 1)
		if edit != nil {
			edit(src)
		}
		return src
	}
	rename := func(head string) func(*Random) {
		return func(r *Random) {
			r.shapes[head] = r.shapes["score.weight"]
			delete(r.shapes, "score.weight")
			for i, n := range r.names {
				if n == "score.weight" {
					r.names[i] = head
				}
			}
		}
	}
	with := func(set map[string]any) string {
		var c map[string]any
		require.NoError(t, json.Unmarshal([]byte(configs["llama"]), &c))
		c["model_type"] = "llama"
		for k, v := range set {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		out, err := json.Marshal(c)
		require.NoError(t, err)
		return string(out)
	}
	for _, c := range []struct {
		name, config string
		src          *Random
		note, fails  string
		check        func(t *testing.T, c *Config)
	}{
		{name: "they agree", config: with(nil), src: source(nil)},
		{name: "a class of its own", config: with(map[string]any{"architectures": []string{"RewardModel"}}), src: source(nil), note: "read as LlamaForSequenceClassification"},
		{name: "no class", config: with(map[string]any{"architectures": nil}), src: source(nil), note: "architectures names none"},
		{name: "a language model's class over a score head", config: with(map[string]any{"architectures": []string{"LlamaForCausalLM"}}), src: source(nil), note: "LlamaForCausalLM"},
		{name: "a language model", config: with(map[string]any{"architectures": []string{"LlamaForCausalLM"}}), src: source(rename("lm_head.weight")), fails: "a base for training"},
		{name: "an unknown model type", config: with(map[string]any{"architectures": []string{"RewardModel"}, "model_type": "mamba"}), src: source(nil), fails: "mamba"},
		{name: "a model type against the class", config: with(map[string]any{"model_type": "qwen2"}), src: source(nil), fails: "model_type"},
		{name: "no word about labels", config: with(map[string]any{"id2label": nil, "num_labels": nil}), src: source(nil)},
		{name: "two labels for one row", config: with(map[string]any{"id2label": map[string]string{"0": "a", "1": "b"}}), src: source(nil), note: "the tensor counts"},
		{name: "two rows", config: with(nil), src: source(func(r *Random) { r.shapes["score.weight"] = []int{2, 40} }), fails: "score.weight has 2 outputs (0, 1) and nothing says which is the reward"},
		{name: "a head of a name that the configuration has", config: with(map[string]any{"value_head_prefix": "my_head"}), src: source(rename("my_head.weight")),
			check: func(t *testing.T, c *Config) { assert.Equal(t, "my_head", c.Head) }},
		{name: "a vocabulary that was resized", config: with(map[string]any{"vocab_size": 7}), src: source(nil), note: "vocab_size in config.json is 7",
			check: func(t *testing.T, c *Config) { assert.Equal(t, base.VocabSize, c.VocabSize) }},
		{name: "an output layer beside the head", config: with(nil), src: source(func(r *Random) {
			r.names = append(r.names, "lm_head.weight")
			r.shapes["lm_head.weight"] = []int{3, 3}
		}), note: "lm_head.weight is left out"},
		{name: "OpenRLHF's normalisation", config: with(map[string]any{"mean": 0.5, "std": 2}), src: source(nil), note: "not applied"},
		{name: "a number for a string", config: with(map[string]any{"id2label": map[string]any{"0": 1}}), src: source(nil), fails: "id2label: holds a number where a string is wanted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, notes, err := Resolve([]byte(c.config), c.src, Settings{})
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			if c.note == "" {
				assert.Empty(t, notes)
			}
			assert.Contains(t, strings.Join(notes, "\n"), c.note)
			if c.check != nil {
				c.check(t, got)
			}
			_, err = Count(got, c.src)
			assert.NoError(t, err)
			assert.Equal(t, 1, got.NumLabels)
		})
	}
}

// TestPartsOfAHeadMustGoTogether gives heads of families parts that do not belong to each other: an error says so, and
// nothing is read beyond its end.
func TestPartsOfAHeadMustGoTogether(t *testing.T) {
	base, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	gate := func(objectives, weights int) map[string][]int {
		return map[string][]int{"regression_layer.weight": {objectives, base.Hidden}, "gating.layers.0.weight": {8, base.Hidden}, "gating.layers.1.weight": {weights, 8},
			"reward_transform_matrix": {weights, weights}, "gating.logit_scale": {1}}
	}
	for _, c := range []struct {
		name, set string
		tensors   map[string][]int
		fails     string
	}{
		{"a gate", ``, gate(19, 19), ""},
		{"quantiles", `,"num_quantiles":5`, gate(20, 4), ""},
		{"quantiles that leave a rest", `,"num_quantiles":5`, gate(12, 2), "do not go together"},
		{"no quantile", `,"num_quantiles":0`, gate(4, 4), "want positive numbers"},
		{"quantiles below none", `,"num_quantiles":-3`, gate(4, 4), "want positive numbers"},
		{"no temperature", `,"gating_temperature":0`, gate(4, 4), "want positive numbers"},
		{"weights for others", ``, gate(19, 18), "do not go together"},
		{"a gate without layers", ``, map[string][]int{"regression_layer.weight": {4, base.Hidden}, "reward_transform_matrix": {4, 4}, "gating.logit_scale": {1}}, "no layers under"},
		{"a gate that ends in a norm", ``, map[string][]int{"regression_layer.weight": {4, base.Hidden}, "reward_transform_matrix": {4, 4}, "gating.logit_scale": {1}, "gating.layers.0.weight": {4, base.Hidden}, "gating.layers.1.weight": {4}}, "no layers under"},
		{"a matrix of another size", ``, map[string][]int{"regression_layer.weight": {4, base.Hidden}, "gating.layers.0.weight": {4, base.Hidden}, "reward_transform_matrix": {4, 5}, "gating.logit_scale": {1}}, "reward_transform_matrix: shape [4 5], want [4 4]"},
		{"a pair of one", ``, map[string][]int{"score.weight": {3, base.Hidden}, "weights.fc.0.weight": {1, base.Hidden}}, "do not go together"},
		{"levels that leave a rest", ``, map[string][]int{"regression_layer.network.0.weight": {12, base.Hidden}, "gating_layer.network.0.weight": {1, base.Hidden}}, "do not go together"},
		{"layers of other widths", ``, map[string][]int{"score.0.weight": {8, base.Hidden}, "score.2.weight": {1, 9}}, "score.2.weight: shape [1 9], want [1 8]"},
		{"a head of no rows", ``, map[string][]int{"v_head.weight": {0, base.Hidden}}, "0 outputs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := NewRandom(base, 1)
			src.names = slices.DeleteFunc(src.names, func(n string) bool { return n == "score.weight" })
			delete(src.shapes, "score.weight")
			for n, s := range c.tensors {
				src.names, src.shapes[n] = append(src.names, n), s
			}
			config := strings.Replace(strings.TrimSuffix(configs["llama"], "}")+`,"model_type":"llama"`+c.set+`}`, "LlamaForSequenceClassification", "LlamaForRewardModelWithGating", 1)
			got, _, err := Resolve([]byte(config), src, Settings{})
			if err == nil {
				var m *cpu.Model
				if m, err = Load(got, src, LoadOptions{}); err == nil {
					e := NewEngine(1)
					defer e.Close()
					s := Sequence{IDs: []int32{1, 2, 3}, Read: []int32{2, 0}[:got.Reads(1)]}
					s.Outputs = make([]float32, len(s.Read)*got.Outputs())
					require.NoError(t, e.Score(m, make([]float32, 1), []Sequence{s}))
					assert.Len(t, Attributes(m, s.Outputs), len(got.AttributeNames()))
				}
			}
			if c.fails == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.fails)
			}
		})
	}
}

// TestHeadsAndOutputsOfAnyLengthCostNothing: a config.json may set both.
func TestHeadsAndOutputsOfAnyLengthCostNothing(t *testing.T) {
	base, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	src := NewRandom(base, 1)
	for key, v := range map[string]string{"head": "score[0" + strings.Repeat(",0", 1<<18) + "]", "output": "0" + strings.Repeat("+0", 1<<18)} {
		own, err := json.Marshal(map[string]string{key: v})
		require.NoError(t, err)
		_, _, err = Resolve([]byte(strings.TrimSuffix(configs["llama"], "}")+`,"model_type":"llama","warmserve":`+string(own)+`}`), src, Settings{})
		require.ErrorContains(t, err, key+": ")
		assert.ErrorContains(t, err, "want 8192 at most")
		assert.Less(t, len(err.Error()), 200)
	}
	longest := "score[0" + strings.Repeat(",0", (maxSetting-8)/2) + "]"
	_, _, err = Resolve([]byte(strings.TrimSuffix(configs["llama"], "}")+`,"model_type":"llama"}`), src, Settings{Head: longest})
	require.Error(t, err, "and nothing says which is the reward")
	assert.Less(t, len(err.Error()), 2*maxSetting)
}

// FuzzSettings reads any head and output: an error or a reward, and no panic.
func FuzzSettings(f *testing.F) {
	for _, s := range [][2]string{{"score[0]-score[1]", ""}, {"score[2,2]", "softmax(1) by mean"}, {"", "0.5*0+2*1-2"}, {"score", "1,2,3"}, {"", "raw -0"}, {"score[", "sigmoid("}, {"a-", "1e9*"}, {"", "normalized by last"}} {
		f.Add(s[0], s[1])
	}
	base, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(f, err)
	src := NewRandom(base, 1)
	src.shapes["score.weight"] = []int{3, base.Hidden}
	config := []byte(strings.TrimSuffix(configs["llama"], "}") + `,"model_type":"llama"}`)
	e := NewEngine(1)
	f.Cleanup(e.Close)
	f.Fuzz(func(t *testing.T, head, output string) {
		c, _, err := Resolve(config, src, Settings{Head: head, Output: output})
		if err != nil {
			return
		}
		m, err := Load(c, src, LoadOptions{})
		require.NoError(t, err)
		require.NoError(t, e.Score(m, make([]float32, 1), []Sequence{{IDs: []int32{1, 2}, Read: []int32{1}}}))
		_ = c.HeadWords()
	})
}
