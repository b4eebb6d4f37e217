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

	"github.com/warmserve/warmserve/cmd/warm/bench"
)

// benchConfig writes the configuration of a model that loads in no time.
func benchConfig(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"architectures": ["LlamaForSequenceClassification"], "hidden_size": 64,
		"intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 600,
		"max_position_embeddings": 64, "id2label": {"0": "LABEL_0"}}`), 0o600))
	return path
}

// benchRun runs a command that must succeed and returns what it printed.
func benchRun(t *testing.T, stdin string, args ...string) string {
	var stdout, stderr output
	require.Zero(t, run(t.Context(), args, os.Getenv, strings.NewReader(stdin), &stdout, &stderr), stderr.String())
	return stdout.String()
}

func TestEngineBenchReportsEachShape(t *testing.T) {
	out := benchRun(t, "", "bench", "engine", "--random", benchConfig(t), "--shape", "2x8,4x9+3", "--dtype", "float32,bfloat16",
		"--forward-only", "--rounds", "1", "--json")
	var r bench.EngineReport
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
	in := `{"input_ids":[5,17,3,99,0,41]}` + "\n"
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
	llama, err := os.ReadFile(benchConfig(t))
	require.NoError(t, err)
	for class, kind := range map[string]string{"Llama": "llama", "Gemma2": "gemma2"} {
		config, dir := filepath.Join(t.TempDir(), "config.json"), filepath.Join(t.TempDir(), "checkpoint")
		require.NoError(t, os.WriteFile(config, []byte(strings.Replace(string(llama), "Llama", class, 1)), 0o600))
		benchRun(t, "", "bench", "checkpoint", "--random", config, dir)
		assert.Equal(t, score("random:"+config), score(dir), class)
		assert.Contains(t, readString(t, filepath.Join(dir, "config.json")), `"model_type": "`+kind+`"`)

		withWords := filepath.Join(t.TempDir(), "words")
		benchRun(t, "", "bench", "checkpoint", "--random", config, "--words", withWords)
		assert.Equal(t, score(dir), score(withWords), class)
		in := `{"prompt": "the of and to", "response": "in is that"}` + "\n"
		assert.NotEmpty(t, benchRun(t, in, "score", withWords), class)
	}
}
