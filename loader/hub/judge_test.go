//go:build integration

package hub

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/hub/hubtest"
)

// TestHuggingfaceHubAndWarmReadEachOthersCache has the Python library, installed
// for $WARM_HUB_PYTHON, download from the same hub: each finds, without a request
// for a file, what the other brought.
func TestHuggingfaceHubAndWarmReadEachOthersCache(t *testing.T) {
	python := os.Getenv("WARM_HUB_PYTHON")
	if python == "" {
		t.Skip("WARM_HUB_PYTHON names no Python with huggingface_hub")
	}
	h := hubtest.New(t)
	files := repository(1)
	for _, name := range []string{"README.md", "pytorch_model.bin", "onnx/model.onnx", "tf_model.h5"} {
		delete(files, name)
	}
	h.Push("org/name", "main", files)
	their := func(t *testing.T, c *Client, offline, code string) string {
		cmd := exec.Command(python, "-c", code)
		cmd.Env = append(os.Environ(), "HF_ENDPOINT="+h.URL, "HF_HUB_CACHE="+c.Cache, "HF_HUB_OFFLINE="+offline, "HF_HUB_DISABLE_XET=1")
		out, err := cmd.Output()
		if e := (*exec.ExitError)(nil); errors.As(err, &e) {
			t.Fatalf("%v: %s", err, e.Stderr)
		}
		require.NoError(t, err)
		return string(out)
	}
	const snapshot = `from huggingface_hub import snapshot_download; print(snapshot_download("org/name"), end="")`
	n := Name{Repo: "org/name", Revision: "main"}
	t.Run("it reads ours", func(t *testing.T) {
		c := client(t, h)
		s, err := c.Snapshot(t.Context(), n, nil)
		require.NoError(t, err)
		h.Requests()
		assert.Equal(t, s.Dir, their(t, c, "0", snapshot))
		for _, r := range h.Requests() {
			assert.NotContains(t, r, "/resolve/")
			assert.NotContains(t, r, "/cdn/")
		}
		assert.Equal(t, s.Dir, their(t, c, "1", snapshot))
		assert.Equal(t, filepath.Join(s.Dir, "config.json"), their(t, c, "1", `from huggingface_hub import hf_hub_download; print(hf_hub_download("org/name", "config.json"), end="")`))
		assert.Empty(t, h.Requests())
	})
	t.Run("we read its", func(t *testing.T) {
		c := client(t, h)
		dir := their(t, c, "0", snapshot)
		h.Requests()
		s, err := c.Snapshot(t.Context(), n, nil)
		require.NoError(t, err)
		assert.Equal(t, dir, s.Dir)
		assert.Equal(t, []string{"GET /api/models/org/name/revision/main"}, h.Requests())
		c.Offline = true
		s, err = c.Snapshot(t.Context(), n, nil)
		require.NoError(t, err)
		assert.Equal(t, dir, s.Dir)
	})
	t.Run("it goes on after a part of ours", func(t *testing.T) {
		c := client(t, h)
		// Some files are there, one is not.
		s, err := c.Snapshot(t.Context(), n, nil)
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(s.Dir, "tokenizer.json")))
		assert.Equal(t, s.Dir, their(t, c, "0", snapshot))
		assert.FileExists(t, filepath.Join(s.Dir, "tokenizer.json"))
	})
}
