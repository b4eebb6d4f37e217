package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// pretender writes a program that does to members.py's files what Python with TRL does: the
// first call makes the start of a checkpoint, each a member, the second member after a failure.
func pretender(t *testing.T) (program, made string) {
	if runtime.GOOS == "windows" {
		t.Skip("the pretender is a shell script")
	}
	made = rewardtest.Checkpoint(t, "made", nil)
	program = filepath.Join(t.TempDir(), "python")
	require.NoError(t, os.WriteFile(program, []byte(fmt.Sprintf(`#!/bin/sh
set -e
dir=$(dirname "$1")
cd "$dir"
test -f members.py
[ -d ../init ] || cp -r %[1]q ../init
if [ "$2" = 2 ] && [ ! -e failed ]; then
	touch failed
	echo "CUDA out of memory" >&2
	exit 1
fi
echo "a library's line"
echo '{"step": 1, "steps": 3, "loss": 0.5, "accuracy": 0.5, "lr": 0.001, "norm": 2, "tokens": 9}'
run=$(sed -n 's/.*"run": "\(.*\)",/\1/p' member-$2.json)
cp -r %[1]q ../member-$2
echo "{\"run\": \"$run\", \"steps\": 3}" > ../member-$2/trl.json
`, made)), 0o755)) // #nosec: it is run
	return program, made
}

func TestMembersByTRLAreTrainedCheckedAndCompared(t *testing.T) {
	python, made := pretender(t)
	out := filepath.Join(t.TempDir(), "runs")
	args := func(more ...string) []string {
		return append([]string{"train", "members", "--base", rewardtest.Checkpoint(t, "base", nil), "--train", easyPairs(t, 24), "--holdout", "id%4",
			"--m", "3", "--batch", "8", "--out", out, "--workers", "1", "--with", "trl", "--python", python}, more...)
	}
	// The base is another directory in each call, and the same: what lies there counts.
	code, printed, log := trainCommand(t, args()...)
	require.Equal(t, exitFailure, code, log)
	assert.Empty(t, printed)
	for _, want := range []string{"step 1 of 3: loss 0.5000", "member-2 failed: exit status 1; the end of ", "CUDA out of memory",
		"runs/member-3: 3 steps on 18 pairs", "1 of 3: not every member was trained; the same command goes on"} {
		assert.Contains(t, log, want)
	}
	assert.NotContains(t, log, "a library's line")
	said, err := os.ReadFile(filepath.Join(out, "trl", "member-1.log"))
	require.NoError(t, err)
	assert.Equal(t, "a library's line\n", string(said))

	code, printed, log = trainCommand(t, args()...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, log, "member-1 was trained before: nothing to do")
	for _, want := range []string{"member-1", "member-2", "member-3", "WA", "ENS", "the longer answer"} {
		assert.Contains(t, printed, want)
	}
	assert.FileExists(t, filepath.Join(out, "summary.json"))
	code, again, log := trainCommand(t, args()...)
	require.Equal(t, exitOK, code, log)
	assert.Equal(t, printed, again)
	assert.NotContains(t, log, "step 1 of 3")
	code, listed, log := trainCommand(t, args("--json")...)
	require.Equal(t, exitOK, code, log)
	assert.True(t, json.Valid([]byte(listed)))

	// Other settings are another run's, and a result with another tokenizer is no member.
	code, _, log = trainCommand(t, args("--epochs", "2")...)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, log, "member-1 failed: "+filepath.Join(out, "member-1")+": directory exists and is not empty: it holds the result of another run")
	require.NoError(t, os.Remove(filepath.Join(out, "member-1", "training.json")))
	c, err := loader.Open(made)
	require.NoError(t, err)
	contents := c.Contents()
	contents.ChatTemplate, contents.Replace = "another", true
	text, err := os.ReadFile(filepath.Join(out, "member-1", "trl.json"))
	require.NoError(t, err)
	contents.Extra = map[string][]byte{"trl.json": text}
	require.NoError(t, loader.Save(filepath.Join(out, "member-1"), contents))
	require.NoError(t, c.Close())
	code, _, log = trainCommand(t, args()...)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, log, "the chat template differs from the start's")
}

func TestMembersByTRLElsewhere(t *testing.T) {
	python, _ := pretender(t)
	out := filepath.Join(t.TempDir(), "runs")
	args := func(more ...string) []string {
		return append([]string{"train", "members", "--base", rewardtest.Checkpoint(t, "base", nil), "--train", easyPairs(t, 24),
			"--m", "3", "--batch", "8", "--out", out, "--with", "trl", "--python", python}, more...)
	}
	code, printed, log := trainCommand(t, args("--on", "slurm")...)
	require.Equal(t, exitFailure, code, log)
	assert.Contains(t, log, "3 of 3 members are left: sbatch --array=1-3 "+filepath.Join(out, "trl", "members.sbatch"))
	assert.Empty(t, printed)
	code, printed, log = trainCommand(t, args("--task", "3")...) // a member alone, here
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, printed, "3 steps on 24 pairs")
	code, _, log = trainCommand(t, args("--on", "kubernetes", "--image", "trl:1", "--claim", "work", "--gpus", "8")...)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, log, "2 of 3 members are left: kubectl apply -f "+filepath.Join(out, "trl", "job.yaml"))

	for want, more := range map[string][]string{
		`--with: "deepspeed", want trl`:                  {"--with", "deepspeed"},
		`--on: "moon", want local, slurm or kubernetes`:  {"--on", "moon"},
		"--on kubernetes needs --image and --claim":      {"--on", "kubernetes"},
		"--claim has no effect without --on kubernetes":  {"--claim", "x"},
		"--parallel has no effect with --with":           {"--parallel", "2"},
		`--save-dtype: "int4", want float32 or bfloat16`: {"--save-dtype", "int4"},
		"--gpus: -1, want 0 or more":                     {"--gpus", "-1"},
		"--task has no effect without --on local":        {"--on", "slurm", "--task", "1"},
	} {
		code, _, log := trainCommand(t, args(more...)...)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, log, want)
	}
	code, _, log = trainCommand(t, "train", "members", "--base", "b", "--train", "t", "--out", "o", "--gpus", "2")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, log, "--gpus has no effect without --with trl")
}
