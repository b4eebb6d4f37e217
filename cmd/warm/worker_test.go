package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/driver"
)

func TestTheBinaryIsStaticWithoutCUDAAlone(t *testing.T) {
	if os.Getenv("WARM_BUILDS") == "" {
		t.Skip("builds the program twice: set WARM_BUILDS=1")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("there are cards on Linux on amd64 and arm64 alone")
	}
	for tags, static := range map[string]bool{"": false, "nocuda": true} {
		file := filepath.Join(t.TempDir(), "warm")
		cmd := exec.Command("go", "build", "-tags="+tags, "-o", file, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		f, err := elf.Open(file)
		require.NoError(t, err)
		loaded := false
		for _, p := range f.Progs {
			loaded = loaded || p.Type == elf.PT_INTERP
		}
		require.NoError(t, f.Close())
		assert.Equal(t, static, !loaded, "tags %q", tags)

		version, err := exec.Command(file, "version").CombinedOutput()
		require.NoError(t, err, "%s", version)
		// The words for what is missing come from a worker, or there are no workers.
		if _, missing := driver.Count(); missing != nil {
			out, err = exec.Command(file, "score", "--device", "cuda", tinyModel(t, "one", nil)).CombinedOutput()
			assert.Error(t, err)
			want, _, _ := strings.Cut(missing.Error(), " (")
			if static {
				want = "cuda: this build of warm has no CUDA: it was built with the tag nocuda"
			}
			assert.Contains(t, string(out), "warm: device cuda: "+want)
		}

		// A worker is nothing to be started by hand: no socket, or what is no socket.
		cmd = exec.Command(file, "serve")
		cmd.Env = append(os.Environ(), "WARM_CUDA_WORKER=0")
		out, err = cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		assert.Equal(t, 2, exit.ExitCode())
		assert.Contains(t, string(out), "a worker is started by warm itself")
	}
}
