package warm

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
)

func TestBuffersAreKnownByName(t *testing.T) {
	for name, want := range map[string]bool{
		"transformer.h.0.attn.bias": true, "transformer.h.0.attn.masked_bias": true,
		"gpt_neox.layers.3.attention.bias": true, "gpt_neox.layers.3.attention.masked_bias": true,
		"gpt_neox.layers.3.attention.rotary_emb.inv_freq": true, "model.rotary_emb.inv_freq": true,
		"model.rotary_emb.original_inv_freq": true, "model.layers.0.self_attn.rotary_emb.cos_cached": true,
		"bert.embeddings.position_ids": true, "roberta.embeddings.token_type_ids": true,
		"transformer.h.0.attn.c_attn.bias": false, "gpt_neox.layers.3.attention.dense.bias": false,
		"bert.embeddings.position_embeddings.weight": false, "bert.encoder.layer.0.attention.output.dense.bias": false,
		"score.weight": false, "crossattn.bias": false,
	} {
		assert.Equal(t, want, isBuffer(name), name)
	}
}

func TestAbsentFieldsMeanTheirDefaults(t *testing.T) {
	for _, tt := range []struct{ name, short, long string }{
		{"the rotated share of GPT-NeoX", `{"model_type":"gpt_neox"}`, `{"model_type":"gpt_neox","rotary_pct":0.25,"rotary_emb_base":10000}`},
		{"the whole head elsewhere", `{"model_type":"llama"}`, `{"model_type":"llama","rope_parameters":{"partial_rotary_factor":1.0,"rope_theta":1e4}}`},
		{"the early spelling of a scaling", `{"model_type":"llama","rope_scaling":{"type":"linear","factor":2}}`, `{"model_type":"llama","rope_scaling":{"rope_type":"linear","factor":2.0}}`},
		{"the head size", `{"hidden_size":64,"num_attention_heads":4}`, `{"hidden_size":64,"num_attention_heads":4,"head_dim":16,"num_key_value_heads":4}`},
		{"a null", `{"a":null}`, `{}`},
		{"the number of labels", `{}`, `{"num_labels":2}`},
		{"names of labels", `{"id2label":{"0":"good"}}`, `{"num_labels":1}`},
		{"the global base for a local null", `{"model_type":"modernbert","global_rope_theta":5,"local_rope_theta":null}`, `{"model_type":"modernbert","global_rope_theta":5,"local_rope_theta":5}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := canonicalConfig([]byte(tt.short))
			require.NoError(t, err)
			b, err := canonicalConfig([]byte(tt.long))
			require.NoError(t, err)
			assert.Empty(t, differences(a, b))
		})
	}
}

func TestBuffersAreLeftOut(t *testing.T) {
	m := build(t, "{}", map[string][]float32{"h.0.attn.bias": {1}, "h.0.xattn.bias": {2}, "rotary_emb.inv_freq": {3}, "w": {4},
		"bert.embeddings.position_ids": {0}}, nil)
	a, err := NewAverage([]Member{{Checkpoint: m}}, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"h.0.xattn.bias", "w"}, a.Names())
	assert.Equal(t, []string{"bert.embeddings.position_ids", "h.0.attn.bias", "rotary_emb.inv_freq"}, a.Skipped())
}

func TestEveryReasonIsReportedAtOnce(t *testing.T) {
	const config = `{"architectures":["LlamaForSequenceClassification"],"model_type":"llama","hidden_size":4,"vocab_size":5,"rope_theta":10000.0,"id2label":{"0":"a"}}`
	good := build(t, config, map[string][]float32{"score.weight": {1}, "w": {1, 2}, "gone": {1}}, map[string]string{
		"tokenizer.json": `{"model":{"vocab":{"a":0}}}`, "tokenizer_config.json": `{"eos_token":"</s>","chat_template":"x"}`})
	bad := build(t, strings.NewReplacer(`"vocab_size":5`, `"vocab_size":6`, "10000.0", "500000.0").Replace(config),
		map[string][]float32{"w": {1, 2, 3}, "extra": {1}}, map[string]string{
			"tokenizer.json": `{"model":{"vocab":{"b":0}}}`, "tokenizer_config.json": `{"eos_token":{"content":"<eos>"},"chat_template":"y"}`})
	_, err := NewAverage([]Member{{Name: "good", Checkpoint: good}, {Name: "zbad", Checkpoint: bad}}, Options{})
	var e *IncompatibleError
	require.ErrorAs(t, err, &e)
	got := map[Aspect]int{}
	for _, r := range e.Reasons {
		got[r.Aspect]++
		assert.Equal(t, "zbad", r.Member)
	}
	assert.Equal(t, map[Aspect]int{AspectConfig: 2, AspectTensors: 2, AspectShapes: 1, AspectScoreHead: 1, AspectTokenizer: 1,
		AspectSpecialTokens: 1, AspectChatTemplate: 1}, got)
	for _, s := range []string{"vocab_size is 6, want 5", "500000", "gone", "extra", "w [1 3], want [1 2]", "score.weight", "eos_token is <eos>, want </s>"} {
		assert.Contains(t, err.Error(), s)
	}
}

func TestTensorsThatAreNoWeightsAreRefused(t *testing.T) {
	dir := t.TempDir()
	specs := []safetensors.Spec{{Name: "q.table", DType: "I32", Shape: []int{1}}, {Name: "embeddings.position_ids", DType: "I64", Shape: []int{1}}}
	require.NoError(t, safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), specs, nil, func(w io.Writer, s safetensors.Spec) error {
		n, _ := s.Bytes()
		_, err := w.Write(make([]byte, n))
		return err
	}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600))
	_, err := NewAverage([]Member{{Name: "m", Checkpoint: open(t, dir)}}, Options{})
	var e *IncompatibleError
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Reasons, 1)
	assert.Equal(t, Reason{Member: "m", Aspect: AspectElements, Items: []string{"q.table (I32)"},
		Detail: "not floating and no known buffer; quantised weights cannot be averaged:"}, e.Reasons[0])
}

func TestConfigsOfBothVersionsOfTransformersAgree(t *testing.T) {
	root := shared(t, "goldens")
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	compared := 0
	byVariant := map[string]map[string]string{}
	for _, e := range entries {
		for _, other := range []string{"config.v4.json", "config.v5.json"} {
			b, err := os.ReadFile(filepath.Join(root, e.Name(), other))
			if err != nil {
				continue
			}
			compared++
			t.Run(e.Name(), func(t *testing.T) {
				a, err := os.ReadFile(filepath.Join(root, e.Name(), "config.json"))
				require.NoError(t, err)
				want, err := canonicalConfig(a)
				require.NoError(t, err)
				got, err := canonicalConfig(b)
				require.NoError(t, err)
				assert.Empty(t, differences(got, want))
				byVariant[e.Name()] = want
			})
		}
	}
	assert.Greater(t, compared, 20)
	// And no two variants, which all compute something else, look the same.
	for a, x := range byVariant {
		for b, y := range byVariant {
			if a < b {
				assert.NotEmpty(t, differences(x, y), "%s and %s", a, b)
			}
		}
	}
}

func TestEveryFieldThatCountsIsCompared(t *testing.T) {
	config, err := os.ReadFile(shared(t, "goldens", "llama-rope3", "config.json"))
	require.NoError(t, err)
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(config, &fields))
	want, err := canonicalConfig(config)
	require.NoError(t, err)
	for name, raw := range fields {
		changed := json.RawMessage(`"other"`)
		switch {
		case raw[0] == '{':
			changed = json.RawMessage(`{"factor":2.0,"1":"x","2":"y"}`)
		case raw[0] >= '0' && raw[0] <= '9':
			changed = json.RawMessage("123456")
		case string(raw) == "true":
			changed = json.RawMessage("false")
		case string(raw) == "false":
			changed = json.RawMessage("true")
		}
		b, err := loader.EditObject(config, map[string]json.RawMessage{name: changed})
		require.NoError(t, err)
		got, err := canonicalConfig(b)
		require.NoError(t, err)
		_, ignored := ignoredFields[name]
		ignored = ignored && name != "id2label" || strings.Contains(name, "dropout")
		assert.Equal(t, ignored, len(differences(got, want)) == 0, "field %s", name)
	}
}

func TestTokenizersAreComparedByMeaning(t *testing.T) {
	base := `{"truncation":null,"padding":null,"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}}`
	want, err := tokenizerDigest([]byte(base))
	require.NoError(t, err)
	for _, tt := range []struct {
		name, json string
		same       bool
	}{
		{"other formatting and order", `{ "model": {"merges": ["a b"], "vocab": {"b": 1, "a": 0}, "type": "BPE"} }`, true},
		{"truncation set", strings.Replace(base, `"truncation":null`, `"truncation":{"max_length":5}`, 1), true},
		{"merges as pairs", strings.Replace(base, `"a b"`, `["a","b"]`, 1), true},
		{"defaults spelled out", strings.Replace(base, `"type":"BPE"`,
			`"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false`, 1), true},
		{"the version spelled out", strings.Replace(base, `{"truncation"`, `{"version":"1.0","normalizer":null,"truncation"`, 1), true},
		{"a byte fallback", strings.Replace(base, `"type":"BPE"`, `"type":"BPE","byte_fallback":true`, 1), false},
		{"merges that are ignored", strings.Replace(base, `"type":"BPE"`, `"type":"BPE","ignore_merges":true`, 1), false},
		{"a token whose text is a default's name", strings.Replace(base, `"b":1`, `"b":1,"version":null`, 1), false},
		{"another id", strings.Replace(base, `"b":1`, `"b":2`, 1), false},
		{"another merge", strings.Replace(base, `"a b"`, `"b a"`, 1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tokenizerDigest([]byte(tt.json))
			require.NoError(t, err)
			assert.Equal(t, tt.same, got == want)
		})
	}
}

func TestSpecialTokensAreComparedByRole(t *testing.T) {
	got, err := specialTokens([]byte(`{"bos_token":{"content":"<s>"},"eos_token":null,"add_bos_token":true}`), []byte(`{"eos_token":"</s>","bos_token":"other"}`))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": "true"}, got)
	w := map[string][]float32{"w": {1}}
	a := build(t, "{}", w, map[string]string{"tokenizer_config.json": `{"add_bos_token":true}`})
	b := build(t, "{}", w, map[string]string{"tokenizer_config.json": `{}`})
	c := build(t, "{}", w, map[string]string{"tokenizer_config.json": `{"add_bos_token":false}`})
	_, err = NewAverage([]Member{{Checkpoint: a}, {Checkpoint: b}}, Options{})
	assert.NoError(t, err, "an absent flag is no statement")
	_, err = NewAverage([]Member{{Checkpoint: a}, {Checkpoint: c}}, Options{})
	assert.ErrorContains(t, err, "add_bos_token")
}

func TestConfigsOfFamiliesAgreeInEverySpelling(t *testing.T) {
	root := shared(t, "goldens-families")
	spellings, err := filepath.Glob(filepath.Join(root, "*", "config.*.json"))
	require.NoError(t, err)
	compared := 0
	for _, other := range spellings {
		b, err := os.ReadFile(other)
		require.NoError(t, err)
		var c struct {
			ModelType string `json:"model_type"`
		}
		require.NoError(t, json.Unmarshal(b, &c))
		if _, rotary := rotaryTypes[c.ModelType]; !rotary {
			continue
		}
		compared++
		t.Run(filepath.Base(filepath.Dir(other))+"/"+filepath.Base(other), func(t *testing.T) {
			a, err := os.ReadFile(filepath.Join(filepath.Dir(other), "config.json"))
			require.NoError(t, err)
			want, err := canonicalConfig(a)
			require.NoError(t, err)
			got, err := canonicalConfig(b)
			require.NoError(t, err)
			assert.Empty(t, differences(got, want))
		})
	}
	assert.Greater(t, compared, 10)
}
