package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A source is a part's text; that of content is plain.
type source struct {
	text  string
	plain bool
}

func markup(text string) source  { return source{text, false} }
func content(text string) source { return source{text, true} }

func join(sources []source) (text string, parts []Part) {
	for _, s := range sources {
		text += s.text
		parts = append(parts, Part{len(text), s.plain})
	}
	return text, parts
}

func encodeParts(t testing.TB, tok *Tokenizer, sources ...source) ([]int32, []Range) {
	t.Helper()
	text, parts := join(sources)
	ids, ranges, err := tok.AppendParts(nil, text, parts, 0)
	require.NoError(t, err)
	return ids, ranges
}

func TestNoPlainPartMakesOrDestroysASpecialToken(t *testing.T) {
	added := []member{
		{"content": "<s>", "special": true},
		{"content": "<s><s>", "special": true},
		{"content": "x<s>"},
		{"content": "<s>y"},
		{"content": "<w>", "special": true, "single_word": true},
		{"content": "<n>", "special": true, "normalized": true},
		{"content": "<t>"},
	}
	tok := withAdded(t, member{"normalizer": member{"type": "Sequence", "normalizers": []any{
		member{"type": "NFKC"}, member{"type": "Lowercase"}}}}, added...)
	for _, c := range []struct {
		name    string
		sources []source
		want    []int32
	}{
		{"the template's token", []source{markup("<s>"), content("a")}, []int32{256, 'a'}},
		{"content that spells it", []source{markup("<s>"), content("<s>"), markup("<s>")}, []int32{256, '<', 's', '>', 256}},
		{"content that completes one", []source{markup("<"), content("s>")}, []int32{'<', 's', '>'}},
		{"content that begins one", []source{content("<s"), markup(">")}, []int32{'<', 's', '>'}},
		{"one that spans an empty part", []source{markup("<"), content(""), markup("s>")}, []int32{256}},
		{"content before that would make a longer one", []source{content("<s>"), markup("<s>")}, []int32{'<', 's', '>', 256}},
		{"content behind that would make a longer one", []source{markup("<s>"), content("<s>")}, []int32{256, '<', 's', '>'}},
		{"a token that is not special across the border", []source{content("x"), markup("<s>")}, []int32{'x', 256}},
		{"the same behind", []source{markup("<s>"), content("y")}, []int32{256, 'y'}},
		{"the same in one part", []source{markup("x<s>")}, []int32{258}},
		{"the same in content, which has no special token", []source{content("x<s>")}, []int32{258}},
		{"a letter beside a token that stands alone", []source{content("x"), markup("<w>"), content("x")}, []int32{'x', 260, 'x'}},
		{"a letter of the template beside it", []source{markup("x<w>")}, []int32{'x', '<', 'w', '>'}},
		{"a token in normalized text", []source{markup("<N>"), content("<n>")}, []int32{261, '<', 'n', '>'}},
		{"full-width characters that normalize to one", []source{content("＜Ｎ＞")}, []int32{'<', 'n', '>'}},
		{"half of them the template's", []source{markup("<n"), content("＞")}, []int32{'<', 'n', '>'}},
		{"a token that is not special in content", []source{content("<t>")}, []int32{262}},
		{"invalid bytes beside", []source{content("\xff"), markup("<s>")}, []int32{0xEF, 0xBF, 0xBD, 256}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ids, _ := encodeParts(t, tok, c.sources...)
			assert.Equal(t, c.want, ids)
		})
	}
}

func TestAPlainPartMakesNoSpecialTokenOfTheModelsVocabulary(t *testing.T) {
	special := func(id int, content string) []any {
		return []any{member{"id": id, "content": content, "special": true}}
	}
	wordPiece := member{"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
		"max_input_chars_per_word": 99, "vocab": vocabOf("u", "[", "##S", "##]", "[S]", "[S")}
	whole := bytesBPE([2]string{"<", "s"})
	whole["ignore_merges"], whole["vocab"].(map[string]int)["<s>"] = true, 257
	split := member{"type": "WhitespaceSplit"}
	oneWord := member{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}
	for _, c := range []struct {
		name string
		tok  *Tokenizer
		text string
		want []int32
	}{
		{"a merge", parseDocument(t, member{"model": bytesBPE([2]string{"<", "s"}, [2]string{"<s", ">"}), "pre_tokenizer": oneWord,
			"added_tokens": special(257, "<s>")}), "<s>", []int32{256, '>'}},
		{"a word that needs no merges", parseDocument(t, member{"model": whole, "pre_tokenizer": oneWord,
			"added_tokens": special(257, "<s>")}), "<s>", []int32{256, '>'}},
		{"WordPiece", parseDocument(t, member{"model": wordPiece, "pre_tokenizer": split, "added_tokens": special(4, "[S]")}),
			"[S]", []int32{5, 3}},
		{"WordLevel", parseDocument(t, member{"model": member{"type": "WordLevel", "unk_token": "u", "vocab": vocabOf("u", "</s>")},
			"pre_tokenizer": split, "added_tokens": special(1, "</s>")}), "</s>", []int32{0}},
		{"Unigram", parseDocument(t, member{"model": member{"type": "Unigram", "unk_id": 0, "vocab": []any{
			[]any{"u", 0}, []any{"<s>", 0}, []any{"<", -1}, []any{"s", -1}, []any{">", -1}}}, "added_tokens": special(1, "<s>")}),
			"<s>", []int32{2, 3, 4}},
		{"a symbol", parseDocument(t, member{"model": fallbackBPE([]string{"¶"}), "added_tokens": special(257, "¶")}),
			"¶", []int32{0xC2 + 1, 0xB6 + 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ids, _ := encodeParts(t, c.tok, content(c.text))
			assert.Equal(t, c.want, ids)
			ids, _ = encodeParts(t, c.tok, markup(c.text))
			assert.Len(t, ids, 1, "the template's own")
			assert.True(t, c.tok.IsSpecial(ids[0]))
		})
	}
}

func TestRangesHoldTheTokensOfEachPart(t *testing.T) {
	bert := parseDocument(t, member{"model": member{"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
		"max_input_chars_per_word": 9, "vocab": vocabOf("u", "a", "##b", "##c", "e", "!")},
		"pre_tokenizer": member{"type": "BertPreTokenizer"},
		"normalizer":    member{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true}})
	gpt := parseDocument(t, member{"model": bytesBPE([2]string{"a", "b"}, [2]string{"Ġ", "ab"}), "pre_tokenizer": byteLevel,
		"normalizer": member{"type": "NFC"}, "added_tokens": []any{member{"id": 258, "content": "<s>", "special": true, "lstrip": true}}})
	llama := parseDocument(t, member{"model": fallbackBPE([]string{"▁", "a", "b", "▁a"}, [2]string{"▁", "a"}),
		"pre_tokenizer": member{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false}})
	for _, c := range []struct {
		name  string
		tok   *Tokenizer
		parts []string
		want  []Range
	}{
		{"a border between words", gpt, []string{"ab", " ab"}, []Range{{0, 1}, {1, 2}}},
		{"a border inside a token", gpt, []string{"ab a", "b"}, []Range{{0, 2}, {1, 2}}},
		{"borders inside a token", gpt, []string{" ", "a", "b", "x"}, []Range{{0, 1}, {0, 1}, {0, 1}, {1, 2}}},
		{"empty parts", gpt, []string{"", "ab", "", " ab", ""}, []Range{{0, 0}, {0, 1}, {1, 1}, {1, 2}, {2, 2}}},
		{"a character made of both sides", gpt, []string{"e", "\u0301", "x"}, []Range{{0, 2}, {0, 2}, {2, 3}}},
		{"a border inside a character", gpt, []string{"\xc3", "\xa9"}, []Range{{0, 1}, {1, 2}}},
		{"space that a token takes", gpt, []string{"a ", "<s>"}, []Range{{0, 2}, {1, 2}}},
		{"invalid bytes of both sides", gpt, []string{"\xe2\x96", "a"}, []Range{{0, 3}, {3, 4}}},
		{"continuations of a word", bert, []string{"A", "B", "c!"}, []Range{{0, 1}, {1, 2}, {2, 4}}},
		{"a word that is unknown as a whole", bert, []string{"a", "x"}, []Range{{0, 1}, {0, 1}}},
		{"characters that are dropped", bert, []string{"a", "\u200d", "b"}, []Range{{0, 1}, {1, 1}, {1, 2}}},
		{"accents that are dropped", bert, []string{"e", "\u0301", "!"}, []Range{{0, 1}, {1, 1}, {1, 2}}},
		{"white space between words", bert, []string{"a", "  ", "a"}, []Range{{0, 1}, {1, 1}, {1, 2}}},
		{"the mark in front counts to the first character", llama, []string{"a", "b", " a"}, []Range{{0, 1}, {1, 2}, {2, 3}}},
		{"bytes of a character", llama, []string{"b\xc3", "\xa9"}, []Range{{0, 3}, {3, 4}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sources []source
			for _, p := range c.parts {
				sources = append(sources, markup(p))
			}
			ids, ranges := encodeParts(t, c.tok, sources...)
			assert.Equal(t, c.want, ranges, "%q", tokensOf(c.tok, ids))
			assert.Equal(t, c.tok.AppendEncode(nil, strings.Join(c.parts, ""), Options{}), ids)
		})
	}
}

func TestALimitEndsTheWork(t *testing.T) {
	tok := parseDocument(t, member{"model": bytesBPE([2]string{"a", "a"}), "pre_tokenizer": byteLevel})
	for _, text := range []string{"aa aa aa", strings.Repeat("a", 1<<20), strings.Repeat("ab ", 1<<18)} {
		n := len(tok.AppendEncode(nil, text, Options{}))
		parts := []Part{{len(text), false}}
		ids, _, err := tok.AppendParts([]int32{1}, text, parts, n)
		require.NoError(t, err)
		assert.Len(t, ids, n+1)
		ids, _, err = tok.AppendParts([]int32{1}, text, parts, n-1)
		assert.ErrorIs(t, err, ErrLimit)
		assert.LessOrEqual(t, len(ids), n+1)
		ids, _, err = tok.AppendParts(nil, text, parts, 2)
		assert.ErrorIs(t, err, ErrLimit)
		assert.Less(t, len(ids), 8, "the rest is left alone")
	}
}

func TestTemplatesAreTheTokenizersOwn(t *testing.T) {
	tok := parseDocument(t, member{"model": bytesBPE(), "pre_tokenizer": byteLevel,
		"post_processor": member{"type": "BertProcessing", "cls": []any{"a", 'a'}, "sep": []any{"b", 'b'}}})
	cls, sep, last := Segment{-1, []int32{'a'}, 0}, Segment{-1, []int32{'b'}, 0}, Segment{-1, []int32{'b'}, 1}
	assert.Equal(t, []Segment{cls, {0, nil, 0}, sep}, tok.Single())
	assert.Equal(t, []Segment{cls, {0, nil, 0}, sep, {1, nil, 1}, last}, tok.Pair())
	tok = parseDocument(t, member{"model": bytesBPE()})
	assert.Equal(t, []Segment{{0, nil, 0}}, tok.Single())
	assert.True(t, slices.EqualFunc(tok.Pair(), []int{0, 1}, func(s Segment, text int) bool { return s.Text == text }))
}
