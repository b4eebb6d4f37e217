package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/warm/plan"
)

func TestPlanOfShapesAndConfigurations(t *testing.T) {
	for model, parameters := range map[string]float64{
		// Without the embeddings' second half, the head of the language model, which scores need not.
		"qwen3-0.6b": 0.596e9, "qwen3-4b": 4.02e9, "qwen3-8b": 7.57e9, "llama-3.1-8b": 7.50e9, "llama-3.1-70b": 69.5e9,
		filepath.Join("testdata", "qwen3-0.6b.json"): 0.596e9, filepath.Join("testdata", "minilm6x384.json"): 0.0227e9,
		filepath.Join("..", "..", "deploy", "gpu", "llama-3.1-8b.json"): 7.50e9,
	} {
		code, stdout, stderr := command(t, "", "plan", "--model", model, "--tokens-per-second", "20000", "--device", "h200", "--json")
		require.Equal(t, 0, code, stderr)
		var r plan.Report
		require.NoError(t, json.Unmarshal([]byte(stdout), &r))
		assert.InEpsilon(t, parameters, r.Parameters, 0.005, model)
		assert.GreaterOrEqual(t, r.Replicas, 2)
		assert.NotEmpty(t, r.Assumptions)
	}
	code, stdout, _ := command(t, "", "plan", "--model", "llama-3.1-70b", "--gpus", "16", "--device", "h100", "--replicas", "100")
	require.Equal(t, 0, code)
	for _, want := range []string{"replicas", "one replica lost", "swap of 139 GB on 100 replicas", "inside the trainer",
		"assumed: h100: not measured", "assumed: each of 16 GPUs", "assumed: the weights, 139 GB, do not fit one h100"} {
		assert.Contains(t, stdout, want)
	}
}

func TestPlanRefusesWhatItCannotPlan(t *testing.T) {
	for want, args := range map[string][]string{
		"neither a config.json nor one of llama-3.1-70b": {"--model", "gpt-9", "--tokens-per-second", "1", "--device", "h100"},
		"want h200, h100":        {"--model", "qwen3-8b", "--tokens-per-second", "1", "--device", "tpu"},
		"--tokens-per-second or": {"--model", "qwen3-8b", "--device", "h100"},
		"name a faster device":   {"--model", "llama-3.1-70b", "--tokens-per-second", "1e9", "--device", "zen5-f32"},
	} {
		code, _, stderr := command(t, "", append([]string{"plan"}, args...)...)
		assert.Equal(t, exitUsage, code, want)
		assert.Contains(t, stderr, want)
	}
}
