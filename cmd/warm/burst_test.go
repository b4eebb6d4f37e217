package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// memoryGroup is a control group with a limit of memory, of either version.
type memoryGroup struct{ dir, peak, now string }

// newMemoryGroup makes a group of so many bytes, or skips the test where that
// cannot be done, as without root.
func newMemoryGroup(t *testing.T, limit int64) memoryGroup {
	t.Helper()
	name := fmt.Sprintf("warm-test-%d", os.Getpid())
	var reasons []string
	for _, g := range []struct{ root, limit, swap, peak, now string }{
		{"/sys/fs/cgroup", "memory.max", "memory.swap.max", "memory.peak", "memory.current"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes", "memory.usage_in_bytes"},
	} {
		if _, err := os.Stat(filepath.Join(g.root, "cgroup.procs")); err != nil {
			reasons = append(reasons, err.Error()) // of the other version
			continue
		}
		dir := filepath.Join(g.root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		t.Cleanup(func() {
			assert.Eventually(t, func() bool { return syscall.Rmdir(dir) == nil }, 5*time.Second, 10*time.Millisecond, "the group stays: %s", dir)
		})
		if err := os.WriteFile(filepath.Join(dir, g.limit), []byte(strconv.FormatInt(limit, 10)), 0o644); err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		// Without a limit of swap the kernel would move what is over out of sight.
		_ = os.WriteFile(filepath.Join(dir, g.swap), []byte("0"), 0o644)
		return memoryGroup{dir, filepath.Join(dir, g.peak), filepath.Join(dir, g.now)}
	}
	t.Skipf("no control group of memory can be made here: %s", strings.Join(reasons, "; "))
	return memoryGroup{}
}

// command returns a shell line that runs its arguments inside the group.
func (g memoryGroup) command() []string {
	return []string{"/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, g.dir}
}

func readMB(t *testing.T, file string) int64 {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	require.NoError(t, err)
	return n >> 20
}

// residentMB is the resident set of a process, without the group's page cache.
func (c *child) residentMB(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	require.NoError(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize()) >> 20
}

// post sends a body and returns the status and the reply.
func post(t *testing.T, url string, body []byte, encoding string) (int, string) {
	r, err := http.NewRequest(http.MethodPost, url+"/v1/reward", bytes.NewReader(body))
	if !assert.NoError(t, err) {
		return 0, ""
	}
	r.Header.Set("Content-Type", "application/json")
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	reply, err := http.DefaultClient.Do(r)
	if !assert.NoError(t, err, "the server hung up") {
		return 0, ""
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	assert.NoError(t, err)
	if reply.StatusCode == http.StatusServiceUnavailable {
		assert.NotEmpty(t, reply.Header.Get("Retry-After"))
	}
	return reply.StatusCode, string(text)
}

// TestNoBurstOfLargeRequestsEndsAServerOf600MB sends what once took 1.7 GB a
// request to a server that has 600 MB. Each request is answered, or refused in
// so many words, small ones beside them are answered in time, and the memory is
// given back.
func TestNoBurstOfLargeRequestsEndsAServerOf600MB(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory does not fit into 600 MB")
	}
	const limit = 600 << 20
	group := newMemoryGroup(t, limit)
	c := startChildIn(t, group.command())

	const most = 32<<20 - 64
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := fmt.Fprintf(z, `{"truncate":"left","inputs":[{"text":"%s"}]}`, strings.Repeat("a", most))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	const sentence = "The quick brown fox jumps over the lazy dog, and nobody knows why. "
	words := []byte(`{"truncate":"left","inputs":[{"text":"` + strings.Repeat(sentence, 30_000_000/len(sentence)) + `"}]}`)

	small := []byte(`{"inputs":[{"prompt":"Why?","response":"Because."}]}`)
	for _, burst := range []struct {
		name     string
		n        int
		body     []byte
		encoding string
	}{
		{"32 requests of 31 KB that decompress to 32 MB", 32, packed.Bytes(), "gzip"},
		{"8 requests of 30 MB of text", 8, words, ""},
	} {
		t.Run(burst.name, func(t *testing.T) {
			start := time.Now()
			var mu sync.Mutex
			statuses := map[int]int{}
			var large sync.WaitGroup
			for range burst.n {
				large.Go(func() {
					status, text := post(t, c.url, burst.body, burst.encoding)
					mu.Lock()
					defer mu.Unlock()
					if statuses[status]++; status != http.StatusOK && statuses[status] == 1 {
						t.Logf("%d: %s", status, text)
					}
				})
			}
			time.Sleep(100 * time.Millisecond)
			asked := time.Now()
			status, text := post(t, c.url, small, "")
			assert.Equal(t, http.StatusOK, status, "a small request beside them: %s", text)
			waited := time.Since(asked)
			large.Wait()
			for status, n := range statuses {
				assert.True(t, status == http.StatusOK || status == http.StatusServiceUnavailable || status >= 400 && status < 500, "%d of status %d", n, status)
			}
			t.Logf("statuses %v in %v, the small one after %v; peak of the group %d MB, resident %d MB", statuses, time.Since(start).Round(time.Millisecond), waited.Round(time.Millisecond), readMB(t, group.peak), c.residentMB(t))
			assert.Less(t, waited, 5*time.Second)
		})
	}
	select {
	case <-c.ended:
		t.Fatalf("the server ended: %s", c.stderr)
	default:
	}
	// What stays is the program, its weights and the arenas of the engine.
	over := time.Now()
	require.Eventually(t, func() bool { return c.residentMB(t) < 160 }, 10*time.Second, 50*time.Millisecond, "the memory is not given back: %d MB", c.residentMB(t))
	t.Logf("resident: %d MB, %v after the last reply", c.residentMB(t), time.Since(over).Round(time.Millisecond))
}
