package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/rl"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// noHead is a checkpoint's tensors without a score head.
type noHead struct{ loader.Source }

func (s noHead) Names() []string {
	return slices.DeleteFunc(slices.Clone(s.Source.Names()), func(n string) bool { return strings.HasPrefix(n, "score") })
}

// bytePolicy writes a tiny language model of bytes with random weights.
func bytePolicy(t testing.TB) string {
	return rewardtest.Checkpoint(t, "policy", func(c *loader.Contents) {
		c.Config = bytes.Replace(c.Config, []byte("LlamaForSequenceClassification"), []byte("LlamaForCausalLM"), 1)
		c.Config = bytes.Replace(c.Config, []byte("{"), []byte(`{"tie_word_embeddings":true,`), 1)
		c.Source = noHead{c.Source}
	})
}

// rlArgs are the arguments of a short run with a tiny policy.
func rlArgs(t testing.TB, url, out string, more ...string) []string {
	prompts := filepath.Join(t.TempDir(), "prompts.jsonl")
	require.NoError(t, os.WriteFile(prompts, []byte("{\"prompt\":\"one\"}\n{\"prompt\":\"two\"}\n{\"prompt\":\"three\"}\n"), 0o644))
	return append([]string{"rl", "--policy", bytePolicy(t), "--prompts", prompts, "--url", url, "--out", out,
		"--batch", "2", "--answers", "4", "--tokens", "6", "--lr", "1e-3"}, more...)
}

func TestAPolicyLearnsFromTheRewardsOfAServer(t *testing.T) {
	rm := rewardtest.Checkpoint(t, "rm", nil)
	s := startServe(t, "--model", "a="+rm, "--model", "b="+rewardtest.Checkpoint(t, "other", nil))
	for _, dialect := range []string{"native", "openrlhf"} {
		t.Run(dialect, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			answers := filepath.Join(t.TempDir(), "answers.jsonl")
			code, stdout, stderr := command(t, "", rlArgs(t, s.url, out, "--name", "a", "--control", "b", "--dialect", dialect,
				"--per-request", "3", "--steps", "3", "--kl-coef", "0.1", "--answers-to", answers, "--json")...)
			require.Equal(t, exitOK, code, stderr)
			assert.Contains(t, stderr, "waiting for rewards")
			assert.Contains(t, stderr, "control")
			var r rl.Result
			require.NoError(t, json.Unmarshal([]byte(stdout), &r))
			assert.Equal(t, 3, r.Steps)
			lines, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
			require.NoError(t, err)
			assert.Contains(t, string(lines), `"revision":"sha256:`)
			code, _, stderr = command(t, "", "generate", "--prompt", "one", "--tokens", "3", out)
			assert.Equal(t, exitOK, code, stderr)

			saved, err := os.ReadFile(answers)
			require.NoError(t, err)
			first, _, _ := strings.Cut(string(saved), "\n")
			assert.Equal(t, 3*2*4, strings.Count(string(saved), "\n"))
			var a spokenAnswer
			require.NoError(t, json.Unmarshal([]byte(first), &a))
			require.NotNil(t, a.Control)
			if dialect == "native" {
				_, reply := s.post(t, map[string]any{"model": "a", "inputs": []any{map[string]any{"prompt": a.Prompt, "response": a.Answer}}})
				require.Len(t, reply.Data, 1)
				assert.InDelta(t, reply.Data[0].Reward, a.Reward, 1e-9, "the reward is what the server says of the answer")
			}
		})
	}
}

func TestARunGoesOnWhenItsServerIsRestarted(t *testing.T) {
	rm := rewardtest.Checkpoint(t, "rm", nil)
	s := startServe(t, "--model", "a="+rm)
	args := func(out string) []string { return rlArgs(t, s.url, out, "--steps", "150", "--save-every", "50") }
	whole, broken := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "broken")
	first := args(whole)
	code, _, stderr := command(t, "", first...)
	require.Equal(t, exitOK, code, stderr)

	second := slices.Clone(first)
	second[slices.Index(second, "--out")+1] = broken
	var out, errs output
	exit := make(chan int, 1)
	go func() { exit <- run(context.Background(), second, noEnv, strings.NewReader(""), &out, &errs) }()
	saw := func(text string) {
		require.Eventually(t, func() bool { return strings.Contains(errs.String(), text) }, 20*time.Second, time.Millisecond, "%s: %s", text, &errs)
	}
	saw("step 1 of 150")
	require.Equal(t, exitOK, s.stop())
	saw("trying again")
	startServe(t, "--model", "a="+rm, "--addr", strings.TrimPrefix(s.url, "http://"))
	require.Equal(t, exitOK, <-exit, errs.String())
	assert.Contains(t, errs.String(), "answered again after")
	assert.Contains(t, errs.String(), "sent again")
	for _, f := range []string{"model.safetensors", "metrics.jsonl", "training.json"} {
		want, err := os.ReadFile(filepath.Join(whole, f))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(broken, f))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, got), "%s has the bytes of a run without a restart", f)
	}
}

func TestMistakesOfRLAreUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"rl", "policy: no checkpoint directory"},
		{"rl --policy x --prompts y --out z --lr 1 --algorithm ppo", "algorithm"},
		{"rl --policy x --prompts y --out z --lr 1 --dialect grpc", "dialect"},
		{"rl --policy x --prompts y --out z --lr 1 --url nowhere", "base url"},
		{"rl --policy x --prompts y --out z --lr 1 --answers 1", "compares 2 or more"},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, _, stderr := command(t, "", strings.Fields(c.args)...)
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, stderr, c.want)
		})
	}
	code, stdout, _ := command(t, "", "rl", "--help")
	assert.Equal(t, exitOK, code)
	assert.Contains(t, stdout, "over-optimised")
}
