package tokenizer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseRefusesWhatItCannotDoAndNamesIt(t *testing.T) {
	for _, c := range []struct {
		name      string
		set       member
		part, typ string
	}{
		{name: "a model", set: member{"model": member{"type": "Magic"}}, part: "model", typ: "Magic"},
		{name: "a normalizer", set: member{"normalizer": member{"type": "Magic"}}, part: "normalizer", typ: "Magic"},
		{name: "a normalizer inside a sequence",
			set:  member{"normalizer": member{"type": "Sequence", "normalizers": []any{member{"type": "NFC"}, member{"type": "Magic"}}}},
			part: "normalizer", typ: "Magic"},
		{name: "a pre-tokenizer", set: member{"pre_tokenizer": member{"type": "UnicodeScripts"}}, part: "pre_tokenizer", typ: "UnicodeScripts"},
		{name: "a post-processor", set: member{"post_processor": member{"type": "Magic"}}, part: "post_processor", typ: "Magic"},
		{name: "a decoder", set: member{"decoder": member{"type": "CTC"}}, part: "decoder", typ: "CTC"},
		{name: "dropout", set: member{"model": member{"type": "BPE", "dropout": 0.1, "vocab": vocabOf("a"), "merges": []any{}}},
			part: "BPE option", typ: "dropout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, ok := c.set["model"]; !ok {
				c.set["model"] = bytesBPE()
			}
			_, err := Parse(document(t, c.set))
			var unsupported *UnsupportedError
			require.ErrorAs(t, err, &unsupported)
			assert.Equal(t, UnsupportedError{c.part, c.typ}, *unsupported)
		})
	}
}

func TestParseRefusesBadFiles(t *testing.T) {
	deep := any(member{"type": "NFC"})
	for range 20 {
		deep = member{"type": "Sequence", "normalizers": []any{deep}}
	}
	added := func(entries ...member) []any {
		list := []any{}
		for _, e := range entries {
			list = append(list, e)
		}
		return list
	}
	bpe := func(vocab map[string]int, merges any) member {
		return member{"type": "BPE", "vocab": vocab, "merges": merges}
	}
	template := func(single ...any) member {
		return member{"type": "TemplateProcessing", "single": single, "pair": []any{},
			"special_tokens": member{"X": member{"id": "X", "ids": []int{1 << 30}, "tokens": []string{"X"}}}}
	}
	special := member{"SpecialToken": member{"id": "X", "type_id": 0}}
	text := member{"Sequence": member{"id": "A", "type_id": 0}}
	for _, c := range []struct {
		name, want string
		set        member
	}{
		{"no model", "model: missing", member{}},
		{"another version", `version "2.0"`, member{"version": "2.0"}},
		{"an id that is negative", "out of range", member{"model": bpe(map[string]int{"a": -1}, []any{})}},
		{"an id far beyond the tokens", "out of range", member{"model": bpe(map[string]int{"a": 1 << 30}, []any{})}},
		{"an id beyond 32 bits", "int32", member{"model": bpe(map[string]int{"a": 1 << 40}, []any{})}},
		{"two tokens with one id", "given to both", member{"model": bpe(map[string]int{"a": 1, "b": 1}, []any{})}},
		{"no tokens", "no tokens", member{"model": bpe(map[string]int{}, []any{})}},
		{"a merge of an unknown token", `"x" is not in the vocabulary`, member{"model": bpe(vocabOf("a"), []any{"a x"})}},
		{"a merge into an unknown token", `makes "aa"`, member{"model": bpe(vocabOf("a"), []any{[]string{"a", "a"}})}},
		{"a merge of three", "3 parts", member{"model": bpe(vocabOf("a"), []any{"a a a"})}},
		{"a merge that is a number", "merges", member{"model": bpe(vocabOf("a"), []any{1})}},
		{"an unknown token that is unknown", "unk_token", member{"model": member{"type": "WordLevel", "unk_token": "?", "vocab": vocabOf("a")}}},
		{"a Unigram without an unknown token", "unk_id", member{"model": member{"type": "Unigram", "vocab": []any{[]any{"a", 0}}}}},
		{"a Unigram whose unknown token is out of range", "unk_id 7", member{"model": member{"type": "Unigram", "unk_id": 7, "vocab": []any{[]any{"a", 0}}}}},
		{"sequences in sequences in sequences", "nest deeper", member{"normalizer": deep}},
		{"a normalizer without a type", "type", member{"normalizer": member{}}},
		{"a pattern that is no regular expression", "pattern", member{"pre_tokenizer": member{
			"type": "Split", "pattern": member{"Regex": "("}, "behavior": "Isolated"}}},
		{"a pattern of two kinds", "want one of", member{"pre_tokenizer": member{
			"type": "Split", "pattern": member{"Regex": "a", "String": "a"}, "behavior": "Isolated"}}},
		{"an unknown behavior", `behavior "Odd"`, member{"pre_tokenizer": member{
			"type": "Split", "pattern": member{"String": "a"}, "behavior": "Odd"}}},
		{"a Metaspace mark of two characters", "not one character", member{"pre_tokenizer": member{"type": "Metaspace", "replacement": "__"}}},
		{"a compiled normalizer that is cut short", "precompiled_charsmap", member{"normalizer": member{
			"type": "Precompiled", "precompiled_charsmap": "//////////8="}}},
		{"an added token whose id is another's", "vocabulary makes it", member{"added_tokens": added(member{"id": 3, "content": "new"})}},
		{"two added tokens with one id", "vocabulary makes it", member{"added_tokens": added(
			member{"id": 256, "content": "x1"}, member{"id": 256, "content": "x2"})}},
		{"a template with an id that no token has", "no token's", member{"post_processor": template(special, text)}},
		{"a template without the text", "0 times", member{"post_processor": template()}},
		{"a template with the text twice", "2 times", member{"post_processor": template(text, text)}},
		{"a template with an unnamed token", "special_tokens", member{"post_processor": template(
			member{"SpecialToken": member{"id": "Y", "type_id": 0}}, text)}},
		{"a cls that is no pair", "cls", member{"post_processor": member{"type": "BertProcessing", "sep": []any{"a", 1}, "cls": []any{"a"}}}},
		{"a decoder that strips a negative count", "negative", member{"decoder": member{"type": "Strip", "content": " ", "start": -1, "stop": 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, ok := c.set["model"]; !ok && c.name != "no model" {
				c.set["model"] = bytesBPE()
			}
			_, err := Parse(document(t, c.set))
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), "tokenizer: "), err)
			assert.Contains(t, err.Error(), c.want)
		})
	}
	for _, data := range []string{"", "[]", "{", `{"model":`, "\xff", `{"added_tokens":3}`, strings.Repeat("[", 1<<16)} {
		_, err := Parse([]byte(data))
		assert.Error(t, err, "%.20q", data)
	}
}

func TestOldFilesDoNotNameTheTypeOfTheirModel(t *testing.T) {
	for name, c := range map[string]struct {
		model member
		want  any
	}{
		"BPE":       {member{"vocab": vocabOf("a"), "merges": []any{}}, &bpe{}},
		"WordPiece": {member{"vocab": vocabOf("[UNK]"), "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9}, &wordPiece{}},
		"WordLevel": {member{"vocab": vocabOf("[UNK]"), "unk_token": "[UNK]"}, &wordLevel{}},
		"Unigram":   {member{"vocab": []any{[]any{"<unk>", 0}}, "unk_id": 0}, &unigram{}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.IsType(t, c.want, parseDocument(t, member{"model": c.model}).model)
		})
	}
}
