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
)

// headCase is a family of the reference material, with its own attributes and steps.
type headCase struct {
	Sequences []struct {
		IDs []int32 `json:"input_ids"`
	} `json:"sequences"`
	Rewards [][]float64       `json:"rewards_f64"`
	Scores  []json.RawMessage `json:"scores_f64"`
	Gate    []int             `json:"gating_positions"`
}

func readHeadCase(t *testing.T, name string) (dir string, g headCase, lines string) {
	dir = shared(t, "goldens-families", name)
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	for _, s := range g.Sequences {
		line, err := json.Marshal(map[string]any{"input_ids": s.IDs})
		require.NoError(t, err)
		lines += string(line) + "\n"
	}
	return dir, g, lines
}

// detailed are the answers of warm score.
func detailed(t *testing.T, stdin string, args ...string) (out []scoredAnswer) {
	code, stdout, stderr := command(t, stdin, append([]string{"score"}, args...)...)
	require.Equal(t, exitOK, code, stderr)
	for line := range strings.Lines(stdout) {
		var row scoredRow
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		out = append(out, *row.Answers[0])
	}
	return out
}

func TestScoreReturnsWhatARewardIsMadeOf(t *testing.T) {
	dir, g, lines := readHeadCase(t, "armorm")
	pooling := []string{"--pooling", "hf_legacy+pattern:190,191,17,192,33"}
	plain := detailed(t, lines, append(pooling, dir)...)
	got := detailed(t, lines, append(pooling, "--return", "attributes,trajectory", dir)...)
	require.Len(t, got, len(g.Sequences))
	for i, a := range got {
		assert.Equal(t, plain[i].Reward, a.Reward, "whatever else is returned")
		assert.Empty(t, plain[i].Attributes)
		require.Len(t, a.Attributes, 19)
		assert.InDelta(t, g.Rewards[i][0], a.Attributes["helpsteer-helpfulness"], 1e-4)
		assert.InDelta(t, g.Rewards[i][18], a.Attributes["code-readability"], 1e-4)
		assert.Equal(t, g.Sequences[i].IDs, a.TokenIDs)
		require.Len(t, a.Trajectory, len(a.TokenIDs))
		for j, v := range a.Trajectory {
			assert.Equal(t, j < g.Gate[i], v == nil, "no reward before the gate has read")
		}
		assert.Equal(t, a.Reward, *a.Trajectory[len(a.Trajectory)-1])
	}

	dir, g, lines = readHeadCase(t, "math-shepherd")
	args := []string{"--head", "lm_head[48,87]", "--output", "softmax(0) by mean", "--pooling", "every:129", dir}
	for i, a := range detailed(t, lines, append([]string{"--return", "steps"}, args...)...) {
		var want []float64
		require.NoError(t, json.Unmarshal(g.Scores[i], &want))
		sum := 0.0
		require.Len(t, a.Steps, len(want))
		for j, w := range want {
			assert.InDelta(t, w, a.Steps[j], 2e-5)
			sum += w / float64(len(want))
		}
		assert.InDelta(t, sum, a.Reward, 2e-5)
	}
	one := tinyModel(t, "one", nil)
	for word, want := range map[string]string{"attributes": "made of one output", "steps": "read at one token", "all": "want attributes, steps or trajectory"} {
		code, _, stderr := command(t, `{"input_ids":[1,2]}`, "score", "--return", word, one)
		assert.NotEqual(t, exitOK, code)
		assert.Contains(t, stderr, want)
	}
	code, _, stderr := command(t, "", "score", "--return", "steps", "--mode", "ens", one)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "--return is of one model")
}

// TestCheckShowsHeadOutputsAndAttributes names what a reward is made of, and what to set where files do not tell.
func TestCheckShowsHeadOutputsAndAttributes(t *testing.T) {
	dir := func(name string) string { return shared(t, "goldens-families", name) }
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{dir("urm")}, []string{"score.weight [10 32], 10 outputs, pairs of mean and deviation", "attributes helpfulness, correctness, coherence, complexity, verbosity"}},
		{[]string{dir("grm-sftreg")}, []string{"v_head.summary.2.weight [1 40] behind another layer", "lm_head.weight is left out"}},
		{[]string{dir("beaver-reward")}, []string{"score_head.weight [1 32]; normalised", "do_normalize says"}},
		{[]string{dir("num-labels-5")}, []string{"PROBLEM", "5 outputs (LABEL_0, LABEL_1, LABEL_2, LABEL_3, LABEL_4)", "set output"}},
		{[]string{"--output", "LABEL_3", dir("num-labels-5")}, []string{"the reward is output LABEL_3"}},
		{[]string{"--head", "lm_head[77]-lm_head[131]", dir("yes-no")}, []string{"model.embed_tokens.weight [200 32], rows [77 131], 2 outputs: the reward is output 0 and minus output 1"}},
		{[]string{dir("nemotron-row0")}, []string{"PROBLEM", "as in lm_head[0]"}},
		{[]string{"--pooling", "every:193", dir("qwen-prm")}, []string{"softmax: the reward is output 1; of several steps the reward is the least"}},
	} {
		_, stdout, stderr := command(t, "", append([]string{"check"}, c.args...)...)
		got := strings.Join(strings.Fields(stdout), " ")
		for _, w := range c.want {
			assert.Contains(t, got, w, fmt.Sprint(c.args, stderr))
		}
	}
}
