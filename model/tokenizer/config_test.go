package tokenizer

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A configGolden is what a version of transformers makes of a case; see
// deploy/goldens/tokenizer_config.py.
type configGolden struct {
	Error   string
	Texts   [][]int32
	Pair    []int32
	Special []int32
}

// Where both versions of transformers agree, their tokens are ours without a
// word; where they do not, or ours are others, a note says which field it was.
func TestTheConfigurationIsFollowedAsTransformersDoes(t *testing.T) {
	var golden struct {
		Texts, Pair []string
		Tokenizers  []json.RawMessage
		Cases       map[string]struct {
			Tokenizer    int
			Config       json.RawMessage
			Transformers map[string]configGolden
		}
	}
	data, err := os.ReadFile("testdata/tokenizer_config.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	require.Greater(t, len(golden.Cases), 40)
	for name, c := range golden.Cases {
		t.Run(name, func(t *testing.T) {
			configured, notes, err := Files{Tokenizer: golden.Tokenizers[c.Tokenizer], TokenizerConfig: c.Config}.Configured()
			require.NoError(t, err)
			tok, err := Parse(configured)
			require.NoError(t, err)
			got := configGolden{}
			for _, text := range golden.Texts {
				got.Texts = append(got.Texts, tok.AppendEncode(nil, text, Options{AddSpecial: true}))
			}
			got.Pair, _ = sequence(tok, tok.Pair(), golden.Pair...)
			for id := range int32(tok.VocabSize()) {
				if tok.IsSpecial(id) {
					got.Special = append(got.Special, id)
				}
			}
			v4, v5 := c.Transformers["4"], c.Transformers["5"]
			require.Empty(t, v5.Error)
			differs := v4.Error == "" && !assert.ObjectsAreEqual(v4, v5) || !assert.ObjectsAreEqual(got, v5)
			if len(notes) == 0 {
				assert.Equal(t, v5, got)
				if v4.Error == "" {
					assert.Equal(t, v4, got)
				}
			} else {
				assert.True(t, differs || noted[name], "%q, but all agree", notes)
			}
		})
	}
}

// noted are the cases with a note although the tokens are transformers'.
var noted = map[string]bool{
	"added_tokens_decoder with an id that is not the next": true,
	"a class that is not known":                            true,
}
