package tokenizer

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDecoders(t *testing.T) {
	sequence := func(parts ...any) member { return member{"type": "Sequence", "decoders": parts} }
	for _, c := range []struct {
		name    string
		decoder any
		tokens  []string
		want    string
	}{
		{"none joins by spaces", nil, []string{"a", "b"}, "a b"},
		{"ByteLevel reads the byte alphabet", byteLevel, []string{"ĠhÃ", "©", "!"}, " hé!"},
		{"ByteLevel takes other tokens as they are", byteLevel, []string{"a", "你 "}, "a你 "},
		{"ByteLevel repairs what is no UTF-8", byteLevel, []string{"Ã", "a"}, "\uFFFDa"},
		{"Metaspace", member{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}, []string{"▁a", "▁b▁"}, "a b "},
		{"Metaspace that never prepends", member{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}, []string{"▁a", "▁b"}, " a b"},
		{"WordPiece cleans up token by token", member{"type": "WordPiece", "prefix": "##", "cleanup": true}, []string{"do", "n", "##'t", ",", "you", "'", "re", "?"}, "do n't, you ' re?"},
		{"WordPiece without cleanup", member{"type": "WordPiece", "prefix": "##", "cleanup": false}, []string{"a", "##b", "."}, "ab ."},
		{"BPEDecoder", member{"type": "BPEDecoder", "suffix": "</w>"}, []string{"a", "b</w>", "c</w>"}, "ab c"},
		{"ByteFallback", sequence(member{"type": "ByteFallback"}), []string{"a", "<0xC3>", "<0xA9>", "b", "<0xFF>", "<0x0g>"}, "aéb\uFFFD<0x0g>"},
		{"SentencePiece's sequence", sequence(
			member{"type": "Replace", "pattern": member{"String": "▁"}, "content": " "}, member{"type": "ByteFallback"},
			member{"type": "Fuse"}, member{"type": "Strip", "content": " ", "start": 1, "stop": 0}), []string{"▁▁a", "▁b"}, " a b"},
		{"Strip of each token", member{"type": "Strip", "content": "x", "start": 2, "stop": 1}, []string{"xxxa", "xx", "bx"}, "xab"},
		{"Replace by a regular expression", member{"type": "Replace", "pattern": member{"Regex": "[ab]+"}, "content": "-"}, []string{"abc", "ca"}, "-cc-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			model := member{"type": "WordLevel", "unk_token": c.tokens[0], "vocab": vocabOf(c.tokens...)}
			tok := parseDocument(t, member{"model": model, "decoder": c.decoder})
			var ids []int32
			for i := range c.tokens {
				ids = append(ids, int32(i))
			}
			assert.Equal(t, c.want, tok.Decode(ids, false))
		})
	}
}

func TestDecodeLeavesOutSpecialAndUnknownIDs(t *testing.T) {
	tok := withAdded(t, nil, member{"content": "<s>", "special": true}, member{"content": "<t>"})
	ids := []int32{256, 'a', 257, -1, 1 << 30}
	assert.Equal(t, "<s>a<t>", tok.Decode(ids, false))
	assert.Equal(t, "a<t>", tok.Decode(ids, true))
	assert.Equal(t, "", tok.Decode(nil, false))
}
