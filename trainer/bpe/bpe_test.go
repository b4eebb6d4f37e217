package bpe

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/tokenizer"
)

// words cuts a whole text.
func words(text string) []string {
	var out []string
	for b := []byte(text); len(b) > 0; {
		n := tokenizer.GPT2Word(b)
		out = append(out, string(b[:n]))
		b = b[n:]
	}
	return out
}

func TestWordsAreCutAsGPT2Does(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"Hello world", []string{"Hello", " world"}},
		{"it's we'll 'tis", []string{"it", "'s", " we", "'ll", " '", "tis"}},
		{"a  b", []string{"a", " ", " b"}},
		{"a   b", []string{"a", "  ", " b"}},
		{"a\n\nb", []string{"a", "\n", "\n", "b"}},
		{"a \nb", []string{"a", " ", "\n", "b"}},
		{"x12 34!? ok", []string{"x", "12", " 34", "!?", " ok"}},
		{"end  ", []string{"end", "  "}},
		{"déjà-vu", []string{"déjà", "-", "vu"}},
		{" ", []string{" "}},
	} {
		assert.Equal(t, c.want, words(c.text), "%q", c.text)
	}
}

// simple is the pattern without its look-ahead, for texts in which no two white
// spaces follow each other.
var simple = regexp.MustCompile(`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+`)

func TestWordsEqualThePattern(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	letters := []rune("abé'sltz09²½.!-中語 \n")
	for range 2000 {
		var b strings.Builder
		space := true
		for range 20 {
			c := letters[r.IntN(len(letters))]
			if (c == ' ' || c == '\n') && space {
				continue
			}
			space = c == ' ' || c == '\n'
			b.WriteRune(c)
		}
		text := strings.TrimSpace(b.String())
		if strings.Contains(text, "\n") {
			text = strings.ReplaceAll(text, "\n", " ")
		}
		if text != "" {
			require.Equal(t, simple.FindAllString(text, -1), words(text), "%q", text)
		}
	}
}

func TestMergesOfAKnownText(t *testing.T) {
	c := NewCounter()
	c.Add([]byte(strings.Repeat("hug ", 10) + strings.Repeat("pug ", 5) + strings.Repeat("pun ", 12) + strings.Repeat("bun ", 4) + strings.Repeat("hugs ", 5)))
	merges, err := c.Train(256 + 3)
	require.NoError(t, err)
	// The example of Hugging Face's course: u+g 20, u+n 16, h+ug 15. Here words but
	// the first begin with a space, and space+p has 17.
	assert.Equal(t, [][2]int32{{'u', 'g'}, {' ', 'p'}, {'u', 'n'}}, merges)
}

func TestTrainedTokenizersEncodeAndDecode(t *testing.T) {
	text := strings.Repeat("The quick brown fox isn't lazy; 42 dogs — naïve ones — are.\n\n  Indented\tlines too.\n", 20)
	c := NewCounter()
	c.Add([]byte(text))
	merges, err := c.Train(400)
	require.NoError(t, err)
	again := NewCounter()
	again.Add([]byte(text))
	same, err := again.Train(400)
	require.NoError(t, err)
	assert.Equal(t, merges, same, "equal text gives equal merges")

	file, config, err := Write(merges, DefaultSpecial(), 128)
	require.NoError(t, err)
	tok, err := tokenizer.Parse(file)
	require.NoError(t, err)
	assert.Equal(t, 3+256+len(merges), tok.VocabSize())
	assert.Contains(t, string(config), `"pad_token": "<pad>"`)
	ids := tok.AppendEncode(nil, text, tokenizer.Options{AddSpecial: true})
	bos, _ := tok.ID("<s>")
	assert.Equal(t, bos, ids[0])
	assert.Equal(t, text, tok.Decode(ids, true))
	assert.Less(t, len(ids), len(text)/3, "frequent words are one token")
	for _, s := range []string{"unseen \x00 bytes ✓ 日本", "a", ""} {
		assert.Equal(t, s, tok.Decode(tok.AppendEncode(nil, s, tokenizer.Options{}), true))
	}
}

func TestTooFewSymbolsAreRefused(t *testing.T) {
	_, err := NewCounter().Train(255)
	assert.Error(t, err)
	_, _, err = Write(nil, Special{BOS: "<s>", EOS: "<s>"}, 0)
	assert.ErrorContains(t, err, "twice")
	merges, err := NewCounter().Train(300)
	require.NoError(t, err)
	assert.Empty(t, merges, "nothing to merge")
}

func BenchmarkTrain(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var text strings.Builder
	for range 100000 {
		for range 1 + r.IntN(8) {
			text.WriteByte(byte('a' + r.IntN(6)))
		}
		text.WriteByte(' ')
	}
	for b.Loop() {
		c := NewCounter()
		c.Add([]byte(text.String()))
		_, err := c.Train(2000)
		require.NoError(b, err)
	}
}
