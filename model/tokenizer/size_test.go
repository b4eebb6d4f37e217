package tokenizer

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// sizedTokenizers has one of each model and of each way of cutting words.
var sizedTokenizers = []string{"bert_base_uncased", "gpt2", "mistral03", "modernbert", "qwen3", "xlnet_base_cased"}

func TestScratchBoundsWhatEncodingTakes(t *testing.T) {
	const n = 1 << 17
	for _, name := range sizedTokenizers {
		tk := load(t, "tokenizers", name, "tokenizer.json")
		for what, unit := range map[string]string{
			"one word": "a", "digits": "1 ", "spaces": " ", "marks": "!", "no spaces": "你好，世界。", "code": "{\"a\":1},",
			"sentences": "The quick brown fox jumps over the lazy dog, and nobody knows why. ",
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				text := strings.Repeat(unit, n/len(unit))
				var before, after runtime.MemStats
				runtime.GC()
				runtime.GC() // pools let go of what they hold at the second
				runtime.ReadMemStats(&before)
				ids := tk.AppendEncode(make([]int32, 0, len(text)), text, Options{})
				runtime.ReadMemStats(&after)
				took := int64(after.TotalAlloc-before.TotalAlloc) - 4*int64(cap(ids))
				// A chunk's own scratch is there whatever the text is, and some
				// models leave garbage word by word.
				assert.LessOrEqual(t, took, tk.Scratch(text)+4<<20)
			})
		}
	}
}

func TestOrdinaryTextTakesLittleScratch(t *testing.T) {
	for _, name := range sizedTokenizers {
		tk := load(t, "tokenizers", name, "tokenizer.json")
		assert.Less(t, tk.Scratch(strings.Repeat("The quick brown fox jumps over the lazy dog, and nobody knows why. ", 10_000)), int64(16<<10), name)
		assert.Greater(t, tk.Scratch(strings.Repeat("a", 1<<20)), int64(32<<20), name)
	}
}
