package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// childCommand, when set in the environment, makes the test binary run warm
// with its lines as arguments: a process that can be killed.
const childCommand = "WARM_TEST_CHILD"

// runChild is main in a child.
func runChild(args []string) int {
	ctx, stop := untilSignal()
	defer stop()
	limitMemory(os.Getenv)
	return run(ctx, args, hubEnv, strings.NewReader(""), io.Discard, os.Stderr)
}

// child is a warm serve in a process of its own.
type child struct {
	url    string
	cmd    *exec.Cmd
	stderr *output
	ended  chan struct{}
}

func startChild(t testing.TB, args ...string) *child { return startChildIn(t, nil, args...) }

// anyCertificate asks servers whose certificate is of no account.
var anyCertificate = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // of tests on loopback

// startChildIn starts a child through a command that runs its arguments.
func startChildIn(t testing.TB, within []string, args ...string) *child {
	exe, err := os.Executable()
	require.NoError(t, err)
	line := append(slices.Clone(within), exe)
	c := &child{cmd: exec.Command(line[0], line[1:]...), stderr: &output{}, ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childCommand+"="+strings.Join(append([]string{"serve", "--addr", "127.0.0.1:0"}, args...), "\n"))
	c.cmd.Stderr = c.stderr
	require.NoError(t, c.cmd.Start())
	go func() {
		_ = c.cmd.Wait() // how it ended is asked of ProcessState
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it may have ended
		<-c.ended
	})
	ready := assert.Eventually(t, func() bool {
		m := listening.FindStringSubmatch(c.stderr.String())
		if m == nil {
			select {
			case <-c.ended:
				t.Fatalf("the child ended: %s", c.stderr)
			default:
			}
			return false
		}
		c.url = m[1]
		r, err := anyCertificate.Get(c.url + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, 30*time.Second, 5*time.Millisecond, "the child does not become ready")
	require.True(t, ready, "it said: %s", c.stderr)
	return c
}

// kill ends the child as a loss of power would, as far as the process goes.
func (c *child) kill(t testing.TB) {
	require.NoError(t, c.cmd.Process.Kill())
	<-c.ended
}

// TestAKilledServerComesBackWithItsLastGoodState kills the server at random
// moments of a PUT and starts it again: it serves the last revision that it
// confirmed, or the one that was on its way, and never anything else. What it
// was configured with at first it does not go back to.
func TestAKilledServerComesBackWithItsLastGoodState(t *testing.T) {
	t.Parallel()
	kills := 12
	if testing.Short() {
		kills = 3
	}
	s := newStore(t, "x", "y", "z")
	s.breakSome(t)
	args := append(s.flags(t), "--model", "m="+filepath.Join(s.root, "x"), "--state", filepath.Join(t.TempDir(), "state.json"))
	c := startChild(t, args...)
	start := time.Now()
	status, body, err := putModel(c.url, "y")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, body)
	took := time.Since(start)
	confirmed := "y"
	came := map[string]int{}
	for n := range kills {
		next := []string{"z", "y", "short"}[n%3]
		done := make(chan bool, 1)
		go func() {
			status, _, err := putModel(c.url, next)
			done <- err == nil && status == http.StatusOK
		}()
		time.Sleep(time.Duration(rand.Int64N(int64(3 * took)))) // not to synchronise: the moment of the kill is what varies
		c.kill(t)
		c = startChild(t, args...)
		allowed := []string{s.revision[confirmed]}
		if next != "short" {
			allowed = append(allowed, s.revision[next])
		}
		if <-done {
			allowed = []string{s.revision[next]}
		}
		got, status, err := ask(t.Context(), c.url, s.inputs[3])
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, allowed, got.Revision, "kill %d in a PUT of %s", n, next)
		require.NoError(t, s.check(got, 3))
		if next != "short" && got.Revision == s.revision[next] && s.revision[next] != s.revision[confirmed] {
			came["the new one"]++
			confirmed = next
		} else {
			came["the old one"]++
		}
	}
	t.Logf("a PUT takes %v; %d kills within thrice that: %v", took.Round(time.Millisecond), kills, came)
}

// TestAKilledServerCarriesTheManifestOut kills the server at random moments
// after its manifest was replaced: each start serves a good revision at once
// and comes to the manifest's.
func TestAKilledServerCarriesTheManifestOut(t *testing.T) {
	t.Parallel()
	kills := 2
	if testing.Short() {
		kills = 1
	}
	s := newStore(t, "x", "y")
	s.breakSome(t)
	path := filepath.Join(s.root, "manifest.yaml")
	manifest := func(name string) { replace(t, path, "models:\n  m:\n    members: ["+name+"]\n") }
	manifest("x")
	age(t, path, time.Hour)
	args := []string{"--watch", s.root, "--state", filepath.Join(t.TempDir(), "state.json")}
	c := startChild(t, args...)
	is := func(c *child, name string) func() bool {
		return func() bool {
			got, status, err := ask(t.Context(), c.url, s.inputs[2])
			return err == nil && status == http.StatusOK && s.check(got, 2) == nil && got.Revision == s.revision[name]
		}
	}
	require.Eventually(t, is(c, "x"), 10*time.Second, 10*time.Millisecond)
	for n := range kills {
		name := []string{"y", "x"}[n%2]
		manifest(name)
		time.Sleep(time.Duration(rand.Int64N(int64(1200 * time.Millisecond)))) // the moment of the kill is what varies
		c.kill(t)
		c = startChild(t, args...)
		got, _, err := ask(t.Context(), c.url, s.inputs[2])
		require.NoError(t, err)
		require.NoError(t, s.check(got, 2), "right after the start")
		require.Eventually(t, is(c, name), 10*time.Second, 10*time.Millisecond, "it comes to the manifest")
	}
	manifest("short")
	require.Eventually(t, func() bool { return strings.Contains(c.stderr.String(), "level=ERROR msg=watch") }, 10*time.Second, 10*time.Millisecond)
	c.kill(t)
	c = startChild(t, args...)
	assert.True(t, is(c, []string{"y", "x"}[(kills-1)%2])(), "the last good one")
}

// TestReplicasConvergeOnAManifest watches one folder with two servers.
func TestReplicasConvergeOnAManifest(t *testing.T) {
	t.Parallel()
	s := newStore(t, "x", "y")
	put(t, s.root, "one/manifest.yaml", "models:\n  m:\n    members: [../x]\n")
	put(t, s.root, "two/manifest.yaml", "models:\n  m:\n    members: [../y]\n    mode: both\n")
	put(t, s.root, "CURRENT", "one\n")
	for _, f := range []string{"one/manifest.yaml", "two/manifest.yaml", "CURRENT"} {
		age(t, filepath.Join(s.root, f), time.Hour)
	}
	var servers []*instance
	for range 2 {
		servers = append(servers, startServe(t, "--watch", s.root))
	}
	for _, w := range servers {
		got, status, err := ask(t.Context(), w.url, s.inputs[1])
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, s.check(got, 1))
	}
	replace(t, filepath.Join(s.root, "CURRENT"), "two\n")
	require.Eventually(t, func() bool {
		for _, w := range servers {
			r, err := http.Get(w.url + "/v1/models")
			if err != nil {
				return false
			}
			data, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if !strings.Contains(string(data), `"both"`) {
				return false
			}
		}
		return true
	}, 10*time.Second, 20*time.Millisecond, "both serve what CURRENT names, without a call")
}

// TestSIGTERMUnderLoadLosesNoRequest ends a server while clients ask, as a load
// balancer would have it: they go elsewhere once the server says that it stops.
func TestSIGTERMUnderLoadLosesNoRequest(t *testing.T) {
	t.Parallel()
	s := newStore(t, "x")
	config := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(config, []byte("limits:\n  drain_delay: 400ms\nmodels:\n  m:\n    members: ["+filepath.Join(s.root, "x")+"]\n"), 0o600))
	c := startChild(t, "--config", config)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var answered atomic.Int64
	for n := range 32 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, status, err := ask(t.Context(), c.url, s.inputs[n%len(s.inputs)])
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("status %d", status)
				}
				if err == nil {
					err = s.check(got, n%len(s.inputs))
				}
				if err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 100 }, 20*time.Second, time.Millisecond)
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		r, err := http.Get(c.url + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusServiceUnavailable
	}, 5*time.Second, time.Millisecond, "the server says that it stops")
	close(stop)
	clients.Wait()
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the server does not end")
	}
	assert.Equal(t, exitOK, c.cmd.ProcessState.ExitCode(), c.stderr)
	t.Logf("%d requests answered", answered.Load())
}

// replace writes a file beside path and renames it there, as whoever replaces
// a manifest must.
func replace(t testing.TB, path, content string) {
	require.NoError(t, os.WriteFile(path+".new", []byte(content), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// put writes a file with the folders above it.
func put(t testing.TB, dir, name, content string) {
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// age makes a file look as if it was written some time ago.
func age(t *testing.T, path string, ago time.Duration) {
	at := time.Now().Add(-ago)
	require.NoError(t, os.Chtimes(path, at, at))
}
