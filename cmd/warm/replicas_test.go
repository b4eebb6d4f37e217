//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReplicasBehindHAProxy holds three replicas behind the balancer that deploy/haproxy
// configures to being one service, through changes, faults and restarts.
func TestReplicasBehindHAProxy(t *testing.T) {
	f := newFleet(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("HAProxy said:\n%s", said(f.balancer, "HTTP/1.1"))
			for i, c := range f.replicas {
				t.Logf("replica %d said:\n%s", i+1, said(c.stderr, "msg=request"))
			}
		}
	})
	whole := func(name string, test func(t *testing.T)) {
		require.True(t, t.Run(name, test), "what follows would be of a broken fleet")
	}
	whole("all converge on a manifest", func(t *testing.T) {
		f.lost(t, f.underLoad(t, func() { f.point(t, "x") }), time.Time{}, nil)
		f.pinned(t, "the one before", f.revision["w"], true)
	})
	whole("a pin finds who holds it", func(t *testing.T) {
		status, body, err := putModel(f.replicas[2].url, "z")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, body)
		f.lost(t, f.underLoad(t, func() {
			f.pinned(t, "what one holds", f.revision["z"], true)
			f.pinned(t, "what all hold", f.revision["x"], true)
			f.pinned(t, "what two hold", f.revision["w"], true)
			f.pinned(t, "what none holds", f.revision["y"], false)
		}), time.Time{}, nil)
		for i, c := range f.replicas {
			assert.Regexp(t, `route=/readyz status=409`, c.stderr.String(), "replica %d was asked before the 409", i+1)
		}
		large := fmt.Sprintf(`{"model":"m@%s","inputs":[{"input_ids":[1,2]}]`, f.revision["z"]) + strings.Repeat(" ", 1<<20) + "}"
		code, text := post(t, f.url, []byte(large), "")
		assert.Equal(t, http.StatusOK, code, "one that is larger than HAProxy keeps: %s", text)
		assert.Contains(t, text, f.revision["z"])
		refused := f.request(http.DefaultClient, 0, "latest", "")
		assert.ErrorContains(t, refused.err, "status 400", "a pin that is none is the server's to refuse")
	})
	whole("a killed one", f.killed)
	whole("a slow one", f.slow)
	whole("a full disk", f.full)
	whole("a rolling restart", f.rolling)
	whole("changes go by the manifest alone", func(t *testing.T) {
		for _, path := range []string{"/metrics", "/v1/models/m/rollback"} {
			code, _ := status(t, f.url+path, "")
			assert.Equal(t, http.StatusForbidden, code, path)
		}
		status, _, err := putModel(f.url, "z")
		require.NoError(t, err)
		assert.Equal(t, http.StatusForbidden, status)
	})
	whole("none is left", f.none)
}

// killed ends the replica that alone holds z as a loss of power would, and starts it again.
// It is stopped a moment before, so that some of the load is in flight on it when it dies,
// and of requests that HAProxy does not keep a third.
func (f *fleet) killed(t *testing.T) {
	var at time.Time
	dead := f.replicas[2]
	down, up := f.said(2, "DOWN"), f.said(2, "UP")
	all := f.underLoad(t, func() {
		large, finish := f.large(9)
		time.Sleep(100 * time.Millisecond) // each has its replica, by the fewest connections
		require.NoError(t, dead.cmd.Process.Signal(syscall.SIGSTOP))
		finish()
		time.Sleep(200 * time.Millisecond) // less than HAProxy needs to miss it
		given := f.given()
		at = time.Now()
		dead.kill(t)
		broken := 0
		for range 9 {
			if code := <-large; code != http.StatusOK {
				assert.Contains(t, []int{0, http.StatusBadGateway}, code)
				broken++
			}
		}
		assert.Positive(t, broken, "what HAProxy does not keep cannot be given to another")
		f.told(t, 2, "DOWN", down)
		assert.Eventually(t, func() bool { return f.given() > given }, 5*time.Second, 5*time.Millisecond, "and what it keeps is")
		f.pinned(t, "what the dead one held", f.revision["z"], false)
		time.Sleep(f.hold)
		f.start(2)
		f.told(t, 2, "UP", up)
	})
	f.lost(t, all, at, dead.stderr)
	f.pinned(t, "what its state brought back", f.revision["z"], true)
}

// large begins n requests at once that are larger than HAProxy keeps, all but the last byte
// of each, and returns where their statuses come, 0 where the connection broke, and what
// sends the rest.
func (f *fleet) large(n int) (<-chan int, func()) {
	statuses := make(chan int, n)
	var rest []*io.PipeWriter
	for range n {
		end, last := io.Pipe()
		rest = append(rest, last)
		go func() {
			defer end.Close()
			body := io.MultiReader(strings.NewReader(`{"inputs":[{"input_ids":[1,2]}]`+strings.Repeat(" ", 1<<20)), end)
			r, err := http.Post(f.url+"/v1/reward", "application/json", body)
			if err != nil {
				statuses <- 0
				return
			}
			r.Body.Close()
			statuses <- r.StatusCode
		}()
	}
	return statuses, func() {
		for _, last := range rest {
			go func() {
				fmt.Fprint(last, "}")
				last.Close()
			}()
		}
	}
}

// slow stops a replica whose port stays open, until HAProxy leaves it out and longer.
func (f *fleet) slow(t *testing.T) {
	c := f.replicas[0]
	down, up := f.said(0, "DOWN"), f.said(0, "UP")
	var began, end time.Time
	all := f.underLoad(t, func() {
		began = time.Now()
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGSTOP))
		defer func() { assert.NoError(t, c.cmd.Process.Signal(syscall.SIGCONT)) }()
		f.told(t, 0, "DOWN", down)
		time.Sleep(f.hold)
		end = time.Now()
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGCONT))
		f.told(t, 0, "UP", up)
	})
	f.lost(t, all, time.Time{}, nil)
	meanwhile, caught := 0, 0
	for _, s := range all {
		if s.began.After(began) && s.end.Before(end) {
			meanwhile++
		}
		if s.began.Before(end) && s.end.After(end) && s.end.Sub(s.began) > f.hold {
			caught++
		}
	}
	t.Logf("stopped for %v: the others answered %d requests, %d waited for it", end.Sub(began).Round(time.Millisecond), meanwhile, caught)
	assert.Greater(t, meanwhile, 10*caught, "the others went on")
	assert.LessOrEqual(t, caught, f.clients/2, "it had its share of the clients and no more")
}

// full fills the disk that one replica keeps its state on, and changes the model.
func (f *fleet) full(t *testing.T) {
	if f.noDisk != "" {
		t.Skip(f.noDisk)
	}
	filler := filepath.Join(f.disk, "filler")
	require.ErrorIs(t, os.WriteFile(filler, make([]byte, 1<<20), 0o600), syscall.ENOSPC)
	f.lost(t, f.underLoad(t, func() { f.point(t, "y") }), time.Time{}, nil)
	for i, c := range f.replicas {
		_, text := status(t, c.url+"/metrics", "")
		assert.Contains(t, text, "\nwarm_state_unsaved "+strconv.Itoa(map[bool]int{true: 1}[i == 1])+"\n", "replica %d", i+1)
	}
	require.NoError(t, os.Remove(filler))
}

// rolling restarts one replica after the other, as an upgrade does.
func (f *fleet) rolling(t *testing.T) {
	given := f.given()
	all := f.underLoad(t, func() {
		for i, c := range f.replicas {
			up := f.said(i, "UP")
			require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
			<-c.ended
			require.Equal(t, exitOK, c.cmd.ProcessState.ExitCode(), "%s", c.stderr)
			f.start(i)
			f.told(t, i, "UP", up)
		}
	})
	f.lost(t, all, time.Time{}, nil)
	assert.Equal(t, given, f.given(), "HAProxy knew before a listener closed, and had nothing to try again")
}

// none stops all replicas: what HAProxy then answers itself is what clients of warm read.
func (f *fleet) none(t *testing.T) {
	for _, c := range f.replicas {
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, c := range f.replicas {
		<-c.ended
	}
	r, err := http.Post(f.url+"/v1/reward", "application/json", strings.NewReader(`{"inputs":[{"text":"a"}]}`))
	require.NoError(t, err)
	defer r.Body.Close()
	var got reply
	require.NoError(t, json.NewDecoder(r.Body).Decode(&got))
	assert.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	assert.NotEmpty(t, r.Header.Get("Retry-After"))
	require.NotNil(t, got.Error)
	assert.Equal(t, "not_ready", got.Error.Code)
}
