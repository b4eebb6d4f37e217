package warm

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTwoWaysOfWritingOneModelAreOne holds what averages of public checkpoints stumbled over, and its neighbours that are no
// writing of the same.
func TestTwoWaysOfWritingOneModelAreOne(t *testing.T) {
	w := map[string][]float32{"w": {1}, "score.weight": {2}}
	type files = map[string]string
	for _, c := range []struct {
		name           string
		a, b           string // config.json
		filesA, filesB files
		extra          string // a tensor of b
		field          string // of the one reason: "" for no reason, "-" for one that cannot be ignored
	}{
		{name: "eos as a list", a: `{"eos_token_id":2}`, b: `{"eos_token_id":[2]}`},
		{name: "eos as a longer list", a: `{"eos_token_id":2}`, b: `{"eos_token_id":[2,3]}`, field: "eos_token_id"},
		{name: "auto_map", a: `{}`, b: `{"auto_map":{"AutoModel":"x.Y"}}`},
		{name: "a leftover of quantisation", a: `{}`, b: `{"quantization_config":{"quant_method":"awq"}}`},
		{name: "labels that the head contradicts", a: `{"num_labels":1}`, b: `{}`},
		{name: "OpenRLHF's switches", a: `{"normalize_reward":true,"value_head_prefix":"score"}`, b: `{}`},
		{name: "an output layer that nothing reads", a: `{}`, b: `{}`, extra: "lm_head.weight"},
		{name: "another tensor", a: `{}`, b: `{}`, extra: "more.weight", field: "-"},
		{name: "no padding token in a decoder", a: `{"model_type":"llama","pad_token_id":2}`, b: `{"model_type":"llama"}`, field: "pad_token_id"},
		{name: "no padding token in an encoder", a: `{"model_type":"bert","pad_token_id":2}`, b: `{"model_type":"bert"}`},
		{name: "no padding token in an encoder of another family", a: `{"model_type":"deberta-v2","pad_token_id":2}`, b: `{"model_type":"deberta-v2"}`},
		{name: "no padding token where positions go by it", a: `{"model_type":"roberta","pad_token_id":2}`, b: `{"model_type":"roberta"}`, field: "pad_token_id"},
		{name: "no padding token where the last token is scored", a: `{"model_type":"llama","warmserve":{"pooling":"last"},"pad_token_id":2}`, b: `{"model_type":"llama","warmserve":{"pooling":"last"}}`},
		{name: "a padding token of the tokenizer alone", a: `{}`, b: `{}`, filesA: files{"tokenizer_config.json": `{"pad_token":"</s>"}`}, filesB: files{"tokenizer_config.json": `{}`}},
		{name: "a padding token that the template shows", a: `{}`, b: `{}`, filesA: files{"tokenizer_config.json": `{"pad_token":"</s>"}`, "chat_template.jinja": "{{ pad_token }}"},
			filesB: files{"tokenizer_config.json": `{}`, "chat_template.jinja": "{{ pad_token }}"}, field: "pad_token"},
		{name: "another end of text", a: `{}`, b: `{}`, filesA: files{"tokenizer_config.json": `{"eos_token":"</s>"}`}, filesB: files{"tokenizer_config.json": `{"eos_token":"<e>"}`}, field: "eos_token"},
		{name: "another template", a: `{}`, b: `{}`, filesA: files{"chat_template.jinja": "x"}, filesB: files{"chat_template.jinja": "y"}, field: "chat_template"},
		{name: "another tokenizer", a: `{}`, b: `{}`, filesA: files{"tokenizer.json": `{"a":1}`}, filesB: files{"tokenizer.json": `{"a":2}`}, field: "tokenizer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			second := map[string][]float32{"w": {3}, "score.weight": {4}}
			if c.extra != "" {
				second[c.extra] = []float32{5}
			}
			members := []Member{{Name: "a", Checkpoint: build(t, c.a, w, c.filesA)}, {Name: "b", Checkpoint: build(t, c.b, second, c.filesB)}}
			got, err := NewAverage(members, Options{})
			if c.field == "" {
				require.NoError(t, err)
				assert.Equal(t, []string{"score.weight", "w"}, got.Names())
				return
			}
			var e *IncompatibleError
			require.ErrorAs(t, err, &e)
			require.Len(t, e.Reasons, 1)
			assert.True(t, strings.HasPrefix(err.Error(), "the checkpoints cannot be averaged: b: "), err)
			if c.field == "-" {
				assert.Empty(t, e.Remedy(), "another tensor cannot be ignored")
				return
			}
			assert.Contains(t, err.Error(), "--ignore "+c.field)
			got, err = NewAverage(members, Options{Ignore: []string{c.field}})
			require.NoError(t, err)
			require.NotEmpty(t, got.Warnings())
			assert.Equal(t, WarnIgnored, got.Warnings()[0].Kind)
		})
	}
}

func TestARecordReadsBack(t *testing.T) {
	m := []Member{{Name: "b", Checkpoint: build(t, "{}", map[string][]float32{"w": {1}}, nil), Weight: 3}, {Name: "a|`x`", Checkpoint: build(t, "{}", map[string][]float32{"w": {2}}, nil), Weight: 1}}
	a, err := NewAverage(m, Options{})
	require.NoError(t, err)
	c := contents(t, a)
	r, err := ParseRecord(c.Extra["warm_average.json"])
	require.NoError(t, err)
	assert.Equal(t, []RecordMember{{"a|`x`", 0.25, m[1].Checkpoint.Hash()}, {"b", 0.75, m[0].Checkpoint.Hash()}}, r.Members)
	assert.Contains(t, string(c.Extra["README.md"]), "| `a\\|'x'` | 0.25 |")
	assert.NotContains(t, string(c.Extra["README.md"]), "`warmserve`")
	own, err := NewAverage([]Member{{Name: "a", Checkpoint: build(t, `{"warmserve":{"pooling":"mean","pooler":false}}`, map[string][]float32{"w": {1}}, nil)}}, Options{})
	require.NoError(t, err)
	assert.Contains(t, string(contents(t, own).Extra["README.md"]), "under `warmserve` how the score head is read, which classes of transformers do not follow")
	_, err = ParseRecord([]byte(`{"alpha":"x"}`))
	assert.ErrorContains(t, err, "warm_average.json")
}
