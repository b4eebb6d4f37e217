package server_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// flood counts the answers to a stream of requests.
type flood struct {
	mu         sync.Mutex
	statuses   map[int]int
	answered   int // 200 before the end
	retryAfter map[string]int
	end        time.Time
}

func (f *flood) post(client *http.Client, url, body string) {
	resp, err := client.Post(url+"/v1/reward", "application/json", strings.NewReader(body))
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.statuses[0]++
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body) // the status says what is asked here
	resp.Body.Close()
	f.statuses[resp.StatusCode]++
	if resp.StatusCode == http.StatusOK && time.Now().Before(f.end) {
		f.answered++
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		f.retryAfter[resp.Header.Get("Retry-After")]++
	}
}

func newFlood(d time.Duration) *flood {
	return &flood{statuses: map[int]int{}, retryAfter: map[string]int{}, end: time.Now().Add(d)}
}

// TestThreeTimesTheCapacityLosesNoneOfIt measures what a scorer of a fixed cost
// answers when clients wait for it, and then sends three times as much whatever
// it answers.
func TestThreeTimesTheCapacityLosesNoneOfIt(t *testing.T) {
	if testing.Short() {
		t.Skip("takes three seconds")
	}
	const (
		tokens = 100
		phase  = 1500 * time.Millisecond
		queued = 3000 // tokens: 0.3 s of work
	)
	m := servertest.New("m", func(i *live.Info) { i.ContextLength = tokens })
	m.Fakes["wa"].PerToken = 100 * time.Microsecond
	h := start(t, server.Config{Logger: slog.New(slog.DiscardHandler), Queue: batch.Config{MaxBatchTokens: 4 * tokens, MaxQueuedTokens: queued}}, m)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}}
	defer client.CloseIdleConnections()
	body := func(i int) string { return fmt.Sprintf(`{"inputs":[{"text":"%0*d"}]}`, tokens, i) }

	closed := newFlood(phase)
	var clients sync.WaitGroup
	for c := range 20 {
		clients.Go(func() {
			for i := 0; time.Now().Before(closed.end); i++ {
				closed.post(client, h.url, body(c*1e6+i))
			}
		})
	}
	clients.Wait()
	capacity := float64(closed.answered) / phase.Seconds()
	require.Len(t, closed.statuses, 1, "clients that wait are all answered: %v", closed.statuses)
	require.Greater(t, capacity, 20.0)

	runtime.GC()
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	open := newFlood(phase)
	began := time.Now()
	for i := 0; ; i++ {
		due := began.Add(time.Duration(float64(i) / (3 * capacity) * float64(time.Second)))
		if due.After(open.end) {
			break
		}
		time.Sleep(time.Until(due))
		clients.Go(func() { open.post(client, h.url, body(i)) })
		if i%100 == 50 {
			assert.LessOrEqual(t, queueTokens(h), queued)
		}
	}
	runtime.ReadMemStats(&during)
	ended := time.Now()
	reply := h.post(body(1))
	recovery := time.Since(ended)
	clients.Wait()
	got := float64(open.answered) / phase.Seconds()
	t.Logf("capacity %.1f requests/s; at three times that %.1f answered, %v, Retry-After %v; the next request after %v; heap %+d KiB",
		capacity, got, open.statuses, open.retryAfter, recovery.Round(time.Millisecond), (int64(during.HeapAlloc)-int64(before.HeapAlloc))>>10)
	// What is computed for nothing, or a queue that stands empty between
	// refusals, would leave a third. The exact share is a measurement, for a
	// quiet machine: warm bench load.
	assert.GreaterOrEqual(t, got, 0.6*capacity)
	assert.Len(t, open.statuses, 2, "200 and 503 alone: %v", open.statuses)
	assert.Greater(t, open.statuses[503], int(capacity*phase.Seconds()), "the excess is refused")
	for _, seconds := range []string{"1", "2", "3"} {
		assert.Greater(t, open.retryAfter[seconds], open.statuses[503]/6, "clients are told to come back at different times")
	}
	assert.Contains(t, []int{200, 503}, reply.status)
	assert.Less(t, recovery, time.Second)
	assert.Less(t, int64(during.HeapAlloc)-int64(before.HeapAlloc), int64(64<<20))
	assert.Equal(t, http.StatusOK, h.post(body(2)).status, "and all is well again")
}

// queueTokens reads the queue's depth.
func queueTokens(h *harness) int {
	n := -1
	for line := range strings.Lines(string(h.get("/metrics").body)) {
		if rest, ok := strings.CutPrefix(line, "warm_queue_tokens "); ok {
			_, err := fmt.Sscan(rest, &n)
			require.NoError(h.t, err)
		}
	}
	return n
}
