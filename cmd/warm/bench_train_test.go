package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/cmd/warm/bench"
)

func TestTrainBenchReportsWholeStepsThatLearn(t *testing.T) {
	out := benchRun(t, "", "bench", "train", "--random", benchConfig(t), "--batch", "3", "--length", "8",
		"--dtype", "float32,bfloat16", "--rounds", "2", "--json")
	var r bench.TrainReport
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Len(t, r.Steps, 2)
	for i, dtype := range []string{"float32", "bfloat16"} {
		s := r.Steps[i]
		assert.Equal(t, dtype, s.DType)
		assert.Equal(t, 3*2*8, s.Tokens)
		require.Len(t, s.Losses, 3, "two measured rounds after one that is not")
		assert.Less(t, s.Losses[2], s.Losses[0], "steps on the same pairs lower their loss")
		require.Len(t, s.Seconds, 2)
		for j, whole := range s.Seconds {
			// Both are read off the same clock: only rounding can part them.
			assert.InEpsilon(t, whole, s.Parts.Forward[j]+s.Parts.Backward[j]+s.Parts.Optimizer[j], 1e-6)
		}
		assert.Positive(t, s.Peak)
		assert.InEpsilon(t, s.FLOPs/float64(s.Tokens)*s.TokensPerS/1e9, s.GFLOPs, 1e-6)
	}
	assert.Equal(t, r.Steps[0].FLOPs, r.Steps[1].FLOPs, "the same work in either format")
}

func TestTrainBenchPrintsItsParts(t *testing.T) {
	out := benchRun(t, "", "bench", "train", "--random", benchConfig(t), "--batch", "1", "--length", "8", "--rounds", "1", "--threads", "1")
	assert.Contains(t, out, "1 prompts of 0 tokens, 2 answers to each, 8 tokens with it")
	for _, column := range []string{"tokens/s", "pairs/s", "of peak", "forward", "backward", "optimizer"} {
		assert.Contains(t, out, column)
	}
}

func TestTrainBenchCountsAPromptOnce(t *testing.T) {
	steps := func(args ...string) bench.TrainReport {
		args = append([]string{"bench", "train", "--random", benchConfig(t), "--batch", "2", "--answers", "3", "--length", "16", "--rounds", "1", "--json"}, args...)
		var r bench.TrainReport
		require.NoError(t, json.Unmarshal([]byte(benchRun(t, "", args...)), &r))
		return r
	}
	apart, shared := steps(), steps("--prompt", "12")
	assert.Equal(t, 4, shared.Pairs, "the first of three answers with each other, twice")
	assert.Equal(t, 2*3*16, shared.Steps[0].Tokens)
	assert.Less(t, shared.Steps[0].FLOPs, apart.Steps[0].FLOPs)
	assert.Positive(t, shared.Steps[0].PairsPerS)
}

func TestTrainBenchRefusesWhatCannotBeTrained(t *testing.T) {
	config := benchConfig(t)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no configuration":      {nil, "--random"},
		"integers":              {[]string{"--random", config, "--dtype", "int8"}, "int8 is not for training"},
		"an unknown format":     {[]string{"--random", config, "--dtype", "float16"}, "float16"},
		"no pairs":              {[]string{"--random", config, "--batch", "0"}, "--batch: 0"},
		"nothing to compare":    {[]string{"--random", config, "--length", "8", "--answers", "1"}, "--answers: 1"},
		"no token of an answer": {[]string{"--random", config, "--length", "8", "--prompt", "8"}, "--prompt: 8 of 8"},
		"more than the context": {[]string{"--random", config, "--length", "65"}, "context of 64"},
		"an unknown level":      {[]string{"--random", config, "--level", "mmx"}, "mmx"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr output
			code := run(t.Context(), append([]string{"bench", "train"}, c.args...), os.Getenv, strings.NewReader(""), &stdout, &stderr)
			assert.Equal(t, 2, code)
			assert.Contains(t, stderr.String(), c.want)
		})
	}
}
