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

	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestRayStartsWatchesAndScalesProcesses has api/python/warm_ray.py go through a fleet's life on a
// real Ray cluster of this machine: killed processes and actors, scaling, swaps under load, Ray Serve, an end
// without orphans. It wants Ray with Serve:
//
//	python3 -m venv VENV && VENV/bin/pip install 'ray[serve]'
//	WARM_RAY_PYTHON=VENV/bin/python go test -tags integration -v -run RayStarts ./cmd/warm
func TestRayStartsWatchesAndScalesProcesses(t *testing.T) {
	python := os.Getenv("WARM_RAY_PYTHON")
	if python == "" {
		t.Skip("WARM_RAY_PYTHON does not name a Python with Ray")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "warm")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	first, second := rewardtest.Checkpoint(t, "first", nil), rewardtest.Checkpoint(t, "second", nil)
	broken := rewardtest.Checkpoint(t, "broken", nil)
	require.NoError(t, os.Truncate(filepath.Join(broken, "model.safetensors"), 5000))
	temporary, err := os.MkdirTemp("/tmp", "warm-ray") // sockets have short names
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(temporary) })
	inputs := [][]any{{"What is rain?", "Water."}, {"And snow?", []string{"Rain too.", "Nothing", "Ask him."}}, {"So?", "Yes."}}
	job, err := json.Marshal(map[string]any{"files": clientFiles(t), "binary": binary, "first": first, "second": second, "broken": broken,
		"inputs": inputs, "temporary": temporary})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "ray_fleet.py"))
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "WARM_API_KEY=", "WARM_ADMIN_KEY=", "RAY_USAGE_STATS_ENABLED=0")
	cmd.Stdin = bytes.NewReader(job)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s\n%s", stdout.String(), stderr.String())
	lines := bytes.Split(bytes.TrimSpace(stdout.Bytes()), []byte("\n"))
	var got struct {
		First, Second, Served, Reconfigured []float32
		Dialect                             float32
		Hole                                []*float32
		Raised                              []string
		Refused                             struct {
			Code   string
			Status int
		}
		WhileKilled int `json:"while_killed"`
		Start       string
	}
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &got), "%s", stdout.String())
	rewards := func(dir string) (all []float32) {
		s := startServe(t, "--model", "m="+dir)
		var asked []any
		for _, in := range inputs {
			if one, ok := in[1].(string); ok {
				asked = append(asked, map[string]any{"prompt": in[0], "response": one})
				continue
			}
			asked = append(asked, map[string]any{"prompt": in[0], "responses": in[1]})
		}
		status, reply := s.post(t, map[string]any{"inputs": asked})
		require.Equal(t, http.StatusOK, status, "%+v", reply.Error)
		for _, d := range reply.Data {
			all = append(all, d.Reward)
		}
		return all
	}
	assert.Equal(t, rewards(first), got.First, "to the bit")
	assert.Equal(t, rewards(second), got.Second)
	assert.Equal(t, got.First, got.Served)
	assert.Equal(t, got.Second, got.Reconfigured)
	assert.NotZero(t, got.Dialect)
	assert.Equal(t, http.StatusUnprocessableEntity, got.Refused.Status)
	assert.Equal(t, "load_failed", got.Refused.Code)
	require.Len(t, got.Hole, 2)
	assert.Nil(t, got.Hole[1])
	assert.Len(t, got.Raised, 2)
	assert.Contains(t, got.Start, "model.safetensors", "the reason why a fleet does not start")
	t.Logf("%d calls while a process was killed; %s", got.WhileKilled, lines[len(lines)-1])
}
