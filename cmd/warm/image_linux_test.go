package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheImagesBinaryServesFromAnEmptyRoot runs what the static image runs, as its user, where there is
// nothing but the binary and a mounted configuration: the server, and the image's health check.
func TestTheImagesBinaryServesFromAnEmptyRoot(t *testing.T) {
	if os.Getenv("WARM_BUILDS") == "" {
		t.Skip("builds the program for two processors: set WARM_BUILDS=1")
	}
	if os.Getuid() != 0 {
		t.Skip("another root directory wants root")
	}
	emulator, missing := exec.LookPath("qemu-aarch64-static")
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			emulated := arch != runtime.GOARCH
			if emulated && (arch != "arm64" || missing != nil) {
				t.Skip("no emulator of " + arch)
			}
			root, err := os.MkdirTemp("", "warm-root-") // which the image's user may enter, unlike t.TempDir's
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, os.RemoveAll(root)) })
			require.NoError(t, os.Chmod(root, 0o755))
			cmd := exec.Command("go", "build", "-tags=nocuda", "-o", filepath.Join(root, "warm"), ".")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			within := []string{"/warm"}
			if emulated {
				data, err := os.ReadFile(emulator)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(root, "emulator"), data, 0o755))
				within = []string{"/emulator", "/warm"}
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			addr := ln.Addr().String()
			require.NoError(t, ln.Close())
			require.NoError(t, os.MkdirAll(filepath.Join(root, "etc", "warm"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(root, "etc", "warm", "serve.yaml"),
				[]byte(fmt.Sprintf("addr: %s\nmodels: {demo: {members: ['embedded:']}}\n", addr)), 0o644))
			inside := func(args ...string) *exec.Cmd {
				line := append(within, args...)
				cmd := exec.Command(line[0], line[1:]...)
				cmd.Path, cmd.Err = line[0], nil // of the other root
				cmd.Dir, cmd.Env = "/", []string{"WARM_DEFAULT_CONFIG=/etc/warm/serve.yaml"}
				cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
				return cmd
			}
			said, err := inside("health").CombinedOutput()
			require.Error(t, err, "nobody serves yet: %s", said)

			serve, stderr := inside("serve"), &output{}
			serve.Stderr = stderr
			require.NoError(t, serve.Start())
			ended := make(chan error, 1)
			go func() { ended <- serve.Wait() }()
			defer serve.Process.Kill() // it may have ended
			require.Eventually(t, func() bool {
				return inside("health").Run() == nil
			}, 2*time.Minute, 300*time.Millisecond, "%s", stderr)
			reply, err := http.Post("http://"+addr+"/v1/reward", "application/json", strings.NewReader(`{"inputs":[{"text":"a"}]}`))
			require.NoError(t, err)
			assert.Equal(t, http.StatusOK, reply.StatusCode)
			require.NoError(t, reply.Body.Close())
			require.NoError(t, serve.Process.Signal(syscall.SIGTERM))
			assert.NoError(t, <-ended, "%s", stderr)
		})
	}
}
