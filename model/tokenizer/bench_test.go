package tokenizer

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// benchText returns about 200 KB of English prose, or the mixed goldens.
func benchText(b *testing.B, kind string) []string {
	b.Helper()
	if kind == "mixed" {
		return lines(readShared(b, "tokenizers", "mixed_input.txt"))
	}
	z, err := zstd.NewReader(bytes.NewReader(readShared(b, "data", "text", "openstax_ccby.txt.zst")))
	require.NoError(b, err)
	defer z.Close()
	prose := make([]byte, 200_000)
	_, err = io.ReadFull(z, prose)
	require.NoError(b, err)
	return strings.SplitAfter(string(prose), "\n\n")
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"gpt2", "qwen3", "mistral03", "bert_base_uncased", "xlnet_base_cased"} {
		for _, kind := range []string{"english", "mixed"} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				tok := load(b, "tokenizers", name, "tokenizer.json")
				texts := benchText(b, kind)
				size, ids := 0, []int32(nil)
				for _, text := range texts {
					size += len(text)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					n = 0
					for _, text := range texts {
						ids = tok.AppendEncode(ids[:0], text, Options{})
						n += len(ids)
					}
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}

// A conversation of a few parts beside the same text as a whole.
func BenchmarkParts(b *testing.B) {
	for _, name := range []string{"gpt2", "qwen3", "mistral03", "bert_base_uncased"} {
		tok := load(b, "tokenizers", name, "tokenizer.json")
		text := strings.Join(benchText(b, "english"), "")[:20_000]
		parts := []Part{{500, false}, {9_000, true}, {9_020, false}, {19_980, true}, {len(text), false}}
		for kind, encode := range map[string]func(ids []int32) []int32{
			"whole": func(ids []int32) []int32 { return tok.AppendEncode(ids, text, Options{}) },
			"parts": func(ids []int32) []int32 { ids, _, _ = tok.AppendParts(ids, text, parts, 0); return ids },
		} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				var ids []int32
				for b.Loop() {
					ids = encode(ids[:0])
				}
			})
		}
	}
}

// A word is encoded without the cache only the first time.
func BenchmarkEncodeUncached(b *testing.B) {
	for _, name := range []string{"gpt2", "qwen3", "mistral03"} {
		b.Run(name, func(b *testing.B) {
			tok := load(b, "tokenizers", name, "tokenizer.json")
			tok.cache = nil
			text := strings.Join(benchText(b, "english"), "")
			b.SetBytes(int64(len(text)))
			var ids []int32
			for b.Loop() {
				ids = tok.AppendEncode(ids[:0], text, Options{})
			}
		})
	}
}

// 100 KB without a space are one word, or nearly.
func BenchmarkEncodeOneWord(b *testing.B) {
	for _, name := range []string{"gpt2", "qwen3", "mistral03", "bert_base_uncased", "xlnet_base_cased"} {
		b.Run(name, func(b *testing.B) {
			tok := load(b, "tokenizers", name, "tokenizer.json")
			text := strings.Repeat("lettersandmoreletters", 100_000/21)
			b.SetBytes(int64(len(text)))
			var ids []int32
			for b.Loop() {
				ids = tok.AppendEncode(ids[:0], text, Options{})
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"gpt2", "qwen3", "mistral03"} {
		b.Run(name, func(b *testing.B) {
			data := readShared(b, "tokenizers", name, "tokenizer.json")
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_, err := Parse(data)
				require.NoError(b, err)
			}
		})
	}
}
