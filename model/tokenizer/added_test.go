package tokenizer

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// withAdded is a byte-level tokenizer without merges whose ids from 256 on are
// the given added tokens.
func withAdded(t *testing.T, set member, tokens ...member) *Tokenizer {
	t.Helper()
	list := []any{}
	for i, tok := range tokens {
		tok["id"] = 256 + i
		list = append(list, tok)
	}
	doc := member{"model": bytesBPE(), "pre_tokenizer": byteLevel, "decoder": byteLevel, "added_tokens": list}
	for k, v := range set {
		doc[k] = v
	}
	return parseDocument(t, doc)
}

func TestAddedTokensMatchAsTheirFlagsSay(t *testing.T) {
	tok := withAdded(t, member{"normalizer": member{"type": "Lowercase"}},
		member{"content": "<s>", "special": true},
		member{"content": "<long>"},
		member{"content": "<long><s>"},
		member{"content": "<l>", "lstrip": true},
		member{"content": "<r>", "rstrip": true},
		member{"content": "word", "single_word": true},
		member{"content": "MiXed", "normalized": true},
		member{"content": "<b>", "lstrip": true, "rstrip": true},
	)
	for _, c := range []struct {
		name, text string
		want       []int32
	}{
		{"a token between texts", "a<s>b", []int32{'a', 256, 'b'}},
		{"the leftmost longest of several", "<long><s><long>", []int32{258, 257}},
		{"a prefix of a token is text", "<lo", []int32{'<', 'l', 'o'}},
		{"lstrip takes the space on the left", "a \t\u2003<l> b", []int32{'a', 259, ' ', 'b'}},
		{"rstrip takes the space on the right", "a <r> \n b", []int32{'a', ' ', 260, 'b'}},
		{"neighbours share the space once", "<r>   <l>", []int32{260, 259}},
		{"both sides", " <b> ", []int32{263}},
		{"a single word alone", "word", []int32{261}},
		{"a single word between punctuation", "(word)", []int32{'(', 261, ')'}},
		{"not inside a word", "sword", []int32{'s', 'w', 'o', 'r', 'd'}},
		{"not before a digit, a mark or an underscore", "word_", []int32{'w', 'o', 'r', 'd', '_'}},
		{"a normalized token in any spelling that normalizes to it", "mixed MIXED", []int32{262, ' ', 262}},
		{"a raw token only as it is written", "<S>", []int32{'<', 's', '>'}},
		{"nothing", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, tok.AppendEncode(nil, c.text, Options{}))
		})
	}
}

func TestNoParseSpecialMakesSpecialTokensText(t *testing.T) {
	tok := withAdded(t, nil,
		member{"content": "<s>", "special": true},
		member{"content": "<t>"},
		member{"content": "<n>", "special": true, "normalized": true},
	)
	const text = "<s><t><n>"
	assert.Equal(t, []int32{256, 257, 258}, tok.AppendEncode(nil, text, Options{}))
	assert.Equal(t, []int32{'<', 's', '>', 257, '<', 'n', '>'}, tok.AppendEncode(nil, text, Options{NoParseSpecial: true}))
	assert.True(t, tok.IsSpecial(256))
	assert.False(t, tok.IsSpecial(257))
	assert.False(t, tok.IsSpecial('a'))
	assert.False(t, tok.IsSpecial(-1))
}

func TestTheVocabularyHoldsBothKindsOfTokens(t *testing.T) {
	tok := withAdded(t, nil, member{"content": "<s>", "special": true})
	assert.Equal(t, 257, tok.VocabSize())
	id, ok := tok.ID("<s>")
	assert.True(t, ok)
	assert.Equal(t, int32(256), id)
	id, ok = tok.ID("Ġ")
	assert.True(t, ok)
	assert.Equal(t, int32(' '), id)
	_, ok = tok.ID("none")
	assert.False(t, ok)
	token, ok := tok.Token(256)
	assert.True(t, ok)
	assert.Equal(t, "<s>", token)
	for _, id := range []int32{-1, 257, 1 << 30} {
		_, ok = tok.Token(id)
		assert.False(t, ok, id)
	}
}
