// Package rewardtest makes tiny checkpoints for the tests of packages that serve,
// score or train reward models: complete directories with a tokenizer and a chat
// template, and random weights.
package rewardtest

import (
	"encoding/json"
	"hash/fnv"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
)

// Config is the config.json of a reward model of some thousand weights, with a
// context of 64 tokens.
const Config = `{"architectures":["LlamaForSequenceClassification"],"model_type":"llama","hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,"num_attention_heads":2,"vocab_size":300,"max_position_embeddings":64,"pad_token_id":0,"id2label":{"0":"LABEL_0"}}`

// Template is its chat template: <s>, then [role]content</s> for each message.
const Template = `{{ bos_token }}{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] + eos_token }}{% endfor %}`

// Tokenizer returns a tokenizer.json whose tokens are bytes: id 2+b for byte b,
// after <s> (0) and </s> (1). A text without template gets <s> in front. Extra,
// when not empty, is one more token, which makes it differ from others.
func Tokenizer(extra string) []byte {
	vocab := map[string]int{"<s>": 0, "</s>": 1}
	shifted := 0
	for b := range 256 { // the printable characters that byte-level BPE uses for bytes
		r := rune(b)
		if b < 33 || b > 126 && b < 161 || b == 173 {
			r = rune(256 + shifted)
			shifted++
		}
		vocab[string(r)] = 2 + b
	}
	if extra != "" {
		vocab[extra] = len(vocab)
	}
	special := func(id int, s string) map[string]any {
		return map[string]any{"id": id, "content": s, "special": true, "single_word": false,
			"lstrip": false, "rstrip": false, "normalized": false}
	}
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
		"use_regex": true}
	bos := map[string]any{"SpecialToken": map[string]any{"id": "<s>", "type_id": 0}}
	seq := func(name string) map[string]any {
		return map[string]any{"Sequence": map[string]any{"id": name, "type_id": 0}}
	}
	data, err := json.Marshal(map[string]any{
		"version": "1.0", "added_tokens": []any{special(0, "<s>"), special(1, "</s>")},
		"normalizer": nil, "pre_tokenizer": byteLevel, "decoder": byteLevel,
		"post_processor": map[string]any{
			"type": "TemplateProcessing", "single": []any{bos, seq("A")},
			"pair": []any{bos, seq("A"), seq("B")},
			"special_tokens": map[string]any{"<s>": map[string]any{"id": "<s>", "ids": []int{0},
				"tokens": []string{"<s>"}}},
		},
		"model": map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}},
	})
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return data
}

// PairTokenizer is Tokenizer with the form of encoders: <s> A </s>, and of a pair <s> A, so many
// </s>, B </s>, of which what is behind the first </s> has a type.
func PairTokenizer(marks, kind int) []byte {
	var fields map[string]any
	if err := json.Unmarshal(Tokenizer(""), &fields); err != nil {
		panic(err)
	}
	special := func(s string, kind int) any {
		return map[string]any{"SpecialToken": map[string]any{"id": s, "type_id": kind}}
	}
	seq := func(s string, kind int) any {
		return map[string]any{"Sequence": map[string]any{"id": s, "type_id": kind}}
	}
	one := func(s string, id int) any {
		return map[string]any{"id": s, "ids": []int{id}, "tokens": []string{s}}
	}
	single := []any{special("<s>", 0), seq("A", 0), special("</s>", 0)}
	pair := slices.Clone(single)
	for range marks - 1 {
		pair = append(pair, special("</s>", kind))
	}
	fields["post_processor"] = map[string]any{"type": "TemplateProcessing", "single": single,
		"pair": append(pair, seq("B", kind), special("</s>", kind)), "special_tokens": map[string]any{"<s>": one("<s>", 0), "</s>": one("</s>", 1)}}
	data, err := json.Marshal(fields)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return data
}

// Contents returns a checkpoint with random weights that depend on the name.
func Contents(t testing.TB, name string) loader.Contents {
	cfg, err := model.ParseConfig([]byte(Config))
	require.NoError(t, err)
	seed := fnv.New64a()
	seed.Write([]byte(name))
	return loader.Contents{
		Config: []byte(Config), Source: model.NewRandom(cfg, seed.Sum64()), Tokenizer: Tokenizer(""),
		TokenizerConfig: []byte(`{"bos_token":"<s>","eos_token":"</s>"}`), ChatTemplate: Template,
	}
}

// Checkpoint writes a checkpoint, changed by edit unless that is nil, and
// returns its directory, whose last element is the name.
func Checkpoint(t testing.TB, name string, edit func(c *loader.Contents)) string {
	c := Contents(t, name)
	if edit != nil {
		edit(&c)
	}
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, loader.Save(dir, c))
	return dir
}
