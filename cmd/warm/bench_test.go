package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
)

func TestShapeOfABatch(t *testing.T) {
	for _, c := range []struct {
		text string
		want benchShape
	}{
		{"32x128", benchShape{batch: 32, low: 128, length: 128, answers: 1}},
		{"32x16-128", benchShape{batch: 32, low: 16, length: 128, answers: 1}},
		{"8x400+50", benchShape{batch: 8, low: 450, length: 450, answers: 8, shared: 400}},
		{"1x1", benchShape{batch: 1, low: 1, length: 1, answers: 1}},
		{"8x0+50", benchShape{}},
		{"8x400+0", benchShape{}},
		{"8x128-16", benchShape{}},
		{"0x128", benchShape{}},
		{"32x", benchShape{}},
		{"32", benchShape{}},
		{"-1x5", benchShape{}},
		{"32x128x2", benchShape{}},
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

// benchConfig writes the configuration of a model that loads in no time.
func benchConfig(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"architectures": ["LlamaForSequenceClassification"], "hidden_size": 64,
		"intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100,
		"max_position_embeddings": 64, "id2label": {"0": "LABEL_0"}}`), 0o600))
	return path
}

// benchRun runs a command that must succeed and returns what it printed.
func benchRun(t *testing.T, stdin string, args ...string) string {
	var stdout, stderr output
	require.Zero(t, run(t.Context(), args, os.Getenv, strings.NewReader(stdin), &stdout, &stderr), stderr.String())
	return stdout.String()
}

func TestBatchesHoldWhatTheirShapeSays(t *testing.T) {
	data, err := os.ReadFile(benchConfig(t))
	require.NoError(t, err)
	cfg, err := model.ParseConfig(data)
	require.NoError(t, err)
	m, err := model.Load(cfg, model.NewRandom(cfg, 1), model.LoadOptions{Workers: 1})
	require.NoError(t, err)

	s, err := parseShape("4x9+3")
	require.NoError(t, err)
	group := s.sequences(m)
	require.Len(t, group, 4)
	for i, q := range group {
		assert.Equal(t, 11, q.At, "the last token of answer %d is scored", i)
		assert.Equal(t, group[0].IDs[:9], q.IDs[:9], "answer %d has the prompt", i)
		assert.False(t, i > 0 && fmt.Sprint(q.IDs[9:]) == fmt.Sprint(group[0].IDs[9:]), "answer %d is one of its own", i)
	}

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

func TestEngineBenchReportsEachShape(t *testing.T) {
	out := benchRun(t, "", "bench", "engine", "--random", benchConfig(t), "--shape", "2x8,4x9+3", "--dtype", "float32,bfloat16",
		"--forward-only", "--rounds", "1", "--json")
	var r engineReport
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	assert.Empty(t, r.GEMM)
	var got []string
	for _, f := range r.Forward {
		got = append(got, fmt.Sprintf("%s %s %d", f.DType, f.Shape, f.Tokens))
		assert.Equal(t, f.DType != "float32", f.RMSError != nil)
	}
	assert.Equal(t, []string{"float32 2x8 16", "float32 4x9+3 48", "bfloat16 2x8 16", "bfloat16 4x9+3 48"}, got)
}

func TestAWrittenRandomCheckpointScoresAsTheRandomModelDoes(t *testing.T) {
	config, in := benchConfig(t), `{"input_ids":[5,17,3,99,0,41]}`+"\n"
	dir := filepath.Join(t.TempDir(), "checkpoint")
	score := func(path string) []json.Number {
		var line struct {
			Answers []struct {
				Reward json.Number `json:"reward"`
			} `json:"answers"`
		}
		out := benchRun(t, in, "score", path)
		require.NoError(t, json.Unmarshal([]byte(out), &line), out)
		require.Len(t, line.Answers, 1, out)
		return []json.Number{line.Answers[0].Reward}
	}
	benchRun(t, "", "bench", "checkpoint", "--random", config, dir)
	assert.Equal(t, score("random:"+config), score(dir))
}
