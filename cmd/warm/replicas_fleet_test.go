//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fleet is three replicas behind HAProxy as deploy/haproxy configures it.
type fleet struct {
	*store
	t        *testing.T // the whole test, which every process lives as long as
	url      string     // of HAProxy
	balancer *output
	args     [][]string // of each replica
	replicas []*child
	logs     []*output // of every process that was a replica
	disk     string    // where replica 2 keeps its state, a file system of its own
	noDisk   string    // why that is none; "" when it is
	clients  int
	pace     time.Duration // of a client, between two requests
	hold     time.Duration // of a fault
	requests atomic.Int64
}

// newFleet starts the fleet, which serves the checkpoint w, or skips the test.
func newFleet(t *testing.T) *fleet {
	size := os.Getenv(replicasVariable)
	if size == "" {
		t.Skipf("%s is not set: short, or long, for three replicas behind HAProxy", replicasVariable)
	}
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skipf("no HAProxy on this machine (Debian's package haproxy): %v", err)
	}
	f := &fleet{t: t, store: newStore(t, "w", "x", "y", "z"), balancer: &output{}, clients: 6, pace: 20 * time.Millisecond, hold: 500 * time.Millisecond}
	if size == "long" {
		f.clients, f.pace, f.hold = 24, time.Millisecond, 10*time.Second
	}
	for _, name := range []string{"w", "x", "y"} {
		put(t, f.root, "all-"+name+"/manifest.yaml", "models:\n  m:\n    members: [../"+name+"]\n")
		age(t, filepath.Join(f.root, "all-"+name, "manifest.yaml"), time.Hour)
	}
	put(t, f.root, "CURRENT", "all-w\n")
	age(t, filepath.Join(f.root, "CURRENT"), time.Hour)
	put(t, f.root, "serve.yaml", "threads: 1\nlog_level: debug\nlimits: {drain_delay: 2s}\n")
	f.mountDisk(t)
	free := freeAddresses(t, 4)
	environment := []string{"WARM_LISTEN=" + free[3]}
	f.url = "http://" + free[3]
	for i, addr := range free[:3] {
		states := t.TempDir()
		if i == 1 {
			states = f.disk
		}
		f.args = append(f.args, append(f.flags(t), "--config", filepath.Join(f.root, "serve.yaml"), "--watch", f.root,
			"--state", filepath.Join(states, "state.json"), "--addr", addr))
		f.replicas = append(f.replicas, nil)
		f.start(i)
		environment = append(environment, fmt.Sprintf("WARM_REPLICA_%d=%s", i+1, addr))
	}
	f.balance(haproxy, environment)
	return f
}

// balance starts HAProxy and waits until a replica behind it is ready.
func (f *fleet) balance(haproxy string, environment []string) {
	balancer := exec.Command(haproxy, "-db", "-f", filepath.Join("..", "..", "deploy", "haproxy", "haproxy.cfg"))
	balancer.Env = append(os.Environ(), environment...)
	balancer.Stdout, balancer.Stderr = f.balancer, f.balancer
	require.NoError(f.t, balancer.Start())
	f.t.Cleanup(func() {
		_ = balancer.Process.Kill() // it may have ended
		_ = balancer.Wait()
	})
	require.Eventually(f.t, func() bool {
		r, err := http.Get(f.url + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond, "%s", f.balancer)
}

// mountDisk gives replica 2 a file system of 64 KiB, where this process may mount one.
func (f *fleet) mountDisk(t *testing.T) {
	f.disk = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", f.disk).CombinedOutput(); err != nil {
		f.noDisk = fmt.Sprintf("no file system can be mounted here: %v: %s", err, out)
		return
	}
	t.Cleanup(func() { assert.NoError(t, exec.Command("umount", "-l", f.disk).Run()) })
}

// start starts replica i, and waits until it is ready.
func (f *fleet) start(i int) {
	f.replicas[i] = startChild(f.t, f.args[i]...)
	f.logs = append(f.logs, f.replicas[i].stderr)
}

// told waits until HAProxy says of replica i that it is UP or DOWN, since what it had
// said before.
func (f *fleet) told(t *testing.T, i int, state string, before int) {
	t.Helper()
	require.Eventually(t, func() bool { return f.said(i, state) > before }, 20*time.Second, 5*time.Millisecond, "HAProxy does not say %s of %d", state, i+1)
}

func (f *fleet) said(i int, state string) int {
	return strings.Count(f.balancer.String(), fmt.Sprintf("\nServer replicas/replica-%d is %s", i+1, state))
}

// point makes the manifest that all watch be another, and waits until all carried it out.
func (f *fleet) point(t *testing.T, name string) {
	t.Helper()
	replace(t, filepath.Join(f.root, "CURRENT"), "all-"+name+"\n")
	require.Eventually(t, func() bool {
		for _, c := range f.replicas {
			got, status, err := ask(t.Context(), c.url, f.inputs[0])
			if err != nil || status != http.StatusOK || got.Revision != f.revision[name] {
				return false
			}
		}
		return true
	}, 15*time.Second, 20*time.Millisecond, "all serve the revision of %s", name)
}

// sent is a request of the load, and how it ended.
type sent struct {
	id         string
	began, end time.Time
	revision   string
	err        error // nil: answered with the reward of its revision, to the bit
}

// underLoad asks for rewards through HAProxy while during runs, and a moment longer.
func (f *fleet) underLoad(t *testing.T, during func()) []sent {
	var mu sync.Mutex
	var all []sent
	stop, done := make(chan struct{}), make(chan struct{})
	var clients sync.WaitGroup
	for range f.clients {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(f.pace):
				}
				s := f.request(client, n%len(f.inputs), "", "")
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
			}
		})
	}
	go func() {
		clients.Wait()
		close(done)
	}()
	defer func() { // whatever during comes to
		close(stop)
		<-done
	}()
	time.Sleep(100 * time.Millisecond)
	during()
	time.Sleep(200 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	return all
}

// errStatus is a reply other than 200.
type errStatus struct {
	status     int
	code, body string
}

func (e *errStatus) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

// request scores one input through HAProxy, pinned in the header or by the model's name.
func (f *fleet) request(client *http.Client, input int, header, model string) (s sent) {
	s = sent{id: fmt.Sprintf("replicas-%d", f.requests.Add(1)), began: time.Now()}
	defer func() { s.end = time.Now() }()
	body := map[string]any{"inputs": []any{map[string]any{"input_ids": f.inputs[input]}}}
	if model != "" {
		body["model"] = model
	}
	data, err := json.Marshal(body)
	if err != nil {
		s.err = err
		return s
	}
	r, err := http.NewRequest(http.MethodPost, f.url+"/v1/reward", bytes.NewReader(data))
	if err != nil {
		s.err = err
		return s
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Request-Id", s.id)
	if header != "" {
		r.Header.Set("X-Pin-Revision", header)
	}
	answer, err := client.Do(r)
	if err != nil {
		s.err = err
		return s
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	got := new(reply)
	switch err2 := json.Unmarshal(text, got); {
	case err != nil:
		s.err = err
	case answer.StatusCode != http.StatusOK:
		e := &errStatus{status: answer.StatusCode, body: string(text)}
		if got.Error != nil {
			e.code = got.Error.Code
		}
		s.err = e
	case err2 != nil:
		s.err = err2
	case answer.Header.Get("X-Request-Id") != s.id || answer.Header.Get("X-Model-Revision") != got.Revision:
		s.err = fmt.Errorf("the reply is another's: %v", answer.Header)
	default:
		s.revision, s.err = got.Revision, f.check(got, input)
	}
	return s
}

var answeredLine = regexp.MustCompile(`msg=request id=(replicas-\d+) .*status=200 `)

// givenOn is what HAProxy's line of a request has in it that another replica was asked, too.
var givenOn = regexp.MustCompile(` \d+/\d+/\d+/\d+/\+[1-9]`)

// given counts the requests that HAProxy gave to another replica.
func (f *fleet) given() int { return len(givenOn.FindAllString(f.balancer.String(), -1)) }

// answers counts by request how many replicas answered it with 200; but is a log that
// does not count.
func (f *fleet) answers(but *output) map[string]int {
	n := map[string]int{}
	for _, log := range f.logs {
		if log == but {
			continue
		}
		for _, m := range answeredLine.FindAllStringSubmatch(log.String(), -1) {
			n[m[1]]++
		}
	}
	return n
}

// lost holds the load against what must be true of it: whatever failed was in flight at
// the moment at on the replica that died then (never for a zero at), and what was
// answered was by one replica alone. It returns how many failed.
func (f *fleet) lost(t *testing.T, all []sent, at time.Time, dead *output) (failed int) {
	t.Helper()
	require.Greater(t, len(all), 20, "there was a load")
	// The reply leaves before the log's line of it is written.
	var once map[string]int
	assert.Eventually(t, func() bool {
		once = f.answers(nil)
		for _, s := range all {
			if s.err == nil && once[s.id] == 0 {
				return false
			}
		}
		return true
	}, 5*time.Second, 20*time.Millisecond, "each answer is some replica's")
	living := f.answers(dead)
	slowest := time.Duration(0)
	for _, s := range all {
		slowest = max(slowest, s.end.Sub(s.began))
		if s.err != nil {
			failed++
			assert.True(t, s.began.Before(at) && s.end.After(at), "%s failed: %v", s.id, s.err)
		}
		assert.LessOrEqual(t, living[s.id], 1, "%s was answered twice", s.id)
	}
	t.Logf("%d requests, %d failed, the slowest took %v; HAProxy gave %d to another replica, so far", len(all), failed,
		slowest.Round(time.Millisecond), f.given())
	return failed
}

// pinned asks some times for a revision, and wants that and no other, or 409 for none.
func (f *fleet) pinned(t *testing.T, name, revision string, held bool) {
	t.Helper()
	for n := range 8 {
		for _, s := range []sent{
			f.request(http.DefaultClient, n, revision, ""),
			f.request(http.DefaultClient, n, "", "m@"+strings.TrimPrefix(revision, "sha256:")[:12]),
		} {
			if held {
				require.NoError(t, s.err, "%s pinned", name)
				require.Equal(t, revision, s.revision, "%s pinned", name)
				continue
			}
			e := new(errStatus)
			require.ErrorAs(t, s.err, &e)
			require.Equal(t, http.StatusConflict, e.status, "%s pinned", name)
			require.Equal(t, "revision_gone", e.code)
		}
	}
}

// said is what a log says besides its lines of requests.
func said(log *output, request string) string {
	var lines []string
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, request) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
