package tokenizer

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestACacheSlotReturnsWhatWasStored(t *testing.T) {
	var s cacheSlot
	for n := 1; n <= maxCachedBytes; n++ {
		word := []byte(strings.Repeat("abcdefg", 7)[:n])
		ids := make([]int32, 1+n%maxCachedIDs)
		for i := range ids {
			ids[i] = int32(n*100 + i)
		}
		s.store(word, ids)
		got, ok := s.lookup([]int32{-1}, word)
		assert.True(t, ok, "%d bytes", n)
		assert.Equal(t, append([]int32{-1}, ids...), got)
		word[n-1]++
		_, ok = s.lookup(nil, word)
		assert.False(t, ok, "another word of %d bytes", n)
	}
	s.store([]byte("word"), nil)
	got, ok := s.lookup(nil, []byte("word"))
	assert.True(t, ok, "a word may have no ids")
	assert.Empty(t, got)
	s.store([]byte("long"), make([]int32, maxCachedIDs+1))
	_, ok = s.lookup(nil, []byte("long"))
	assert.False(t, ok, "too many ids are not stored")
}

func TestASlotThatIsBeingWrittenIsLeftAlone(t *testing.T) {
	var s cacheSlot
	s.store([]byte("word"), []int32{1})
	s.head.Or(cacheLocked)
	_, ok := s.lookup(nil, []byte("word"))
	assert.False(t, ok)
	s.store([]byte("word"), []int32{2})
	s.head.And(^uint64(cacheLocked))
	got, ok := s.lookup(nil, []byte("word"))
	assert.True(t, ok)
	assert.Equal(t, []int32{1}, got)
}

// Goroutines that fight for one slot must never see another word's ids; run
// with -race.
func TestOneSlotSharedByGoroutinesNeverMixesWords(t *testing.T) {
	var s cacheSlot
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(g)))
			for range 5_000 {
				n := rng.Int32N(5)
				word := fmt.Appendf(nil, "word number %d", n)
				if ids, ok := s.lookup(nil, word); ok {
					assert.Equal(t, []int32{n, n + 1, n + 2}, ids)
				} else {
					s.store(word, []int32{n, n + 1, n + 2})
				}
			}
		})
	}
	wg.Wait()
}

func TestGoroutinesShareATokenizer(t *testing.T) {
	tok := parseDocument(t, member{
		"model":         bytesBPE([2]string{"a", "b"}, [2]string{"Ġ", "ab"}),
		"pre_tokenizer": byteLevel, "decoder": byteLevel, "normalizer": member{"type": "NFC"},
	})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(8, uint64(g)))
			var ids []int32
			for range 500 {
				text := strings.Map(func(r rune) rune {
					if r == '\u0301' {
						return -1 // composes with what is before it
					}
					return r
				}, randomText(rng, 30)) + " ab ab"
				ids = tok.AppendEncode(ids[:0], text, Options{})
				assert.Equal(t, text, tok.Decode(ids, false))
			}
		})
	}
	wg.Wait()
}

func TestEncodingAllocatesNothingInTheSteadyState(t *testing.T) {
	const text = "Hello there, it's 1234 words. ab ab\n\n  and more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for name, set := range map[string]member{
		"byte-level": {"model": bytesBPE([2]string{"a", "b"}), "pre_tokenizer": byteLevel, "normalizer": member{"type": "NFC"}},
		"Metaspace": {"model": fallbackBPE([]string{"▁", "a", "b", "▁a"}, [2]string{"▁", "a"}),
			"pre_tokenizer": member{"type": "Metaspace", "replacement": "▁", "split": false}},
		"BERT": {"model": member{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
			"max_input_chars_per_word": 100, "vocab": vocabOf("[UNK]", "hello", "a", "##b")},
			"pre_tokenizer": member{"type": "BertPreTokenizer"},
			"normalizer":    member{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true}},
	} {
		t.Run(name, func(t *testing.T) {
			tok := parseDocument(t, set)
			ids := tok.AppendEncode(nil, text, Options{})
			if raceEnabled {
				t.Skip("the race detector empties pools at random")
			}
			assert.Zero(t, testing.AllocsPerRun(100, func() { ids = tok.AppendEncode(ids[:0], text, Options{}) }))
		})
	}
}

// A long text needs no copy of itself, however it is normalized.
func TestALongTextIsTokenisedInPieces(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector counts its own memory")
	}
	text := strings.Repeat("some words ab and  more ", 1<<17)
	for name, tok := range partTokenizers(t) {
		if !tok.cut.ok {
			continue // the text is one word to it
		}
		t.Run(name, func(t *testing.T) {
			ids := tok.AppendEncode(nil, text, Options{})
			parts := []Part{{len(text) / 3, false}, {len(text) / 2, true}, {len(text), false}}
			// The scratch space of the encoding before is at hand: one processor
			// keeps it, and nothing collects it.
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			tok.AppendEncode(ids[:0], text, Options{})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			again, _, err := tok.AppendParts(ids[:0], text, parts, 0)
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			assert.Len(t, again, len(ids))
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(text))/4, "bytes for a text of %d", len(text))
		})
	}
}
