//go:build integration

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestTRLTrainsOnTheServersRewards takes one step of TRL's GRPOTrainer,
// RLOOTrainer and OnlineDPOTrainer with a tiny random policy, and scores a group in the process
// that AsyncGRPO spawns. It wants TRL 1.16 or later:
//
//	python3 -m venv VENV && VENV/bin/pip install torch transformers trl
//	WARM_TRL_PYTHON=VENV/bin/python go test -tags integration -v -run TRLTrains ./cmd/warm
func TestTRLTrainsOnTheServersRewards(t *testing.T) {
	python := os.Getenv("WARM_TRL_PYTHON")
	if python == "" {
		t.Skip("WARM_TRL_PYTHON does not name a Python with TRL")
	}
	checkpoint := rewardtest.Checkpoint(t, "m", func(c *loader.Contents) {
		c.TokenizerConfig = []byte(`{"tokenizer_class":"PreTrainedTokenizerFast","bos_token":"<s>","eos_token":"</s>"}`)
	})
	s := startServe(t, "--model", "m="+checkpoint)
	job, err := json.Marshal(map[string]any{"url": s.url, "files": clientFiles(t), "tokenizer": checkpoint, "out": t.TempDir()})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "trl_steps.py"))
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "HF_HUB_OFFLINE=1", "WARM_API_KEY=")
	cmd.Stdin = bytes.NewReader(job)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", stderr.String())
	// TRL prints tables of its own before the line with the result.
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	var got map[string]struct {
		Prompts, Completions []json.RawMessage
		Rewards              []float32
	}
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &got), "%s", stdout.String())
	for trainer, least := range map[string]int{"grpo": 8, "rloo": 8, "online_dpo": 8, "async_grpo": 4} {
		g := got[trainer]
		require.GreaterOrEqual(t, len(g.Rewards), least, trainer)
		var inputs []any
		for i := range g.Rewards {
			var prompt, completion []any
			require.NoError(t, json.Unmarshal(g.Prompts[i], &prompt))
			require.NoError(t, json.Unmarshal(g.Completions[i], &completion))
			inputs = append(inputs, map[string]any{"messages": append(prompt, completion...)})
		}
		status, r := s.post(t, map[string]any{"inputs": inputs})
		require.Equal(t, http.StatusOK, status, "%+v", r.Error)
		for i, d := range r.Data {
			assert.Equal(t, d.Reward, g.Rewards[i], "%s, sample %d", trainer, i)
		}
		t.Logf("%s: %d samples, rewards %v", trainer, len(g.Rewards), g.Rewards)
	}
}
