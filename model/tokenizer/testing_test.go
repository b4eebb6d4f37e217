package tokenizer

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A member is one member of a tokenizer.json that a test sets.
type member = map[string]any

// document is a whole tokenizer.json with the given members.
func document(t testing.TB, set member) []byte {
	t.Helper()
	doc := member{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": []any{},
		"normalizer": nil, "pre_tokenizer": nil, "post_processor": nil, "decoder": nil,
	}
	maps.Copy(doc, set)
	data, err := json.Marshal(doc)
	require.NoError(t, err)
	return data
}

func parseDocument(t testing.TB, set member) *Tokenizer {
	t.Helper()
	tok, err := Parse(document(t, set))
	require.NoError(t, err)
	return tok
}

// vocabOf numbers tokens in order.
func vocabOf(tokens ...string) map[string]int {
	vocab := map[string]int{}
	for i, token := range tokens {
		vocab[token] = i
	}
	return vocab
}

// bytesBPE is a byte-level model: ids 0 to 255 are the bytes, then what the
// merges make, in order.
func bytesBPE(merges ...[2]string) member {
	vocab := map[string]int{}
	for b, r := range byteRunes {
		vocab[string(r)] = b
	}
	for _, m := range merges {
		if _, ok := vocab[m[0]+m[1]]; !ok {
			vocab[m[0]+m[1]] = len(vocab)
		}
	}
	return member{"type": "BPE", "vocab": vocab, "merges": slices.Concat([][2]string{}, merges)}
}

// fallbackBPE is a SentencePiece-style model with a token for every byte.
func fallbackBPE(tokens []string, merges ...[2]string) member {
	all := append([]string{"<unk>"}, hexTokens()...)
	return member{
		"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
		"vocab": vocabOf(append(all, tokens...)...), "merges": slices.Concat([][2]string{}, merges),
	}
}

func hexTokens() (tokens []string) {
	const digits = "0123456789ABCDEF"
	for b := range 256 {
		tokens = append(tokens, "<0x"+string(digits[b>>4])+string(digits[b&15])+">")
	}
	return tokens
}

// byteLevel is the pre-tokenizer and decoder of GPT-2.
var byteLevel = member{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true}

func tokensOf(tok *Tokenizer, ids []int32) (tokens []string) {
	for _, id := range ids {
		token, _ := tok.Token(id)
		tokens = append(tokens, token)
	}
	return tokens
}

// sequence encodes texts as a sequence of the post-processor.
func sequence(tok *Tokenizer, segments []Segment, texts ...string) (ids, types []int32) {
	for _, s := range segments {
		if s.Text < 0 {
			ids = append(ids, s.IDs...)
		} else {
			ids = tok.AppendEncode(ids, texts[s.Text], Options{})
		}
		for len(types) < len(ids) {
			types = append(types, s.TypeID)
		}
	}
	return ids, types
}
