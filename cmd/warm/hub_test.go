package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/hub"
	"github.com/warmserve/warmserve/loader/hub/hubtest"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// hubEnv is noEnv but for the hub that a test has set with t.Setenv.
func hubEnv(name string) string {
	if os.Getenv("WARM_TEST_HUB") != "" && strings.HasPrefix(name, "HF_") {
		return os.Getenv(name)
	}
	if os.Getenv("WARM_TEST_BUCKET") != "" && (name == "AWS_ENDPOINT_URL_S3" || name == workVariable) {
		return os.Getenv(name)
	}
	return noEnv(name)
}

// useHub lets the commands of a test ask a hub, with an empty cache.
func useHub(t *testing.T, h *hubtest.Hub) {
	for name, value := range map[string]string{"WARM_TEST_HUB": "1", "HF_ENDPOINT": h.URL, "HF_HUB_CACHE": t.TempDir(), "HF_HUB_OFFLINE": "", "HF_TOKEN": "", "HF_TOKEN_PATH": "/nowhere"} {
		t.Setenv(name, value)
	}
}

// hubCommand runs warm with the hub of the test.
func hubCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, errs output
	code = run(t.Context(), args, hubEnv, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// rewardsOf scores one pair by the HTTP API.
func rewardsOf(t *testing.T, url string) (float32, string) {
	client, err := api.NewClient(url)
	require.NoError(t, err)
	r, err := client.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Answers("Why?", "Because.")}})
	require.NoError(t, err)
	return r.Data[0].Reward, r.Revision
}

func TestModelsAreServedByTheirNamesOnAHub(t *testing.T) {
	h := hubtest.New(t)
	useHub(t, h)
	a, b := rewardtest.Checkpoint(t, "a", nil), rewardtest.Checkpoint(t, "b", nil)
	h.PushDir(t, "org/a", "main", a)
	first := h.PushDir(t, "org/b", "main", b)
	local := startServe(t, "--model", "m="+a+","+b)
	want, revision := rewardsOf(t, local.url)
	state := filepath.Join(t.TempDir(), "state.json")
	args := []string{"--model", "m=org/a,hf://org/b", "--state", state, "--admin-key-file", keyFile(t, "administrator")}

	s := startChild(t, args...)
	got, same := rewardsOf(t, s.url)
	assert.Equal(t, want, got, "cold")
	assert.Equal(t, revision, same)
	sources := sourcesAt(t, s.url)
	require.Len(t, sources, 2)
	assert.Equal(t, "hf://org/b@"+first, sources[1])

	h.Requests()
	r, err := http.Post(s.url+"/v1/reward", "application/json", strings.NewReader(`{"model":"org/a","inputs":[{"prompt":"Why?","response":"Because."}]}`))
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	assert.Equal(t, http.StatusNotFound, r.StatusCode)
	assert.Empty(t, h.Requests(), "no request of a client makes the server ask a hub")
	s.kill(t)

	// The branch moves. What the state confirmed is what is served again.
	h.PushDir(t, "org/b", "main", rewardtest.Checkpoint(t, "b", func(c *loader.Contents) { c.ChatTemplate += " " }))
	t.Setenv("HF_HUB_OFFLINE", "1")
	s = startChild(t, args...)
	_, same = rewardsOf(t, s.url)
	assert.Equal(t, revision, same, "offline")
	s.kill(t)
	t.Setenv("HF_HUB_OFFLINE", "")
	s = startChild(t, args...)
	_, same = rewardsOf(t, s.url)
	assert.Equal(t, revision, same, "with a state")

	// An administrator names what is on a hub, without a folder of models.
	body, err := json.Marshal(map[string]any{"members": []string{"hf://org/b"}})
	require.NoError(t, err)
	put, err := http.NewRequest(http.MethodPut, s.url+"/v1/models/m?wait=true", bytes.NewReader(body))
	require.NoError(t, err)
	put.Header.Set("Authorization", "Bearer administrator")
	put.Header.Set("Content-Type", "application/json")
	r, err = http.DefaultClient.Do(put)
	require.NoError(t, err)
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, http.StatusOK, r.StatusCode, "%s", text)
	moved := sourcesAt(t, s.url)
	require.Len(t, moved, 1)
	assert.NotEqual(t, sources[1], moved[0], "now the branch as it is")
}

func keyFile(t *testing.T, keys string) string {
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte(keys+"\n"), 0o600))
	return path
}

func sourcesAt(t *testing.T, url string) []string {
	client, err := api.NewClient(url)
	require.NoError(t, err)
	models, err := client.Models(t.Context())
	require.NoError(t, err)
	require.Len(t, models.Data, 1)
	return models.Data[0].Sources
}

func TestAnAdapterFindsItsBaseOnTheHub(t *testing.T) {
	h := hubtest.New(t)
	useHub(t, h)
	base := rewardtest.Checkpoint(t, "a", nil)
	h.PushDir(t, "org/base", "main", base)
	adapter := shared(t, "cases", "stacks", "trl-qwen3-lora")
	config, err := os.ReadFile(filepath.Join(adapter, "adapter_config.json"))
	require.NoError(t, err)
	var c map[string]any
	require.NoError(t, json.Unmarshal(config, &c))
	h.PushDir(t, "org/qwen", "main", shared(t, "cases", "stacks", "bases", "qwen3"))
	c["base_model_name_or_path"] = "org/qwen"
	dir := filepath.Join(t.TempDir(), "adapter")
	require.NoError(t, os.CopyFS(dir, os.DirFS(adapter)))
	config, err = json.Marshal(c)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_config.json"), config, 0o600))
	code, stdout, stderr := hubCommand(t, "check", dir)
	assert.Zero(t, code, "%s%s", stdout, stderr)
}

func TestPulling(t *testing.T) {
	h := hubtest.New(t)
	useHub(t, h)
	sha := h.PushDir(t, "org/a", "main", rewardtest.Checkpoint(t, "a", nil))
	code, stdout, stderr := hubCommand(t, "pull", "org/a")
	require.Zero(t, code, stderr)
	assert.Equal(t, filepath.Join(os.Getenv("HF_HUB_CACHE"), "models--org--a", "snapshots", sha)+"\n", stdout)
	code, _, _ = hubCommand(t, "check", "org/a")
	assert.Zero(t, code)
	code, _, stderr = hubCommand(t, "pull", "org/nothing")
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "no token was sent")
	code, _, stderr = hubCommand(t, "pull", "./org/a")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "want org/name")
	code, stdout, _ = hubCommand(t, "check", "org/nothing")
	assert.NotZero(t, code)
	assert.Contains(t, stdout, "HF_TOKEN")
}

// TestAKilledPullGoesOn kills warm pull with SIGKILL in the middle of a file.
func TestAKilledPullGoesOn(t *testing.T) {
	h := hubtest.New(t)
	useHub(t, h)
	files := map[string][]byte{"config.json": []byte("{}"), "model.safetensors": bytes.Repeat([]byte("0123456789abcdef"), 1<<18)}
	h.Push("org/a", "main", files)
	var resumed atomic.Value
	half := make(chan struct{})
	h.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") {
			return false
		}
		if from := r.Header.Get("Range"); from != "" {
			resumed.Store(from)
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(4<<20))
		_, _ = w.Write(files["model.safetensors"][:2<<20])
		_ = http.NewResponseController(w).Flush()
		close(half)
		<-r.Context().Done()
		return true
	})
	exe, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(exe)
	child.Env = append(os.Environ(), childCommand+"=pull\norg/a")
	require.NoError(t, child.Start())
	<-half
	parts := filepath.Join(os.Getenv("HF_HUB_CACHE"), "models--org--a", "blobs", "*.incomplete")
	require.Eventually(t, func() bool {
		found, _ := filepath.Glob(parts)
		if len(found) != 1 {
			return false
		}
		info, err := os.Stat(found[0])
		return err == nil && info.Size() == 2<<20
	}, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait() // it was killed
	code, dir, stderr := hubCommand(t, "pull", "org/a")
	require.Zero(t, code, stderr)
	assert.Equal(t, fmt.Sprintf("bytes=%d-", 2<<20), resumed.Load())
	got, err := os.ReadFile(filepath.Join(strings.TrimSpace(dir), "model.safetensors"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(files["model.safetensors"], got))
	c := hub.FromEnv(hubEnv)
	c.Offline = true
	_, err = c.Snapshot(context.Background(), hub.Name{Repo: "org/a", Revision: "main"}, nil)
	assert.NoError(t, err)
}
