package model

import (
	"context"
	"math"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
)

// hugeBytes is how much of this process lies on huge pages, as the system counts it.
func hugeBytes(t *testing.T) int {
	data, err := os.ReadFile("/proc/self/smaps_rollup")
	require.NoError(t, err)
	found := regexp.MustCompile(`AnonHugePages: *(\d+) kB`).FindSubmatch(data)
	require.NotNil(t, found)
	n, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return n << 10
}

func TestWeightsMoveToHugePagesAndStayTheSame(t *testing.T) {
	c, err := ParseConfig([]byte(`{"architectures": ["BertForSequenceClassification"], "vocab_size": 64, "hidden_size": 512,
		"num_hidden_layers": 2, "num_attention_heads": 8, "intermediate_size": 2048, "max_position_embeddings": 64,
		"type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_labels": 1}`))
	require.NoError(t, err)
	for _, d := range []kernel.DType{kernel.Float32, kernel.BFloat16, kernel.Int8} {
		m, err := Load(c, NewRandom(c, 1), LoadOptions{DType: d, Workers: 1})
		require.NoError(t, err)
		for _, part := range m.Times() {
			assert.Positive(t, part.Took, part.What)
		}
		assert.Len(t, m.Times(), 3)
		engine := NewEngine(1)
		defer engine.Close()
		seqs := []Sequence{{IDs: []int32{1, 2, 3, 4, 5}, Read: []int32{0}}}
		before, after := make([]float32, 1), make([]float32, 1)
		require.NoError(t, engine.Score(m, before, seqs))

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Zero(t, m.HugePages(ended), "nobody waits for it")

		moved := m.HugePages(t.Context())
		require.NoError(t, engine.Score(m, after, seqs))
		assert.Equal(t, math.Float32bits(before[0]), math.Float32bits(after[0]))
		assert.LessOrEqual(t, moved, m.Bytes())
		if moved == 0 {
			t.Skipf("%v: this system has no huge pages, or none left", d)
		}
		assert.GreaterOrEqual(t, hugeBytes(t), moved)
	}
}
