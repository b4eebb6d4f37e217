package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/bucket/buckettest"
)

// inBucket runs a command on a machine whose copies of the store's runs are in work.
func inBucket(t *testing.T, s *buckettest.Store, work string, args ...string) (code int, stdout, stderr string) {
	for k, v := range s.Env() {
		t.Setenv(k, v)
	}
	env := map[string]string{"AWS_ENDPOINT_URL_S3": s.URL, "STORAGE_EMULATOR_HOST": s.URL, workVariable: work}
	var out, log bytes.Buffer
	code = run(t.Context(), args, func(name string) string { return env[name] }, strings.NewReader(""), &out, &log)
	return code, out.String(), log.String()
}

// killedInBucket runs a command in a process that is killed while it uploads the n-th object whose name
// has a part in it.
func killedInBucket(t *testing.T, s *buckettest.Store, n int32, part string, args ...string) {
	exe, err := os.Executable()
	require.NoError(t, err)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), childCommand+"="+strings.Join(args, "\n"), "WARM_TEST_BUCKET=1", workVariable+"="+t.TempDir())
	for k, v := range s.Env() {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var seen atomic.Int32
	s.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, part) && seen.Add(1) == n {
			kill() // by SIGKILL, which comes a moment later
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // an answer would say that the object is kept
			return true
		}
		return false
	})
	log, err := cmd.CombinedOutput()
	require.Error(t, err, "%s", log)
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "%v: %s", err, log)
	s.Break(nil)
}

// results are the objects that runs have come to.
func results(s *buckettest.Store) map[string][]byte {
	out := s.Objects()
	for key := range out {
		if strings.HasSuffix(key, ".run.json") {
			delete(out, key)
		}
	}
	return out
}

// TestARunInABucketGoesOnOnAnotherMachine: killed while it uploads, and begun again elsewhere, it ends
// in the bytes of the one that was left alone.
func TestARunInABucketGoesOnOnAnotherMachine(t *testing.T) {
	base, pairs := trainable(t), easyPairs(t, 20)
	for name, c := range map[string]struct {
		args  []string
		n     int32
		part  string
		holds []string
	}{
		"rm": {[]string{"rm", "--lr", "1e-3", "--lora", "2,4,q_proj", "--out", "s3://bucket/lab/rm"}, 3, "rm.train/state",
			[]string{"rm/config.json", "rm/training.json", "rm-adapter/adapter_config.json", "rm-adapter/base/config.json"}},
		"members": {[]string{"members", "--m", "2", "--lrs", "1e-3", "--holdout", "id%3", "--out", "s3://bucket/lab/runs"}, 2, "member-2.train/state",
			[]string{"runs/init/config.json", "runs/member-1/training.json", "runs/member-2/model.safetensors", "runs/summary.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"train"}, append(c.args, "--base", base, "--train", pairs, "--batch", "4", "--save-every", "2")...)
			alone, killed := buckettest.New(t), buckettest.New(t)
			work := t.TempDir()
			code, _, log := inBucket(t, alone, work, args...)
			require.Equal(t, exitOK, code, log)
			killedInBucket(t, killed, c.n, c.part, args...)
			code, _, log = inBucket(t, killed, t.TempDir(), args...)
			require.Equal(t, exitFailure, code)
			assert.Contains(t, log, "another process is at work on it")
			killed.Later(2 * time.Minute)
			code, printed, log := inBucket(t, killed, t.TempDir(), args...)
			require.Equal(t, exitOK, code, log)
			assert.Contains(t, log, "going on after step")
			assert.NotContains(t, printed+log, work)
			assert.NotContains(t, printed, "s3:/b", "an address is no path")
			want, got := results(alone), results(killed)
			for _, key := range c.holds {
				assert.Contains(t, want, "bucket/lab/"+key)
			}
			for key := range want {
				assert.True(t, bytes.Equal(want[key], got[key]), key)
			}
			assert.Len(t, got, len(want))
			code, _, log = inBucket(t, killed, t.TempDir(), args...)
			require.Equal(t, exitOK, code, log)
			assert.Contains(t, log, "nothing to do", "a third machine finds it done")
		})
	}
}

func TestALanguageModelInABucket(t *testing.T) {
	s := buckettest.New(t)
	args := []string{"train", "sft", "--base", trainable(t), "--pairs", easyPairs(t, 20), "--lr", "1e-3", "--keep", "1", "--batch", "4", "--out", "s3://bucket/base"}
	code, printed, log := inBucket(t, s, t.TempDir(), args...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, printed, "checkpoint      s3://bucket/base\n")
	assert.Contains(t, s.Objects(), "bucket/base-1/model.safetensors")
	code, _, log = inBucket(t, s, t.TempDir(), append(args, "--seed", "1")...)
	require.Equal(t, exitFailure, code)
	assert.Contains(t, log, "it holds the result of another run (seed 0 there and 1 here)")
	code, _, log = inBucket(t, s, t.TempDir(), append(args, "--seed", "1", "--replace")...)
	require.Equal(t, exitOK, code, log)
}

func TestWhereResultsDoNotGo(t *testing.T) {
	for line, want := range map[string]string{
		"train rm --base b --train p --lr 1 --out https://host/rm":                              "nothing is written by https://",
		"train rm --base b --train p --lr 1 --out s3://bucket":                                  "want a name in the bucket",
		"train members --base b --train p --lr 1 --out gs://":                                   "want a name in the bucket",
		"train members --base embedded:base --train p --lr 1 --with trl --out s3://bucket/runs": "--with trl: its runs write to a directory",
		"average --out https://host/average a b":                                                "nothing is written by https://",
		"train tokenizer --text t --vocab 300 --out s3://bucket/tok":                            "train tokenizer writes to a directory of this disk",
		"score --out s3://bucket/x embedded:":                                                   "score writes to a directory of this disk",
		"lab report --out ftp://host/lab":                                                       "nothing is written by ftp://",
	} {
		t.Run(line, func(t *testing.T) {
			code, _, log := trainCommand(t, strings.Fields(line)...)
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, log, want)
		})
	}
	entries, err := filepath.Glob("s3:*")
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestALabInABucketGoesOnOnAnotherMachine: a process that is killed while it uploads a member, and
// another machine that finds the others and measures.
func TestALabInABucketGoesOnOnAnotherMachine(t *testing.T) {
	if os.Getenv("WARM_EXPERIMENTS") == "" {
		t.Skip("runs a whole experiment, a tiny one: set WARM_EXPERIMENTS=1")
	}
	args := []string{"lab", "connectivity", "--size", "tiny", "--base", trainable(t), "--data", shared(t, "data"), "--out", "s3://bucket/lab"}
	s := buckettest.New(t)
	killedInBucket(t, s, 1, "member-2.train/state", args...)
	s.Later(time.Hour)
	code, printed, log := inBucket(t, s, t.TempDir(), args...)
	require.Equal(t, exitOK, code, log)
	code, again, log := inBucket(t, s, t.TempDir(), args...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, log, "was measured before: nothing to do")
	assert.Equal(t, printed, again)
	code, printed, log = inBucket(t, s, t.TempDir(), "lab", "report", "--out", "s3://bucket/lab")
	require.Equal(t, exitOK, code, log)
	assert.Equal(t, "s3://bucket/lab/report.html\n", printed)
	assert.Contains(t, s.Objects(), "bucket/lab/report.html")
	assert.Contains(t, s.Objects(), "bucket/lab/connectivity.json")
}

// TestAPolicyInABucket goes on with reinforcement learning on another machine, and has the bytes of a
// run that was left alone.
func TestAPolicyInABucket(t *testing.T) {
	server := startServe(t, "--model", "a="+tinyModel(t, "rm", nil))
	args := rlArgs(t, server.url, "s3://bucket/lab/policy", "--steps", "4", "--save-every", "1", "--keep", "1")
	alone, killed := buckettest.New(t), buckettest.New(t)
	code, _, log := inBucket(t, alone, t.TempDir(), args...)
	require.Equal(t, exitOK, code, log)
	killedInBucket(t, killed, 2, "policy.train/state", args...)
	killed.Later(time.Hour)
	code, printed, log := inBucket(t, killed, t.TempDir(), args...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, log, "going on after step")
	assert.Contains(t, printed, "checkpoint      s3://bucket/lab/policy\n")
	want, got := results(alone), results(killed)
	require.Contains(t, want, "bucket/lab/policy-1/config.json")
	assert.Len(t, got, len(want))
	for key := range want {
		if !strings.HasSuffix(key, "/times.jsonl") { // which tells how long each step took
			assert.True(t, bytes.Equal(want[key], got[key]), key)
		}
	}
}

func TestAConfigurationNamesAManifestInABucket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serve.yaml")
	for said, want := range map[string]string{"s3://bucket/manifest.yaml": "s3://bucket/manifest.yaml", "models": filepath.Join(filepath.Dir(path), "models")} {
		require.NoError(t, os.WriteFile(path, []byte("watch: "+said+"\n"), 0o600))
		c, err := readConfig(path, sourcesOf(noEnv))
		require.NoError(t, err)
		assert.Equal(t, want, c.Watch)
	}
}

func TestAnAverageInABucket(t *testing.T) {
	s := buckettest.New(t)
	one, two := tinyModel(t, "one", nil), tinyModel(t, "two", nil)
	args := []string{"average", "--out", "gs://bucket/runs/wa", one, two}
	code, _, log := inBucket(t, s, t.TempDir(), args...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, log, "to gs://bucket/runs/wa in")
	dir := filepath.Join(t.TempDir(), "wa")
	code, _, log = trainCommand(t, "average", "--out", dir, one, two)
	require.Equal(t, exitOK, code, log)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		want, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, s.Objects()["bucket/runs/wa/"+e.Name()]), e.Name())
	}
	code, _, log = inBucket(t, s, t.TempDir(), args...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, log, "gs://bucket/runs/wa holds the result of this run already")
	code, _, log = inBucket(t, s, t.TempDir(), append(args, "--weights", "1,3")...)
	require.Equal(t, exitFailure, code)
	assert.Contains(t, log, "gs://bucket/runs/wa: ")
	code, _, log = inBucket(t, s, t.TempDir(), append(args, "--weights", "1,3", "--replace")...)
	require.Equal(t, exitOK, code, log)
}
