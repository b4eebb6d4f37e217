package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/judge"
	"github.com/warmserve/warmserve/trainer/rm"
)

// trainable returns a small real base model, or skips the test.
func trainable(t *testing.T) string {
	dir := os.Getenv("WARM_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	dir = filepath.Join(dir, "models", "stories260K-hf")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no base model (set WARM_SHARED): %v", err)
	}
	return dir
}

// easyPairs writes preferences that any model learns: a word decides.
func easyPairs(t *testing.T, n int) string {
	var b bytes.Buffer
	for i := range n {
		name := string(rune('a' + i%26))
		require.NoError(t, json.NewEncoder(&b).Encode(map[string]any{
			"id": i, "group": name, "chosen": "the " + name + " was happy and kind", "rejected": "the " + name + " was angry and mean",
		}))
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

func trainCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	code = run(t.Context(), args, func(string) string { return "" }, strings.NewReader(""), &out, &log)
	return code, out.String(), log.String()
}

func TestTrainMembersAndEvalFromTheCommandLine(t *testing.T) {
	base, pairs := trainable(t), easyPairs(t, 60)
	out := filepath.Join(t.TempDir(), "runs")
	code, table, log := trainCommand(t, "train", "members", "--base", base, "--train", pairs, "--holdout", "id%3",
		"--lrs", "5e-4,1e-3", "--m", "2", "--batch", "8", "--out", out)
	require.Equal(t, exitOK, code, log)
	for _, want := range []string{"member-1", "member-2", "WA", "ENS", "the longer answer"} {
		assert.Contains(t, table, want)
	}
	require.FileExists(t, filepath.Join(out, "summary.json"))

	code, printed, log := trainCommand(t, "eval", "--json", "--data", pairs, filepath.Join(out, "member-1"), filepath.Join(out, "member-2"))
	require.Equal(t, exitOK, code, log)
	var r judge.Report
	require.NoError(t, json.Unmarshal([]byte(printed), &r))
	assert.Equal(t, 60, r.Pairs)
	assert.Greater(t, r.WA.Accuracy, 0.9)
	assert.Len(t, r.WA.Groups, 26)

	code, printed, log = trainCommand(t, "check", filepath.Join(out, "member-1"), filepath.Join(out, "member-2"))
	require.Equal(t, exitOK, code, log)
	assert.NotContains(t, strings.ToLower(printed+log), "warning", "the members are one family")
}

func TestTrainRMFromTheCommandLine(t *testing.T) {
	base, pairs := trainable(t), easyPairs(t, 20)
	out := filepath.Join(t.TempDir(), "rm")
	args := []string{"train", "rm", "--base", base, "--train", pairs, "--lr", "1e-3", "--batch", "4", "--out", out}
	code, printed, log := trainCommand(t, args...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, printed, "checkpoint      "+out)
	assert.Contains(t, printed, "5 steps on 20 pairs")
	for line := range strings.Lines(printed) {
		assert.LessOrEqual(t, len(line), 81+len(out), "readable in 80 columns, but for the directory")
	}
	assert.Contains(t, log, "step 5 of 5")

	code, again, log := trainCommand(t, args...)
	assert.Equal(t, exitOK, code, "a finished run is finished")
	assert.Contains(t, log, out+" holds the result of this run already: nothing to do")
	assert.Equal(t, printed, again)
	code, again, log = trainCommand(t, append(args, "--json")...)
	assert.Equal(t, exitOK, code, log)
	var r rm.Result
	require.NoError(t, json.Unmarshal([]byte(again), &r))
	assert.Equal(t, 5, r.Steps)
	code, _, log = trainCommand(t, append(args, "--seed", "5")...)
	assert.Equal(t, exitFailure, code, "another run's result is not overwritten")
	assert.Contains(t, log, "it holds the result of another run (seed 0 there and 5 here); name another directory, or --replace it")
}

func TestPlansComeFromAFile(t *testing.T) {
	base, pairs := trainable(t), easyPairs(t, 8)
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan.yaml")
	require.NoError(t, os.WriteFile(plan, []byte(`
out: `+filepath.Join(dir, "runs")+`
run: {base: `+base+`, train: [`+pairs+`], batch: 4}
members:
  - {lr: 0.001}
  - {lr: 0.0005, dropout: {hidden: 0.1}, seed: 7}
`), 0o644))
	code, printed, log := trainCommand(t, "train", "members", "--plan", plan, "--list")
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, printed, "0.0005  dropout 0.1")
	code, printed, log = trainCommand(t, "train", "members", "--plan", plan, "--list", "--json")
	require.Equal(t, exitOK, code, log)
	var runs []rm.MemberRun
	require.NoError(t, json.Unmarshal([]byte(printed), &runs))
	require.Len(t, runs, 2)
	assert.EqualValues(t, 7, runs[1].Config.Seed)
	assert.InDelta(t, 0.1, runs[1].Config.Dropout.Hidden, 1e-7)

	code, _, log = trainCommand(t, "train", "members", "--plan", plan, "--task", "2")
	require.Equal(t, exitOK, code, log)
	require.DirExists(t, filepath.Join(dir, "runs", "member-2"))
	require.NoDirExists(t, filepath.Join(dir, "runs", "member-1"))
}

func TestTrainingRefusesBadCommandLines(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no settings", []string{"train", "rm"}, "base"},
		{"a bad holdout", []string{"train", "rm", "--base", "b", "--train", "t", "--out", "o", "--lr", "1e-3", "--holdout", "x"}, "holdout"},
		{"a plan without members", []string{"train", "members", "--out", "o"}, "base"},
		{"eval without data", []string{"eval", "dir"}, "--data"},
		{"an unknown flag", []string{"train", "rm", "--learning-rate", "1"}, "unknown flag"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, log := trainCommand(t, c.args...)
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, log, c.want)
		})
	}
}

// TestThePlansOfTheManualTrain carries out the plan files of docs/training.md as they are
// printed, with files of the names that they have.
func TestThePlansOfTheManualTrain(t *testing.T) {
	text := pages(t)["docs/training.md"]
	plans := regexp.MustCompile("(?s)```yaml\n(out: .*?)```").FindAllStringSubmatch(text, -1)
	require.Len(t, plans, 2)
	base, err := filepath.Abs(trainable(t))
	require.NoError(t, err)
	pairs := easyPairs(t, 40)
	for i, members := range []int{4, 6} {
		t.Chdir(t.TempDir())
		for name, to := range map[string]string{"sft": base, "sft-1": base, "sft-2": base, "pairs.jsonl.zst": pairs, "test.jsonl.zst": pairs} {
			require.NoError(t, os.Symlink(to, name))
		}
		require.NoError(t, os.WriteFile("plan.yaml", []byte(plans[i][1]), 0o644))
		code, printed, log := trainCommand(t, "train", "members", "--plan", "plan.yaml", "--list", "--json")
		require.Equal(t, exitOK, code, log)
		var runs []rm.MemberRun
		require.NoError(t, json.Unmarshal([]byte(printed), &runs))
		assert.Len(t, runs, members)

		code, _, log = trainCommand(t, "train", "members", "--plan", "plan.yaml", "--tensorboard", "events")
		require.Equal(t, exitOK, code, log)
		for _, m := range runs {
			assert.FileExists(t, filepath.Join("runs", m.Name, "model.safetensors"))
			assert.FileExists(t, filepath.Join("runs", m.Name, "metrics.svg"))
			told, err := filepath.Glob(filepath.Join("events", m.Name, "events.out.tfevents.*"))
			require.NoError(t, err)
			assert.Len(t, told, 1, m.Name)
		}
	}
	assert.Contains(t, text, "plan.yaml --list")
}
