package judge

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/rm"
)

func TestABagOfWordsLearnsWhichWordsDecide(t *testing.T) {
	var pairs []rm.Preference
	for i := range 100 {
		w := string(rune('a'+i%26)) + " thing"
		pairs = append(pairs, rm.Preference{Pair: data.Pair{Chosen: data.Text{Plain: "The GOOD " + w}, Rejected: data.Text{Plain: "the bad " + w}}, Label: 1})
	}
	b, err := newBagOfWords(pairs)
	require.NoError(t, err)
	assert.Greater(t, b.score("good!"), b.score("bad!"))
	assert.InDelta(t, 0, b.score("thing"), 1e-6, "a word on both sides says nothing")
	assert.Zero(t, b.score("unseen"))
	assert.Equal(t, []string{"it", "'", "s", "42", "é"}, splitWords("It's 42 É"))
	_, err = newBagOfWords(nil)
	assert.Error(t, err)
}
