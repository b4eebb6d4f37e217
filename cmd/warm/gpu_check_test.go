package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheCheckOfCardsReadsWhatProgramsPrint runs the checks of deploy/gpu's own, which need no card.
func TestTheCheckOfCardsReadsWhatProgramsPrint(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("deploy/gpu is for Linux: it reads /proc")
	}
	wantTools(t, "python3")
	cmd := exec.Command("python3", "check_test.py")
	cmd.Dir = filepath.Join("..", "..", "deploy", "gpu")
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
