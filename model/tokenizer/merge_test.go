package tokenizer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// mergeNaive is the definition: merge the pair of lowest rank, the leftmost
// among equals, until none merges.
func mergeNaive(t *mergeTable, ids []int32) []int32 {
	ids = slices.Clone(ids)
	for {
		best, at := noMerge, -1
		for i := range len(ids) - 1 {
			if r := t.get(ids[i], ids[i+1]); r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			return ids
		}
		ids[at] = int32(uint32(best))
		ids = slices.Delete(ids, at+1, at+2)
	}
}

// randomMerges is a table over symbols 0 to 3 in which many pairs merge.
func randomMerges(rng *rand.Rand) *mergeTable {
	table := newMergeTable(64)
	for rank := range 64 {
		top := int32(4 + rank)
		table.put(rng.Int32N(top), rng.Int32N(top), uint32(rank), top)
	}
	return table
}

func TestMergingIsByRankAndThenFromTheLeft(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var sc mergeScratch
	for range 200 {
		table := randomMerges(rng)
		for _, n := range []int{0, 1, 2, 3, 7, shortWord - 1, shortWord, shortWord + 1, 2 * shortWord, 300} {
			word := make([]int32, n)
			for i := range word {
				word[i] = rng.Int32N(4)
			}
			sc.ids = append(sc.ids[:0], word...)
			got := table.merge(&sc, []int32{-7})
			assert.Equal(t, append([]int32{-7}, mergeNaive(table, word)...), got, "%d symbols", n)
		}
	}
}

func TestALongWordCostsLinearlyManyHeapOperations(t *testing.T) {
	tok := parseDocument(t, member{
		"model":         bytesBPE([2]string{"a", "a"}, [2]string{"aa", "aa"}, [2]string{"aaaa", "aaaa"}, [2]string{"a", "b"}),
		"pre_tokenizer": byteLevel, "decoder": byteLevel,
	})
	for _, n := range []int{1_000, 10_000, 100_000} {
		for _, word := range []string{strings.Repeat("a", n), strings.Repeat("ab", n/2), strings.Repeat("aab", n/3)} {
			sc := new(scratch)
			tok.model.appendWord(sc, nil, []byte(word))
			// n-1 pairs at the start, and at most two new ones for each of at
			// most n-1 merges.
			assert.LessOrEqual(t, sc.merge.pushes, 3*n, "%d bytes of %.3q", n, word)
			assert.Positive(t, sc.merge.pushes)
		}
	}
}

func TestALaterMergeOfTheSamePairReplacesTheEarlier(t *testing.T) {
	table := newMergeTable(2)
	table.put(1, 2, 0, 10)
	table.put(1, 2, 5, 11)
	assert.Equal(t, uint64(5)<<32|11, table.get(1, 2))
	assert.Equal(t, noMerge, table.get(2, 1))
}

// Cutting at seams must not change what merging the whole text gives.
func TestCuttingAtSeamsChangesNothing(t *testing.T) {
	tokens := []string{"▁", "a", "b", "c", "▁a", "▁▁", "ab", "▁ab", "b▁", "b▁a", "▁▁a", "cc", "▁cc"}
	tok := parseDocument(t, member{"model": fallbackBPE(tokens,
		[2]string{"▁", "a"}, [2]string{"▁", "▁"}, [2]string{"a", "b"}, [2]string{"▁a", "b"},
		[2]string{"b", "▁"}, [2]string{"b▁", "a"}, [2]string{"▁▁", "a"}, [2]string{"c", "c"}, [2]string{"▁", "cc"})})
	if assert.Len(t, tok.pre, 1) {
		after := tok.pre[0].(seams).after
		assert.True(t, after.has('a') && after.has('c'), "no token has a▁ or c▁")
		assert.False(t, after.has('b') || after.has('▁'), "b▁ and ▁▁ are tokens")
		assert.False(t, after.has('x'), "x is no token, so it may fuse")
	}
	whole := &Tokenizer{vocab: tok.vocab, model: tok.model}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		var text strings.Builder
		for range 1 + rng.IntN(40) {
			text.WriteString([]string{"▁", "▁", "a", "b", "c", "x", "é"}[rng.IntN(7)])
		}
		want := whole.AppendEncode(nil, text.String(), Options{})
		assert.Equal(t, want, tok.AppendEncode(nil, text.String(), Options{}), text.String())
	}
}

func TestUnknownSymbolsFuseFallBackOrVanish(t *testing.T) {
	for _, c := range []struct {
		name         string
		fuse         bool
		fallback     bool
		unk          any
		text         string
		want         []string
		prefix, suff any
	}{
		{name: "each is unknown", unk: "<unk>", text: "azzb", want: []string{"a", "<unk>", "<unk>", "b"}},
		{name: "a run is one unknown", unk: "<unk>", fuse: true, text: "azzb", want: []string{"a", "<unk>", "b"}},
		{name: "without unknown token they vanish", text: "azzb", want: []string{"a", "b"}},
		{name: "bytes where all bytes are tokens", unk: "<unk>", fallback: true, text: "aéz", want: []string{"a", "<0xC3>", "<0xA9>", "<unk>"}},
		{name: "an unknown token comes out after the bytes behind it, as in the reference", unk: "<unk>", fallback: true,
			text: "zéa", want: []string{"<0xC3>", "<0xA9>", "<unk>", "a"}},
		{name: "prefixed symbols inside the word", unk: "<unk>", prefix: "##", text: "aab", want: []string{"a", "##a", "<unk>"}},
		{name: "a suffixed symbol at its end", unk: "<unk>", suff: "</w>", text: "ba", want: []string{"b", "a</w>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok := parseDocument(t, member{"model": member{
				"type": "BPE", "unk_token": c.unk, "fuse_unk": c.fuse, "byte_fallback": c.fallback,
				"continuing_subword_prefix": c.prefix, "end_of_word_suffix": c.suff, "merges": []any{},
				"vocab": vocabOf("<unk>", "a", "b", "##a", "a</w>", "<0xC3>", "<0xA9>"),
			}})
			assert.Equal(t, c.want, tokensOf(tok, tok.AppendEncode(nil, c.text, Options{})))
		})
	}
}

func TestIgnoreMergesTakesWholeWordsFromTheVocabulary(t *testing.T) {
	model := bytesBPE([2]string{"a", "b"})
	model["vocab"].(map[string]int)["Ġcab"] = 257
	for _, ignore := range []bool{false, true} {
		t.Run(fmt.Sprint(ignore), func(t *testing.T) {
			model["ignore_merges"] = ignore
			tok := parseDocument(t, member{"model": model, "pre_tokenizer": byteLevel})
			want := []string{"Ġ", "c", "ab"}
			if ignore {
				want = []string{"Ġcab"}
			}
			assert.Equal(t, want, tokensOf(tok, tok.AppendEncode(nil, " cab", Options{})))
		})
	}
}
