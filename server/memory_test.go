package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// textOf is a request for the reward of n bytes of text.
func textOf(n int) string {
	return `{"truncate":"left","inputs":[{"text":"` + strings.Repeat("a", n) + `"}]}`
}

func TestWhatCouldNeverFitInTheMemoryIsRefusedWithTheLimit(t *testing.T) {
	h := start(t, server.Config{RequestMemory: 8 << 20}, servertest.New("m"))
	assert.Equal(t, 200, h.post(textOf(1<<20)).status)
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for name, r := range map[string]*reply{
		"as it is":     h.post(textOf(2 << 20)),
		"gzip":         h.post(gzipped(t, textOf(2<<20)), "Content-Encoding", "gzip"),
		"zstd":         h.post(string(z.EncodeAll([]byte(textOf(2<<20)), nil)), "Content-Encoding", "zstd"),
		"short values": h.post(`{"inputs":[` + strings.Repeat(`{},`, 1<<16) + `{}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, 413, r.status, "%s", r.body)
			e := r.error(t)
			assert.Equal(t, "body_too_large", e.Error.Code)
			assert.Contains(t, e.Error.Message, "one request may hold 7340032 (limits.request_memory)")
		})
	}
}

// A row of a few bytes has metrics of thousands.
func TestTheMetricsOfManyRolloutsAreHeldToTheMemory(t *testing.T) {
	h := start(t, server.Config{RequestMemory: 8 << 20}, servertest.New("m"))
	rollouts := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,{"_ng_task_index":%d,"reward":1}`, i)
		}
		return `{"verify_responses":[` + b.String()[1:] + `]}`
	}
	assert.Equal(t, 200, h.send("/aggregate_metrics", rollouts(1000)).status)
	r := h.send("/aggregate_metrics", rollouts(5000))
	require.Equal(t, 413, r.status)
	assert.Contains(t, r.error(t).Error.Message, "limits.request_memory")
}

// fullRoom is a server whose only memory a large request holds until open is called.
func fullRoom(t *testing.T) (h *harness, large func() *reply, open func()) {
	inside, gate := make(chan struct{}), make(chan struct{})
	m := servertest.New("m")
	m.BeforePrepare = func(in *api.Input) error {
		if in.Text != nil && len(*in.Text) > 1<<20 {
			close(inside)
			<-gate
		}
		return nil
	}
	h = start(t, server.Config{RequestMemory: 8 << 20}, m)
	done := make(chan *reply, 1)
	go func() { done <- h.post(textOf(1<<20 + 1<<18)) }()
	<-inside
	var once sync.Once
	open = func() { once.Do(func() { close(gate) }) }
	t.Cleanup(open)
	return h, func() *reply { return <-done }, open
}

func TestALargeRequestWaitsForMemoryAndASmallOneDoesNot(t *testing.T) {
	h, large, open := fullRoom(t)
	r := h.post(textOf(1<<20), "X-Request-Timeout", "0.05")
	require.Equal(t, 503, r.status, "%s", r.body)
	assert.Equal(t, "overloaded", r.error(t).Error.Code)
	assert.Contains(t, r.error(t).Error.Message, "limits.request_memory")
	assert.NotEmpty(t, r.header.Get("Retry-After"))

	waits := make(chan *reply, 1)
	go func() { waits <- h.post(textOf(1 << 20)) }()
	require.Eventually(t, func() bool { return server.WaitingForMemory(h.server) == 1 }, 5*time.Second, time.Millisecond)
	assert.Equal(t, 200, h.post(textOf(1000)).status, "a small request passes")
	metrics := string(h.get("/metrics").body)
	assert.Contains(t, metrics, "\nwarm_requests_waiting_for_memory 1\n")
	assert.Contains(t, metrics, "\nwarm_requests_refused_for_memory_total 1\n")
	assert.Contains(t, metrics, fmt.Sprintf("\nwarm_request_memory_limit_bytes %v\n", float64(8<<20)))
	open()
	assert.Equal(t, 200, large().status)
	assert.Equal(t, 200, (<-waits).status)
	assert.Contains(t, string(h.get("/metrics").body), "\nwarm_request_memory_bytes 0\n", "all is given back")
}

func TestAClientThatLeavesWhileItWaitsForMemoryLeavesTheLine(t *testing.T) {
	h, large, open := fullRoom(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/v1/reward", strings.NewReader(textOf(1<<20)))
		if err == nil {
			r.Header.Set("X-Request-Timeout", "0.3")
			_, err = http.DefaultClient.Do(r)
		}
		gone <- err
	}()
	require.Eventually(t, func() bool { return server.WaitingForMemory(h.server) == 1 }, 5*time.Second, time.Millisecond)
	cancel()
	assert.ErrorIs(t, <-gone, context.Canceled)
	// net/http tells of a client that left once its body was read, so the
	// request's own time ends the wait.
	require.Eventually(t, func() bool { return server.WaitingForMemory(h.server) == 0 }, 5*time.Second, time.Millisecond)
	open()
	assert.Equal(t, 200, large().status)
}

func TestMemoryIsGivenBackHoweverARequestEnds(t *testing.T) {
	m := servertest.New("m")
	m.BeforePrepare = func(in *api.Input) error {
		switch {
		case in.Text != nil && *in.Text == "panic":
			panic("a fault")
		case in.Text != nil && *in.Text == "fail":
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	h := start(t, server.Config{RequestMemory: 8 << 20}, m)
	chunked := func(body io.Reader) {
		r, err := http.NewRequest(http.MethodPost, h.url+"/v1/reward", io.MultiReader(body)) // of unknown length
		require.NoError(t, err)
		if reply, err := http.DefaultClient.Do(r); err == nil {
			reply.Body.Close()
		}
	}
	for name, send := range map[string]func(){
		"answered":         func() { h.post(textOf(1000)) },
		"not JSON":         func() { h.post(`{`) },
		"a fault":          func() { h.post(`{"inputs":[{"text":"fail"}]}`) },
		"a panic":          func() { h.post(`{"inputs":[{"text":"panic"}]}`) },
		"too long":         func() { h.post(`{"truncate":"error","inputs":[{"text":"` + strings.Repeat("a", 100) + `"}]}`) },
		"a broken gzip":    func() { h.post("\x1f\x8b nothing", "Content-Encoding", "gzip") },
		"chunked":          func() { chunked(strings.NewReader(textOf(1 << 20))) },
		"chunked, too big": func() { chunked(strings.NewReader(textOf(4 << 20))) },
		"cut off":          func() { chunked(io.MultiReader(strings.NewReader(`{"inputs":`), brokenReader{})) },
		"another route":    func() { h.do(http.MethodPost, "/get_reward", `{"query":["a","b"]}`) },
		"tokens":           func() { h.do(http.MethodPost, "/tokenize", `{"inputs":"abc"}`) },
		"pairs":            func() { h.do(http.MethodPost, "/v1/compare", `{"pairs":[{"prompt":"a","chosen":"b","rejected":"c"}]}`) },
	} {
		t.Run(name, func(t *testing.T) {
			send()
			assert.Eventually(t, func() bool { return server.Held(h.server) == 0 }, 5*time.Second, time.Millisecond)
		})
	}
}

// brokenReader fails, so that the client cuts its request off.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestABodyOfUnknownLengthIsReadWhole(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	for _, n := range []int{0, 1, 16<<10 - 60, 16 << 10, 100_000, 1 << 20} {
		want := h.post(textOf(max(n, 1)))
		r, err := http.NewRequest(http.MethodPost, h.url+"/v1/reward", io.MultiReader(strings.NewReader(textOf(max(n, 1)))))
		require.NoError(t, err)
		got, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		got.Body.Close()
		assert.Equal(t, want.status, got.StatusCode)
		assert.Equal(t, dataOf(string(want.body)), dataOf(string(body)), "%d bytes", n)
	}
}

// dataOf is what of a reply depends on its request.
func dataOf(body string) string {
	_, data, _ := strings.Cut(body, `"data":`)
	return data
}

func TestTheMemoryOfRequestsFollowsTheModels(t *testing.T) {
	limit := func(h *harness) string {
		for line := range strings.Lines(string(h.get("/metrics").body)) {
			if rest, ok := strings.CutPrefix(line, "warm_request_memory_limit_bytes "); ok {
				return strings.TrimSpace(rest)
			}
		}
		return ""
	}
	of := func(bytes int64) string { return fmt.Sprint(float64(bytes)) }
	heavy := func(name string, bytes int64) *servertest.Model {
		return servertest.New(name, func(i *live.Info) { i.Memory = bytes })
	}
	h := start(t, server.Config{Memory: 2 << 30}, heavy("a", 1<<30))
	assert.Equal(t, of(512<<20), limit(h), "half of what the model leaves")
	_, err := h.models.Swap(heavy("b", 512<<20))
	require.NoError(t, err)
	assert.Equal(t, of(256<<20), limit(h))
	_, err = h.models.Swap(heavy("a", 0))
	require.NoError(t, err)
	assert.Equal(t, of(768<<20), limit(h), "what was replaced is free")
	_, err = h.models.Swap(heavy("a", 8<<30))
	require.NoError(t, err)
	assert.Equal(t, of(64<<20), limit(h), "never less than a large request needs")
	h.models.Remove("a")
	assert.Equal(t, of(768<<20), limit(h))
}

func TestWhatAModelTakesWhileItIsLoadedIsNotForRequests(t *testing.T) {
	f := &factory{memory: 512 << 20}
	l := startLive(t, server.Config{Memory: 2 << 30, KeepPrevious: -1}, f)
	var during []int64
	f.before = func(context.Context, string, *api.ModelSpec, func(string, float64)) error {
		during = append(during, server.MemoryLimit(l.server))
		return nil
	}
	for _, member := range []string{"a", "b"} {
		r := l.put(member)
		require.Equal(t, 200, r.status, "%s", r.body)
		assert.Equal(t, int64(768<<20), server.MemoryLimit(l.server), "half of what one model leaves")
	}
	assert.Equal(t, []int64{1 << 30, 512 << 20}, during, "of no model, and of the live one and the one that takes its place")
}

func TestMemoryGoesBackToTheSystemAfterABurst(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until memory is reclaimed, some three seconds")
	}
	h := start(t, server.Config{}, servertest.New("m"))
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapSys - m.HeapReleased
	}
	body := textOf(24 << 20)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { assert.Equal(t, 200, h.post(body).status) })
	}
	all.Wait()
	peak := inUse()
	assert.Eventually(t, func() bool { return inUse() < peak/2 }, 10*time.Second, 50*time.Millisecond, "%d bytes are still in use", inUse())
}
