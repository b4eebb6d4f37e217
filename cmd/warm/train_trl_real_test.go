//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/rm"
)

// trlPython is a Python with TRL, PEFT and transformers 5; deploy/members/trl/run.sh makes one.
func trlPython(t *testing.T) string {
	python := os.Getenv("WARM_TRL_PYTHON")
	if python == "" {
		t.Skip("WARM_TRL_PYTHON does not name a Python with TRL and PEFT")
	}
	return python
}

// trlPlan writes a plan over the embedded base, which every binary has.
func trlPlan(t *testing.T, text string) (file, out string) {
	dir := t.TempDir()
	file, out = filepath.Join(dir, "plan.yaml"), filepath.Join(dir, "runs")
	text = strings.NewReplacer("OUT", out, "PAIRS", easyPairs(t, 60)).Replace(text)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file, out
}

// TestMembersOfTRLAverage has real TRL carry out a plan with everything in it, and
// compares what is served of it with transformers' scores.
func TestMembersOfTRLAverage(t *testing.T) {
	python := trlPython(t)
	plan, out := trlPlan(t, `
out: OUT
bases: [embedded:base, embedded:base]
run: {train: [PAIRS], holdout: id%3, batch: 8, clip: 1, schedule: linear, warmup: 0.2, steps: 4, seed: 1}
members:
  - {lr: 2.0e-4}
  - {lr: 3.0e-4, dropout: {hidden: 0.1}}
  - {lr: 1.0e-3, lora: {r: 4, lora_alpha: 8, target_modules: [q_proj, v_proj]}}
`)
	args := []string{"train", "members", "--plan", plan, "--with", "trl", "--python", python}
	code, table, log := trainCommand(t, args...)
	require.Equal(t, exitOK, code, log)
	for _, want := range []string{"member-1", "member-2", "member-3", "WA", "ENS", "on 20 pairs"} {
		assert.Contains(t, table, want)
	}
	t.Logf("%s\n%s", log, table)
	code, again, log := trainCommand(t, args...)
	require.Equal(t, exitOK, code, log)
	assert.Equal(t, table, again)
	assert.NotContains(t, log, "step 1 of", "what is done is left alone")

	// The head is the one that the trainer here probes, and all starts have it.
	ours := rm.Plan{Out: filepath.Join(t.TempDir(), "ours"), Bases: []string{"embedded:base"}, Run: rm.Config{
		Train: []string{filepath.Join(filepath.Dir(plan), "none")}, Holdout: "id%3", Open: (&program{getenv: noEnv}).open(t.Context())}}
	data, err := os.ReadFile(plan)
	require.NoError(t, err)
	ours.Run.Train[0] = between(string(data), "train: [", "]")
	require.NoError(t, ours.Initialize(t.Context()))
	want := headOf(t, filepath.Join(ours.Out, "init"))
	for _, dir := range []string{"init-1", "init-2"} {
		assert.InDeltaSlice(t, want, headOf(t, filepath.Join(out, dir)), 2e-3*scale(want), dir)
	}

	average := filepath.Join(t.TempDir(), "wa")
	var members []string
	for _, m := range []string{"member-1", "member-2", "member-3"} {
		members = append(members, filepath.Join(out, m))
	}
	code, _, log = trainCommand(t, append([]string{"average", "--out", average}, members...)...)
	require.Equal(t, exitOK, code, log)
	texts := []string{"the a was happy and kind", "the b was angry and mean", "One day, a girl went to the park.", "no"}
	dirs := append(members, average)
	scores := transformersScores(t, python, dirs, texts)
	for i, dir := range dirs {
		s := startServe(t, "--model", "m="+dir)
		var inputs []any
		for _, text := range texts {
			inputs = append(inputs, map[string]any{"text": text, "add_special_tokens": true})
		}
		status, got := s.post(t, map[string]any{"inputs": inputs})
		require.Equal(t, http.StatusOK, status, "%+v", got.Error)
		for k, d := range got.Data {
			assert.InDelta(t, scores[i][k], d.Reward, 1e-4, "%s: %q", filepath.Base(dir), texts[k])
		}
		t.Logf("%s: transformers %v, served %+v", filepath.Base(dir), scores[i], got.Data)
	}
	assert.FileExists(t, filepath.Join(out, "member-3-adapter", "adapter_config.json"))
	code, adapted, log := trainCommand(t, "check", filepath.Join(out, "member-3-adapter"))
	assert.Equal(t, exitOK, code, adapted+log)
}

// between is the part of a text between two others.
func between(text, from, to string) string {
	_, text, _ = strings.Cut(text, from)
	text, _, _ = strings.Cut(text, to)
	return text
}

// headOf is a checkpoint's score head.
func headOf(t *testing.T, dir string) []float32 {
	c, err := loader.Open(dir)
	require.NoError(t, err)
	defer c.Close()
	shape, ok := c.Shape("score.weight")
	require.True(t, ok)
	head := make([]float32, shape[0]*shape[1])
	require.NoError(t, c.ReadAt(head, "score.weight", 0))
	return head
}

// scale is the largest of some numbers, whatever its sign.
func scale(values []float32) float64 {
	most := float32(0)
	for _, v := range values {
		most = max(most, v, -v)
	}
	return float64(most)
}

func transformersScores(t *testing.T, python string, dirs, texts []string) (scores [][]float64) {
	job, err := json.Marshal(map[string]any{"dirs": dirs, "texts": texts})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "trl_scores.py"))
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "HF_HUB_OFFLINE=1")
	cmd.Stdin = bytes.NewReader(job)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	require.NoError(t, json.Unmarshal(out, &scores))
	return scores
}

// TestMembersOfTRLGoOnWhereTheyWereStopped stops a run between two steps, as Ctrl-C does; the same command goes
// on, with two processes a member.
func TestMembersOfTRLGoOnWhereTheyWereStopped(t *testing.T) {
	python := trlPython(t)
	plan, out := trlPlan(t, `
out: OUT
run: {base: embedded:base, train: [PAIRS], holdout: id%3, batch: 4, epochs: 9, steps: 30, lr: 1.0e-4}
members: [{}]
`)
	args := []string{"train", "members", "--plan", plan, "--with", "trl", "--python", python, "--save-every", "5", "--save-dtype", "bfloat16", "--launcher",
		"torchrun --standalone --nproc-per-node 2"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := &output{}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args[:len(args)-2], noEnv, strings.NewReader(""), &output{}, said) }()
	require.Eventually(t, func() bool { return strings.Contains(said.String(), "step 1 of 30") }, 15*time.Minute, 20*time.Millisecond, "%s", said)
	cancel()
	require.Equal(t, exitInterrupted, <-ended, "%s", said)
	require.Contains(t, said.String(), "stopped after step")
	require.NoDirExists(t, filepath.Join(out, "member-1"))
	states, err := filepath.Glob(filepath.Join(out, "trl", "state-*"))
	require.NoError(t, err)
	require.Len(t, states, 1)
	require.NoError(t, os.Mkdir(filepath.Join(states[0], "checkpoint-29"), 0o755), "as kill -9 leaves one that is being written")

	code, table, log := trainCommand(t, args...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, log, "going on after step")
	assert.Contains(t, table, "member-1")
	code, checked, log := trainCommand(t, "check", filepath.Join(out, "member-1"))
	require.Equal(t, exitOK, code, checked+log)
	assert.Contains(t, checked, "BF16")
	told, err := os.ReadFile(filepath.Join(out, "member-1", "trl.json"))
	require.NoError(t, err)
	assert.Contains(t, string(told), `"processes": 2`)
	states, err = filepath.Glob(filepath.Join(out, "trl", "state-*"))
	require.NoError(t, err)
	assert.Empty(t, states, "a state is removed when its run is done")
	t.Logf("%s\n%s", log, table)
}
