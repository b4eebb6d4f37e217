package model

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRotationGoesByTheWholeInput: tokens behind the scored one count, and a
// shorter text with the same beginning is not taken for it.
func TestRotationGoesByTheWholeInput(t *testing.T) {
	engine := NewEngine(1)
	defer engine.Close()
	for _, name := range []string{"dynamic", "longrope"} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseConfig([]byte(configs[name]))
			require.NoError(t, err)
			m := randomModel(t, configs[name], 0)
			long, got := make([]int32, 40), make([]float32, 3)
			for i := range long {
				long[i] = int32(1 + i)
			}
			seqs := []Sequence{{IDs: long[:20], Read: []int32{19}}, {IDs: long, Read: []int32{19}}, {IDs: long[:21], Read: []int32{19}}}
			require.NoError(t, engine.Score(m, got, seqs))
			assert.Equal(t, got[0], got[2], "both are within the limit")
			assert.NotEqual(t, got[0], got[1], "one of %d tokens is over it", len(long))
			for i := range seqs {
				alone := make([]float32, 1)
				require.NoError(t, engine.Score(m, alone, seqs[i:i+1]))
				assert.Equal(t, alone[0], got[i])
			}
			tr, err := NewTraining(c, NewRandom(c, 1), 2, 0)
			require.NoError(t, err)
			defer tr.Close()
			trained := make([]float32, len(seqs))
			require.NoError(t, tr.Forward(trained, seqs, Pass{}))
			assert.Equal(t, got, trained)
		})
	}
}

// TestAnswersAreNotContinuedWhereKeysWouldTurn: a cache of rotated keys holds for
// one set of frequencies.
func TestAnswersAreNotContinuedWhereKeysWouldTurn(t *testing.T) {
	c, err := ParseConfig([]byte(configs["dynamic"]))
	require.NoError(t, err)
	src := NewRandom(c, 1)
	delete(src.shapes, "score.weight")
	src.names = src.names[:len(src.names)-1]
	d, err := NewDecoder(c, src, true, 1)
	require.NoError(t, err)
	defer d.Close()
	first := func(int, []float32) (int32, bool) { return 1, false }
	prompts := [][]int32{{1, 2, 3, 4, 5}}
	require.NoError(t, d.Decode(t.Context(), prompts, 1, 21, first))
	assert.ErrorContains(t, d.Decode(t.Context(), prompts, 1, 22, first), "a text of 26 tokens")
	answers := [][]int32{make([]int32, 20), make([]int32, 21)}
	_, err = d.LogProbs(t.Context(), prompts, answers[:1], 1)
	require.NoError(t, err)
	_, err = d.LogProbs(t.Context(), prompts, answers, 1)
	assert.ErrorContains(t, err, "answer 1: cpu: a text of 26 tokens")
}

func TestStretchedContextsAreTheModels(t *testing.T) {
	for _, c := range []struct {
		rope, says string
		context    int
	}{
		{`null`, "", 4096},
		{`{"type":"yarn","factor":4,"original_max_position_embeddings":4096}`, "yarn scaling by 4 from 4096", 16384},
		{`{"type":"dynamic","factor":2}`, "dynamic scaling by 2 over 4096", 32768},
		{`{"rope_type":"linear","factor":2}`, "linear scaling by 2", 4096},
	} {
		var raw map[string]any
		require.NoError(t, json.Unmarshal([]byte(configs["llama"]), &raw))
		raw["rope_scaling"] = json.RawMessage(c.rope)
		data, err := json.Marshal(raw)
		require.NoError(t, err)
		got, err := ParseConfig(data)
		require.NoError(t, err)
		assert.Equal(t, c.context, got.MaxPositions)
		assert.Equal(t, c.says, got.Stretch())
	}
}
