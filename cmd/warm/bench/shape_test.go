package bench

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
)

func TestShapeOfABatch(t *testing.T) {
	for _, c := range []struct {
		text string
		want shape
	}{
		{"32x128", shape{batch: 32, low: 128, length: 128, answers: 1}},
		{"32x16-128", shape{batch: 32, low: 16, length: 128, answers: 1}},
		{"8x400+50", shape{batch: 8, low: 450, length: 450, answers: 8, shared: 400}},
		{"4x8x256+256", shape{batch: 32, low: 512, length: 512, answers: 8, shared: 256}},
		{"4x0x256+256", shape{}},
		{"4x8x256-512", shape{}},
		{"1x1", shape{batch: 1, low: 1, length: 1, answers: 1}},
		{"8x0+50", shape{}},
		{"8x400+0", shape{}},
		{"8x128-16", shape{}},
		{"0x128", shape{}},
		{"32x", shape{}},
		{"32", shape{}},
		{"-1x5", shape{}},
		{"32x128x2", shape{}},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := parseShape(c.text)
			if c.want.batch == 0 {
				assert.ErrorContains(t, err, fmt.Sprintf("%q", c.text))
				return
			}
			require.NoError(t, err)
			c.want.name = c.text
			assert.Equal(t, c.want, got)
		})
	}
}

func TestBatchesHoldWhatTheirShapeSays(t *testing.T) {
	cfg, err := model.ParseConfig([]byte(`{"architectures": ["LlamaForSequenceClassification"], "hidden_size": 64,
		"intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100,
		"max_position_embeddings": 64, "id2label": {"0": "LABEL_0"}}`))
	require.NoError(t, err)
	m, err := model.Load(cfg, model.NewRandom(cfg, 1), model.LoadOptions{Workers: 1})
	require.NoError(t, err)

	s, err := parseShape("4x9+3")
	require.NoError(t, err)
	group := s.sequences(m)
	require.Len(t, group, 4)
	for i, q := range group {
		assert.Equal(t, []int32{11}, q.Read, "the last token of answer %d is scored", i)
		assert.Equal(t, group[0].IDs[:9], q.IDs[:9], "answer %d has the prompt", i)
		assert.False(t, i > 0 && fmt.Sprint(q.IDs[9:]) == fmt.Sprint(group[0].IDs[9:]), "answer %d is one of its own", i)
	}

	s, err = parseShape("2x3x9+3")
	require.NoError(t, err)
	group = s.sequences(m)
	require.Len(t, group, 6)
	for i, q := range group {
		assert.Equal(t, group[i-i%3].IDs[:9], q.IDs[:9], "answer %d has the prompt", i)
	}
	assert.NotEqual(t, group[0].IDs[:9], group[3].IDs[:9], "each prompt is another")

	s, err = parseShape("64x8-64")
	require.NoError(t, err)
	low, high := 64, 8
	for _, q := range s.sequences(m) {
		low, high = min(low, len(q.IDs)), max(high, len(q.IDs))
	}
	assert.GreaterOrEqual(t, low, 8)
	assert.LessOrEqual(t, high, 64)
	assert.Less(t, low, 16, "64 lengths uniform in [8, 64]")
	assert.Greater(t, high, 56)
}
