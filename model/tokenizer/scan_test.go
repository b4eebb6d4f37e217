package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dlclark/regexp2/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// randomText mixes what the patterns tell apart.
func randomText(rng *rand.Rand, n int) string {
	parts := []string{
		" ", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "a", "Z", "é", "你好", "Привет", "1", "23", "½", "Ⅷ", "'s", "'S", "'Ll",
		"'re", "'V", "'", "''", "!", "...", "_", "\u0301", "👍", "\u200d", "\x00", "x", "'lL", "'T", "\u0085",
	}
	var b strings.Builder
	for range n {
		b.WriteString(parts[rng.IntN(len(parts))])
	}
	return b.String()
}

func TestScannersFindWhatTheirPatternsMatch(t *testing.T) {
	names := map[string]string{gpt2Pattern: "GPT-2", llama3Pattern: "Llama 3", qwenPattern: "Qwen"}
	for expr, scan := range scanners {
		t.Run(names[expr], func(t *testing.T) {
			re, err := regexp2.Compile(expr)
			require.NoError(t, err)
			rng := rand.New(rand.NewPCG(5, 6))
			for range 3000 {
				text := []byte(randomText(rng, 1+rng.IntN(12)))
				require.Equal(t, backtracker{re}.find(nil, text), scanPattern{scan}.find(nil, text), "%q", text)
			}
		})
	}
}

func TestTheLongSFoldsToS(t *testing.T) {
	// Go's regexp2 does not fold it, the reference does.
	text := []byte("it'ſ")
	assert.Equal(t, []span{{0, 2, true}, {2, 5, true}}, scanPattern{scanDigits1}.find(nil, text))
}

func TestSplitBehaviors(t *testing.T) {
	for _, c := range []struct {
		behavior string
		invert   bool
		want     []string
	}{
		{"Isolated", false, []string{"the", "-", "final", "-", "-", "countdown"}},
		{"Removed", false, []string{"the", "final", "countdown"}},
		{"Removed", true, []string{"-", "-", "-"}},
		{"Contiguous", false, []string{"the", "-", "final", "--", "countdown"}},
		{"MergedWithPrevious", false, []string{"the-", "final-", "-", "countdown"}},
		{"MergedWithNext", false, []string{"the", "-final", "-", "-countdown"}},
	} {
		t.Run(c.behavior, func(t *testing.T) {
			for kind, pattern := range map[string]string{"String": "-", "Regex": "[-]"} {
				tok := parseDocument(t, member{"model": bytesBPE(), "pre_tokenizer": member{
					"type": "Split", "pattern": member{kind: pattern}, "behavior": c.behavior, "invert": c.invert}})
				var got []string
				tok.pre = append(tok.pre[:1:1], collector{&got})
				tok.AppendEncode(nil, "the-final--countdown", Options{})
				assert.Equal(t, c.want, got, kind)
			}
		})
	}
}

func TestOnlyThePieceAtTheStartIsFirst(t *testing.T) {
	tok := parseDocument(t, member{
		"model":         fallbackBPE([]string{"▁", "a", "b"}),
		"pre_tokenizer": member{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false},
		"added_tokens":  []any{member{"id": 260, "content": "<s>", "special": true}},
	})
	for text, want := range map[string][]string{
		"a":       {"▁", "a"},
		" a":      {"▁", "a"},
		"<s>a":    {"<s>", "a"},
		"a<s>b a": {"▁", "a", "<s>", "b", "▁", "a"},
	} {
		assert.Equal(t, want, tokensOf(tok, tok.AppendEncode(nil, text, Options{})), text)
	}
}

// o200k is a pattern without a scanner here.
const o200k = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
	`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
	`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`

func TestABacktrackingPatternTakesALongWord(t *testing.T) {
	p, err := compile(o200k)
	require.NoError(t, err)
	word := strings.Repeat("你", 200_000) // letters without case may stand in both halves
	assert.Equal(t, []span{{0, len(word), true}}, p.find(nil, []byte(word)))
}

func BenchmarkBacktracker(b *testing.B) {
	p, err := compile(o200k)
	require.NoError(b, err)
	text := []byte(strings.Repeat("Some words, 1234 of them; it's prose.\n", 2_500))
	b.SetBytes(int64(len(text)))
	var spans []span
	for b.Loop() {
		spans = p.find(spans[:0], text)
	}
}

// A collector is a last stage that keeps the pieces it gets.
type collector struct{ pieces *[]string }

func (c collector) run(r *run, _ int, text []byte, _ bool, b borders) {
	*c.pieces = append(*c.pieces, string(text))
	r.settle(b)
}
