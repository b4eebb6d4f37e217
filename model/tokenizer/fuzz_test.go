package tokenizer

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// seedDocuments are files of every kind of component.
func seedDocuments(f *testing.F) [][]byte {
	split := member{"type": "Split", "pattern": member{"Regex": `\s+(?!\S)|x*`}, "behavior": "MergedWithNext", "invert": false}
	return [][]byte{
		document(f, member{"model": bytesBPE([2]string{"a", "b"}), "pre_tokenizer": byteLevel, "decoder": byteLevel,
			"normalizer": member{"type": "NFC"}}),
		document(f, member{"model": fallbackBPE([]string{"▁", "a", "▁a"}, [2]string{"▁", "a"}),
			"normalizer": member{"type": "Sequence", "normalizers": []any{member{"type": "Prepend", "prepend": "▁"},
				member{"type": "Replace", "pattern": member{"String": " "}, "content": "▁"}}}}),
		document(f, member{"model": member{"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
			"max_input_chars_per_word": 9, "vocab": vocabOf("u", "##a")}, "pre_tokenizer": member{"type": "BertPreTokenizer"},
			"normalizer": member{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true}}),
		document(f, member{"model": member{"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": []any{[]any{"u", 0.5}, []any{"ab", -1}}},
			"normalizer": member{"type": "Precompiled", "precompiled_charsmap": "CAAAAAAAAAAAAAAAYQA="}, "pre_tokenizer": split}),
		document(f, member{"model": bytesBPE(), "added_tokens": []any{member{"id": 256, "content": "<s>", "special": true, "lstrip": true}},
			"post_processor": member{"type": "BertProcessing", "cls": []any{"a", 1}, "sep": []any{"b", 256}}}),
	}
}

// FuzzParse asks that no file makes Parse, or what it returns, panic.
func FuzzParse(f *testing.F) {
	for _, data := range seedDocuments(f) {
		f.Add(data, "Hello <s> wörld  ab\n\nxx▁a你")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := Parse(data)
		if err != nil || len(text) > 200 {
			return
		}
		ids := tok.AppendEncode(nil, text, Options{AddSpecial: true})
		for _, id := range ids {
			if _, ok := tok.Token(id); !ok {
				t.Fatalf("%q became id %d, which is no token's", text, id)
			}
		}
		tok.Decode(ids, true)
		sequence(tok, tok.Pair(), text, "b")
		tok.AppendEncode(nil, text, Options{NoParseSpecial: true})
	})
}

// FuzzEncode asks that text survives encoding and decoding where the tokenizer
// rewrites nothing, and that the cache changes nothing.
func FuzzEncode(f *testing.F) {
	for _, text := range []string{"", "Hello there!", "  a\tb\r\n", "你好 ▁▁ \u0301", "\xff<0x41><unk>", strings.Repeat("ab", 99)} {
		f.Add(text)
	}
	strip := []any{member{"type": "Replace", "pattern": member{"String": "▁"}, "content": " "},
		member{"type": "ByteFallback"}, member{"type": "Fuse"}}
	toks := map[string]*Tokenizer{
		"byte-level": parseDocument(f, member{"decoder": byteLevel, "pre_tokenizer": byteLevel,
			"model": bytesBPE([2]string{"a", "b"}, [2]string{"Ġ", "ab"}, [2]string{"Ġ", "Ġ"}, [2]string{"ĠĠ", "ĠĠ"})}),
		"Llama 3": parseDocument(f, member{"decoder": byteLevel, "model": bytesBPE([2]string{"a", "b"}),
			"pre_tokenizer": member{"type": "Sequence", "pretokenizers": []any{
				member{"type": "Split", "behavior": "Isolated", "pattern": member{"Regex": llama3Pattern}},
				member{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}}}}),
		"byte fallback": parseDocument(f, member{"decoder": member{"type": "Sequence", "decoders": strip},
			"model":         fallbackBPE([]string{"▁", "a", "b", "▁a", "▁▁"}, [2]string{"▁", "a"}, [2]string{"▁", "▁"}),
			"pre_tokenizer": member{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false}}),
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, tok := range toks {
			want := string(appendValid(nil, text, nil))
			ids := tok.AppendEncode(nil, text, Options{})
			if name == "byte fallback" {
				want = strings.ReplaceAll(want, "▁", " ") // the mark cannot be told from a space
			}
			if got := tok.Decode(ids, false); got != want {
				t.Fatalf("%s: %q came back as %q", name, want, got)
			}
			uncached := Tokenizer{vocab: tok.vocab, pre: tok.pre, model: tok.model}
			again := uncached.AppendEncode(nil, text, Options{})
			if len(again) != len(ids) || utf8.RuneCountInString(text) > 0 && len(ids) == 0 {
				t.Fatalf("%s: %q is %v, without the cache %v", name, text, ids, again)
			}
		}
	})
}
