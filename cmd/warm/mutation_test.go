package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// mutationCount, in the environment, is how many mutated requests are sent; a
// release is tested with 100,000.
const mutationCount = "WARM_MUTATIONS"

// seed is a request that the document describes.
type seed struct {
	method, path string
	body         []byte
}

func (s seed) raw(body []byte) []byte {
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nX-Request-Timeout: 5\r\n", s.method, s.path)
	if s.method != http.MethodGet {
		head += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return append([]byte(head+"\r\n"), body...)
}

// documentedRequests makes a request of every example, and of every path
// without one.
func documentedRequests(t *testing.T) []seed {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	require.NoError(t, err)
	var out []seed
	inPath := regexp.MustCompile(`\{[^}]*\}`)
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		for method, op := range doc.Paths.Find(path).Operations() {
			s := seed{method: method, path: inPath.ReplaceAllString(path, "m")}
			bodies := 0
			if op.RequestBody != nil {
				if media := op.RequestBody.Value.Content.Get("application/json"); media != nil {
					examples := []any{media.Example}
					for _, name := range slices.Sorted(maps.Keys(media.Examples)) {
						examples = append(examples, media.Examples[name].Value.Value)
					}
					for _, e := range examples {
						if e == nil {
							continue
						}
						body, err := json.Marshal(e)
						require.NoError(t, err)
						s.body = bytes.ReplaceAll(body, []byte(`"helpful"`), []byte(`"m"`))
						out = append(out, s)
						bodies++
					}
				}
			}
			if bodies == 0 {
				if method == http.MethodPost {
					s.body = []byte(`{"inputs":[{"text":"a"}],"input":"a","query":["a"],"text":"a"}`)
				}
				out = append(out, s)
			}
		}
	}
	return out
}

// fragments are what parsers stumble over.
var fragments = []string{
	"null", "true", "-1", "0", "1e999", "-0", "NaN", "9223372036854775808", "0.1e-400", `""`, `"\ud800"`, `"\u0000"`, "[]", "{}", "[[[[[[[[", "}", `{"a":`, `"inputs":[`, `,`,
	"\xff", "\x00", "\r\n", "\r\n\r\n", " ", "<|im_end|>", "</s>", "<s>", "{{ x }}", "../", "%00", "%2e%2e/", "?key=x", strings.Repeat("a", 3000), strings.Repeat("é", 200), strings.Repeat("[", 200),
	"Transfer-Encoding: chunked\r\n", "Content-Encoding: gzip\r\n", "Content-Encoding: zstd\r\n", "Content-Length: 5\r\n", "Expect: 100-continue\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "X-Pin-Revision: sha256:zz\r\n", "Authorization: Basic Og==\r\n",
}

// mutate changes data in one to four places.
func mutate(rng *rand.Rand, data []byte) []byte {
	out := slices.Clone(data)
	for range 1 + rng.IntN(4) {
		if len(out) == 0 {
			return []byte(fragments[rng.IntN(len(fragments))])
		}
		at := rng.IntN(len(out))
		end := min(len(out), at+1+rng.IntN(20))
		switch rng.IntN(6) {
		case 0:
			out[at] ^= 1 << rng.IntN(8)
		case 1:
			out = slices.Delete(out, at, end)
		case 2:
			out = slices.Insert(out, at, slices.Clone(out[at:end])...)
		case 3:
			out = slices.Insert(out, at, []byte(fragments[rng.IntN(len(fragments))])...)
		case 4:
			out = slices.Replace(out, at, end, []byte(fragments[rng.IntN(len(fragments))])...)
		case 5:
			out = out[:at]
		}
	}
	return out
}

// mutationPatience is how long a request that may be incomplete is left open.
const mutationPatience = 60 * time.Millisecond

// sendRaw writes a request on a connection of its own and returns the status of
// the answer; 0 when the server closed the connection without one.
func sendRaw(addr string, request []byte) (int, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	go func() { _, _ = conn.Write(request) }() // the server may answer before it has read all
	if err := conn.SetReadDeadline(time.Now().Add(mutationPatience)); err != nil {
		return 0, err
	}
	r := bufio.NewReader(conn)
	if _, err := r.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
		// It waits for more: there is none.
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return 0, err
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(r, nil)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, fmt.Errorf("no answer to %q", request)
	case err != nil:
		return 0, nil
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); errors.Is(err, os.ErrDeadlineExceeded) {
		return resp.StatusCode, fmt.Errorf("half an answer to %q", request)
	}
	return resp.StatusCode, nil
}

// TestMutatedRequestsDoNoHarm sends what is almost a request, on every route,
// to a server of real models: it answers or hangs up, never with a fault of its
// own, keeps nothing, and serves on.
func TestMutatedRequestsDoNoHarm(t *testing.T) {
	n := 2000
	if v := os.Getenv(mutationCount); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err, mutationCount)
	}
	s := startServe(t, "--model", "m="+tinyModel(t, "one", nil)+","+tinyModel(t, "three", nil), "--mode", "both", "--ab-sample", "0.1")
	addr := strings.TrimPrefix(s.url, "http://")
	seeds := documentedRequests(t)
	require.Greater(t, len(seeds), 10)
	const probe = `{"inputs":[{"prompt":"a","response":"b"}]}`
	_, want := s.post(t, probe)
	http.DefaultClient.CloseIdleConnections()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()

	var mu sync.Mutex
	statuses := map[int]int{}
	var workers sync.WaitGroup
	const clients = 16
	for w := range clients {
		rng := rand.New(rand.NewPCG(uint64(w), 20240122))
		workers.Go(func() {
			for range n / clients {
				sd := seeds[rng.IntN(len(seeds))]
				request := sd.raw(mutate(rng, sd.body)) // a right head, so that the body is read
				if rng.IntN(2) == 0 {
					request = mutate(rng, sd.raw(sd.body))
				}
				status, err := sendRaw(addr, request)
				mu.Lock()
				statuses[status]++
				mu.Unlock()
				// net/http itself answers 501 and 505 to a head that asks for what
				// HTTP/1 has not: a transfer coding, a version.
				allowed := []int{http.StatusServiceUnavailable, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported}
				if err != nil || status >= 500 && !slices.Contains(allowed, status) {
					t.Errorf("status %d, %v: %.2000q", status, err, request)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d requests on %d seeds: %v", n/clients*clients, len(seeds), statuses)
	assert.Greater(t, statuses[http.StatusOK], n/50, "some mutations leave a request what it was")
	assert.Greater(t, statuses[http.StatusBadRequest], n/10)

	_, got := s.post(t, probe)
	assert.Equal(t, want, got, "and the reward is what it was")
	http.DefaultClient.CloseIdleConnections()
	assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+2 }, 10*time.Second, 10*time.Millisecond, "goroutines: %d before, %d after", goroutines, runtime.NumGoroutine())
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, after.HeapAlloc, before.HeapAlloc+32<<20, "memory returns")
	assert.NotContains(t, s.stderr.String(), "panic")
	assert.Equal(t, exitOK, s.stop())
}
