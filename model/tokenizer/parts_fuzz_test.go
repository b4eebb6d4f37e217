package tokenizer

import (
	"maps"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// partTokenizers are the tokenizers of partDocuments.
func partTokenizers(t testing.TB) map[string]*Tokenizer {
	toks := map[string]*Tokenizer{}
	for name, data := range partDocuments(t) {
		tok, err := Parse(data)
		require.NoError(t, err)
		toks[name] = tok
	}
	return toks
}

func sortedNames(toks map[string]*Tokenizer) []string { return slices.Sorted(maps.Keys(toks)) }

// partDocuments are small tokenizers of all kinds, with special tokens that
// share characters with each other and with ordinary text.
func partDocuments(t testing.TB) map[string][]byte {
	sequence := func(list string, parts ...any) member { return member{"type": "Sequence", list: parts} }
	added := func(from int, tokens ...member) []any {
		list := []any{}
		for i, tok := range tokens {
			full := member{"id": from + i, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}
			maps.Copy(full, tok)
			list = append(list, full)
		}
		return list
	}
	tokens := func(from int, normalized bool) []any {
		return added(from,
			member{"content": "<s>", "special": true, "normalized": normalized},
			member{"content": "<s>a", "special": true},
			member{"content": "a<s>", "normalized": normalized},
			member{"content": "[m]", "special": true, "lstrip": true, "rstrip": true},
			member{"content": "s>", "special": true, "normalized": normalized},
			member{"content": "<w>", "special": true, "single_word": true},
			member{"content": "b b"})
	}
	accents := member{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true}
	unigram := []any{[]any{"<unk>", 0.0}, []any{"</s>", 0.0}, []any{"▁", -2.0}, []any{"a", -3.0}, []any{"ab", -3.5}, []any{"▁a", -2.5},
		[]any{"<", -4.0}, []any{"/", -4.0}, []any{"s", -4.0}, []any{">", -4.0}, []any{"s>", -1.0}}
	return map[string][]byte{
		"byte-level": document(t, member{"pre_tokenizer": byteLevel, "normalizer": member{"type": "NFC"},
			"model": bytesBPE([2]string{"a", "b"}, [2]string{"Ġ", "ab"}), "added_tokens": tokens(258, false)}),
		"NFKC, lower case": document(t, member{"pre_tokenizer": byteLevel, "added_tokens": tokens(257, true),
			"normalizer": sequence("normalizers", member{"type": "NFKC"}, member{"type": "Lowercase"}), "model": bytesBPE([2]string{"a", "b"})}),
		"Metaspace": document(t, member{"model": fallbackBPE([]string{"▁", "a", "b", "▁a"}, [2]string{"▁", "a"}),
			"pre_tokenizer": member{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false},
			"added_tokens":  tokens(261, true)}),
		"Prepend and Replace": document(t, member{"model": fallbackBPE([]string{"▁", "a", "b", "▁a", "▁▁"}, [2]string{"▁", "a"}, [2]string{"▁", "▁"}),
			"normalizer": sequence("normalizers", member{"type": "Prepend", "prepend": "▁"},
				member{"type": "Replace", "pattern": member{"String": " "}, "content": "▁"}), "added_tokens": tokens(262, false)}),
		"BERT": document(t, member{"normalizer": accents, "pre_tokenizer": member{"type": "BertPreTokenizer"},
			"model": member{"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9,
				"vocab": vocabOf("u", "a", "##b", "b", "s", "<", ">", "[", "]", "m")}, "added_tokens": tokens(10, false)}),
		"WordPiece over words": document(t, member{"pre_tokenizer": member{"type": "WhitespaceSplit"},
			"model": member{"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9,
				"vocab": vocabOf("u", "a", "##b", "<s>", "<", "##s", "##>", "##a")}, "added_tokens": added(3, member{"content": "<s>", "special": true})}),
		"Unigram": document(t, member{"model": member{"type": "Unigram", "unk_id": 0, "vocab": unigram},
			"pre_tokenizer": member{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
			"normalizer": sequence("normalizers", member{"type": "NFD"}, member{"type": "StripAccents"},
				member{"type": "Replace", "pattern": member{"String": "``"}, "content": "\""}, member{"type": "Strip", "strip_left": true, "strip_right": true}),
			"added_tokens": added(1, member{"content": "</s>", "special": true})}),
		"merges to a special token": document(t, member{
			"pre_tokenizer": member{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false},
			"model":         bytesBPE([2]string{"<", "s"}, [2]string{"<s", ">"}, [2]string{"<s>", "a"}),
			"added_tokens":  added(257, member{"content": "<s>", "special": true})}),
	}
}

// FuzzParts holds AppendParts to what it promises, for tokenizers of all kinds.
// cuts are lengths of parts in turn, whose lowest bit says whether they are plain.
func FuzzParts(f *testing.F) {
	for _, text := range []string{"ab ab", "x<s>a b b[m] ab", "<s><s>a<s>", "e\u0301<s>\u0338 ab", "\xe2\x96<s>\xff a", "＜ｓ＞ Ｓ＞ab",
		"</s>ab `` é ``", "ab  [m]  <w>x 你好ab\n\nab", " a\u200db<s>\u0301"} {
		for _, cuts := range []string{"\x02", "\x03\x02", "\x05\x00\x07\x04\x01\x03", "\x06\x0b\x08\x09"} {
			f.Add(text, []byte(cuts))
		}
	}
	toks, chopped := partTokenizers(f), partTokenizers(f)
	for _, tok := range chopped {
		tok.cut.size = 1 // cuts text wherever it can
	}
	names := sortedNames(toks)
	f.Fuzz(func(t *testing.T, text string, cuts []byte) {
		if len(text) > 200 {
			return
		}
		var parts []Part
		for at, i := 0, 0; at < len(text); i++ {
			c := byte(len(text) << 1)
			if i < len(cuts) {
				c = cuts[i]
			}
			at = min(len(text), at+int(c>>1))
			parts = append(parts, Part{at, c&1 != 0})
			if i >= len(cuts) {
				parts[i].End, at = len(text), len(text)
			}
		}
		for _, name := range names {
			t.Run(name, func(t *testing.T) { checkParts(t, toks[name], chopped[name], text, parts) })
		}
	})
}

func checkParts(t *testing.T, tok, chopped *Tokenizer, text string, parts []Part) {
	open := slices.Clone(parts)
	for i := range open {
		open[i].Plain = false
	}
	ids, ranges, err := tok.AppendParts(nil, text, open, 0)
	require.NoError(t, err)
	require.Equal(t, tok.AppendEncode(nil, text, Options{}), ids, "parts change how text is cut")
	checkRanges(t, tok, text, open, ids, ranges)

	ids, ranges, err = tok.AppendParts(nil, text, parts, 0)
	require.NoError(t, err)
	require.Equal(t, specialOf(tok, text, parts), onlySpecial(tok, ids), "special tokens are those of the other parts alone")
	checkRanges(t, tok, text, parts, ids, ranges)

	again, sameRanges, err := chopped.AppendParts(nil, text, parts, 0)
	require.NoError(t, err)
	require.Equal(t, ids, again, "chunks change the tokens")
	require.Equal(t, ranges, sameRanges, "chunks change the ranges")

	if n := len(ids); n > 0 {
		_, _, err = tok.AppendParts(nil, text, parts, n)
		require.NoError(t, err)
	}
	if n := len(ids); n > 1 {
		_, _, err = tok.AppendParts(nil, text, parts, n-1)
		require.ErrorIs(t, err, ErrLimit)
	}
}

// checkRanges holds each range to those of the text cut in two, in front of the
// part and behind it.
func checkRanges(t *testing.T, tok *Tokenizer, text string, parts []Part, ids []int32, ranges []Range) {
	at, last := 0, Range{}
	covered := 0
	for i, p := range parts {
		r := ranges[i]
		require.True(t, 0 <= r.From && r.From <= r.To && r.To <= len(ids), "%v of %d tokens", r, len(ids))
		require.True(t, r.From >= last.From && r.To >= last.To || r.From == r.To, "%v after %v", r, last)
		require.LessOrEqual(t, r.From, covered, "a token of no part")
		covered, last = max(covered, r.To), r
		if at == p.End {
			require.Equal(t, r.From, r.To)
		}
		if plainAll(parts) { // else the cut itself changes what is read
			left, right := cutInTwo(t, tok, text, at, p.Plain), cutInTwo(t, tok, text, p.End, p.Plain)
			if r.From < r.To {
				require.Equal(t, Range{left[1].From, right[0].To}, r)
			}
		}
		at = p.End
	}
	require.Equal(t, len(ids), covered, "tokens of no part")
}

// plainAll reports whether all parts are plain, or none.
func plainAll(parts []Part) bool {
	return !slices.ContainsFunc(parts, func(p Part) bool { return p.Plain != parts[0].Plain })
}

func cutInTwo(t *testing.T, tok *Tokenizer, text string, at int, plain bool) []Range {
	_, ranges, err := tok.AppendParts(nil, text, []Part{{at, plain}, {len(text), plain}}, 0)
	require.NoError(t, err)
	return ranges
}

// specialOf returns the special tokens of the parts that are not plain, each run
// of them tokenised alone.
func specialOf(tok *Tokenizer, text string, parts []Part) (ids []int32) {
	at, run := 0, ""
	for i, p := range parts {
		if !p.Plain {
			run += text[at:p.End]
		}
		if p.Plain && p.End > at || i == len(parts)-1 {
			ids = append(ids, onlySpecial(tok, tok.AppendEncode(nil, run, Options{}))...)
			run = ""
		}
		at = p.End
	}
	return ids
}

func onlySpecial(tok *Tokenizer, ids []int32) (special []int32) {
	for _, id := range ids {
		if tok.IsSpecial(id) && id != tok.model.unknown() {
			special = append(special, id)
		}
	}
	return special
}

// A byte-level token holds as many bytes as it stands for, whatever surrounds it.
func TestRangesOfBytesAreCounted(t *testing.T) {
	tok := parseDocument(t, member{"pre_tokenizer": byteLevel,
		"model": bytesBPE([2]string{"a", "b"}, [2]string{"Ġ", "ab"}, [2]string{"Ġab", "ab"})})
	text := "ab abab a b\n\nab你ab  ababab"
	require.True(t, utf8.ValidString(text))
	for from := range len(text) + 1 {
		for to := from; to <= len(text); to++ {
			ids, ranges, err := tok.AppendParts(nil, text, []Part{{from, false}, {to, true}, {len(text), false}}, 0)
			require.NoError(t, err)
			want, at := Range{-1, -1}, 0
			for i, id := range ids {
				token, _ := tok.Token(id)
				raw, _ := appendBytes(nil, token)
				if at < to && at+len(raw) > from && from < to {
					if want.From < 0 {
						want.From = i
					}
					want.To = i + 1
				}
				at += len(raw)
			}
			if from < to {
				require.Equal(t, want, ranges[1], "%d to %d", from, to)
			}
		}
	}
}
