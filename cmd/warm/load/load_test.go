package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func length(t *testing.T, s string) Length {
	l, err := ParseLength(s)
	require.NoError(t, err)
	return l
}

// quick is a short closed loop.
func quick(t *testing.T, url string) Config {
	return Config{URL: url, Dialect: "reward", Clients: 4, Duration: 100 * time.Millisecond, Timeout: 5 * time.Second,
		Prompt: length(t, "3"), Answer: length(t, "2"), Answers: 1, Distinct: 8, Seed: 1}
}

// peer answers as the servers of the four stacks do.
func peer(t *testing.T, check func(path string, body map[string]any)) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if !assert.NoError(t, json.NewDecoder(r.Body).Decode(&body)) {
			return
		}
		says := map[bool]string{true: "5.000"}[r.URL.Path == "/v1/reward"]
		assert.Equal(t, says, r.Header.Get("X-Request-Timeout"), "as package api sends it, and no other client")
		check(r.URL.Path, body)
		n := func(v any) int {
			if list, ok := v.([]any); ok {
				return len(list)
			}
			return 1
		}
		many := func(k int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", k), ",") }
		switch r.URL.Path {
		case "/v1/reward":
			k := 0
			for _, in := range body["inputs"].([]any) {
				m := in.(map[string]any)
				if rs, ok := m["responses"]; ok {
					k += n(rs)
				} else {
					k++
				}
			}
			fmt.Fprintf(w, `{"data":[%s],"usage":{"total_tokens":%d}}`, many(k, `{"reward":0.5}`), 7*k)
		case "/get_reward":
			k := n(body["query"])
			fmt.Fprintf(w, `{"rewards":[%s],"scores":[],"extra_logs":{"reward_tokens":[%s]}}`, many(k, "0.5"), many(k, "7"))
		case "/classify":
			k := n(body["input"])
			fmt.Fprintf(w, `{"data":[%s],"usage":{"prompt_tokens":%d}}`, many(k, `{"probs":[0.5]}`), 7*k)
		case "/predict":
			k := n(body["inputs"])
			w.Header().Set("X-Compute-Tokens", fmt.Sprint(7*k))
			if k == 1 {
				io.WriteString(w, `[{"score":0.5,"label":"LABEL_0"}]`)
				return
			}
			fmt.Fprintf(w, `[%s]`, many(k, `[{"score":0.5,"label":"LABEL_0"}]`))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestEachDialectSendsItsStacksBodyAndReadsItsReply(t *testing.T) {
	for name, test := range map[string]struct {
		dialect, path string
		answers, ids  int
		check         func(t *testing.T, b map[string]any)
	}{
		"native, one answer": {"reward", "/v1/reward", 1, 0, func(t *testing.T, b map[string]any) {
			in := b["inputs"].([]any)[0].(map[string]any)
			assert.Len(t, strings.Fields(in["prompt"].(string)), 3)
			assert.Len(t, strings.Fields(in["response"].(string)), 2)
		}},
		"native, a group": {"reward", "/v1/reward", 3, 0, func(t *testing.T, b map[string]any) {
			require.Len(t, b["inputs"], 1)
			assert.Len(t, b["inputs"].([]any)[0].(map[string]any)["responses"], 3)
		}},
		"native, ids": {"reward", "/v1/reward", 2, 50, func(t *testing.T, b map[string]any) {
			a := b["inputs"].([]any)[0].(map[string]any)["input_ids"].([]any)
			c := b["inputs"].([]any)[1].(map[string]any)["input_ids"].([]any)
			assert.Len(t, a, 5)
			assert.Equal(t, a[:3], c[:3], "a group shares its prompt")
			for _, id := range a {
				assert.GreaterOrEqual(t, id, 1.0)
				assert.Less(t, id, 50.0)
			}
		}},
		"OpenRLHF": {"openrlhf", "/get_reward", 1, 0, func(t *testing.T, b map[string]any) {
			assert.Equal(t, []any{nil}, b["labels"])
			assert.True(t, strings.HasPrefix(b["query"].([]any)[0].(string), b["prompts"].([]any)[0].(string)+" "))
		}},
		"verl": {"classify", "/classify", 1, 0, func(t *testing.T, b map[string]any) {
			assert.Equal(t, false, b["use_activation"])
			assert.Equal(t, "m", b["model"])
			assert.Len(t, strings.Fields(b["input"].(string)), 5)
		}},
		"vLLM, ids": {"classify", "/classify", 2, 50, func(t *testing.T, b map[string]any) {
			assert.Len(t, b["input"], 2)
			assert.Len(t, b["input"].([]any)[1], 5)
		}},
		"TEI, one text": {"predict", "/predict", 1, 0, func(t *testing.T, b map[string]any) {
			assert.Equal(t, true, b["raw_scores"])
			assert.IsType(t, "", b["inputs"])
		}},
		"TEI, several": {"predict", "/predict", 2, 0, func(t *testing.T, b map[string]any) {
			assert.Len(t, b["inputs"].([]any)[0], 1, "a list of two texts would be a pair")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := peer(t, func(path string, body map[string]any) {
				assert.Equal(t, test.path, path)
				test.check(t, body)
			})
			c := quick(t, s.URL)
			c.Dialect, c.Answers, c.Vocabulary, c.Model = test.dialect, test.answers, test.ids, "m"
			r, err := Run(t.Context(), c)
			require.NoError(t, err)
			assert.Zero(t, r.Failed, "%v %s", r.Total.Statuses, r.Example)
			assert.Positive(t, r.RequestsPerS)
			assert.InDelta(t, r.RequestsPerS*float64(test.answers), r.AnswersPerS, 1e-6*r.AnswersPerS)
			assert.InDelta(t, r.AnswersPerS*7, r.TokensPerS, 1e-6*r.TokensPerS)
			assert.InDelta(t, r.AnswersPerS*5, r.UnitsPerS, 1e-6*r.UnitsPerS)
			assert.LessOrEqual(t, r.Connections, int64(8), "kept: a transport may dial ahead of one that comes back")
		})
	}
}

func TestConnectionsAreNewWhenAskedFor(t *testing.T) {
	s := peer(t, func(string, map[string]any) {})
	c := quick(t, s.URL)
	c.NewConnections = true
	r, err := Run(t.Context(), c)
	require.NoError(t, err)
	assert.EqualValues(t, r.Total.Statuses["200"], r.Connections)
}

func TestFailuresAreCountedByKind(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch n.Add(1) % 5 {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			io.WriteString(w, `{"data":[]}`)
		case 3:
			io.WriteString(w, `{"data":[{"reward":null}]}`)
		default:
			io.WriteString(w, `{"data":[{"reward":1}]}`)
		}
	}))
	defer s.Close()
	r, err := Run(t.Context(), quick(t, s.URL))
	require.NoError(t, err)
	for _, kind := range []string{"200", "503", "bad reply"} {
		assert.Positive(t, r.Total.Statuses[kind], "%s of %v", kind, r.Total.Statuses)
	}
	assert.Positive(t, r.Total.Statuses["connection closed"]+r.Total.Statuses["connection reset"], "%v", r.Total.Statuses)
	assert.NotEmpty(t, r.Example)
	assert.EqualValues(t, r.Measured.Statuses["200"], r.Latency.Count)
	assert.EqualValues(t, r.Measured.Ended()-r.Measured.Requests, r.Refused.Count)
}

// serial answers one request after the other, each in a fixed time at least, as
// an engine does whose batches are full. It counts them.
func serial(t *testing.T, each time.Duration) (url string, answered *atomic.Int64) {
	var engine sync.Mutex
	answered = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		engine.Lock()
		time.Sleep(each)
		answered.Add(1)
		engine.Unlock()
		io.WriteString(w, `{"data":[{"reward":1}],"usage":{"total_tokens":10}}`)
	}))
	t.Cleanup(s.Close)
	return s.URL, answered
}

func TestThroughputIsMeasuredWhereAnAnswerTakesLongerThanTheWindow(t *testing.T) {
	url, answered := serial(t, 10*time.Millisecond)
	c := quick(t, url)
	c.Clients, c.Warmup, c.Duration = 64, 900*time.Millisecond, 400*time.Millisecond
	var begin, end int64
	c.Begin, c.End = func() { begin = answered.Load() }, func() { end = answered.Load() }
	r, err := Run(t.Context(), c)
	require.NoError(t, err)
	assert.Greater(t, r.Latency.P50, 1000*r.Seconds, "no request of the window is answered in it: 64 take 640 ms at least")
	assert.Positive(t, r.Measured.Requests)
	// The server's own count: an answer or two are on their way at either end, a few
	// more on a busy machine.
	assert.InDelta(t, float64(end-begin)/r.Seconds, r.RequestsPerS, 6/r.Seconds)
	assert.InDelta(t, 10*r.RequestsPerS, r.TokensPerS, 1e-9*r.TokensPerS)
	// A client may send one more between the end of the window and its being told.
	assert.InDelta(t, 64, float64(r.After.Requests), 2, "what was under way is waited for")
	assert.Equal(t, r.Warmup.Requests >= 64, r.Settled)
	assert.Zero(t, r.Failed)

	c.Warmup = 0
	r, err = Run(t.Context(), c)
	require.NoError(t, err)
	assert.False(t, r.Settled)
}

func TestTheCountsOfARunAgree(t *testing.T) {
	var served atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(time.Millisecond)
		if served.Add(1)%10 == 0 {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, `{"data":[{"reward":1}],"usage":{"total_tokens":10}}`)
	}))
	defer s.Close()
	c := quick(t, s.URL)
	c.Warmup, c.NewConnections = 100*time.Millisecond, true
	var begin, end int64
	c.Begin, c.End = func() { begin = served.Load() }, func() { end = served.Load() }
	r, err := Run(t.Context(), c)
	require.NoError(t, err)
	assert.EqualValues(t, served.Load(), r.Total.Ended())
	assert.EqualValues(t, served.Load()/10, r.Failed)
	assert.Equal(t, map[string]int{"2": r.Failed}, r.Total.RetryAfter)
	assert.EqualValues(t, served.Load(), r.Connections)
	assert.Equal(t, r.Total.Requests, r.Warmup.Requests+r.Measured.Requests+r.After.Requests)
	assert.EqualValues(t, r.Measured.Requests, r.Latency.Count)
	assert.EqualValues(t, r.Measured.Statuses["503"], r.Refused.Count)
	assert.InDelta(t, float64(r.Measured.Requests), r.RequestsPerS*r.Seconds, 1e-9*float64(r.Measured.Requests))
	assert.InDelta(t, end-begin, r.Measured.Ended(), float64(4*c.Clients), "the callers' hooks run at the window's ends, give or take a few answers")
	assert.Positive(t, r.CPUShare())
}

func TestARunThatIsStoppedEndsItsWindow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	url, _ := serial(t, time.Millisecond)
	c := quick(t, url)
	c.Duration = time.Minute
	r, err := Run(ctx, c)
	require.NoError(t, err)
	assert.InDelta(t, 0.15, r.Seconds, 0.1)
	assert.InDelta(t, float64(r.Measured.Requests), r.RequestsPerS*r.Seconds, 1e-6)
	assert.Zero(t, r.Failed)
}

// TestAnOpenLoopCountsFromWhenARequestWasDue is the difference from a closed
// loop: a server that stops for 200 ms delays all requests due in that time,
// about 200 of them, by 100 ms on average.
func TestAnOpenLoopCountsFromWhenARequestWasDue(t *testing.T) {
	var stopped atomic.Bool
	var stop sync.RWMutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !stopped.Swap(true) {
			stop.Lock()
			time.AfterFunc(200*time.Millisecond, stop.Unlock)
		}
		stop.RLock()
		defer stop.RUnlock()
		io.WriteString(w, `{"data":[{"reward":1}]}`)
	}))
	defer s.Close()
	c := quick(t, s.URL)
	c.Rate, c.Clients, c.Duration = 1000, 2000, 400*time.Millisecond
	r, err := Run(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, "open", r.Loop)
	assert.Zero(t, r.Failed)
	assert.InDelta(t, 400, r.Total.Statuses["200"], 120, "a Poisson number, of standard deviation 20, on a busy machine")
	assert.Greater(t, r.Latency.Mean, 20.0)
	assert.Greater(t, r.Latency.Max, 180.0)

	c.Clients = 10
	stopped.Store(false)
	r, err = Run(t.Context(), c)
	require.NoError(t, err)
	assert.Positive(t, r.Unsent, "more were due than may be under way")
}

func TestClientsBackOffWhenAskedTo(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	c := quick(t, s.URL)
	c.Backoff = true
	r, err := Run(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"503": 4}, r.Total.Statuses)
}

func TestOnlyThisMachineIsLoaded(t *testing.T) {
	for _, host := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "0.0.0.0:80"} {
		_, err := Run(t.Context(), quick(t, "http://"+host))
		assert.ErrorIs(t, err, ErrRemote, host)
	}
	s := peer(t, func(string, map[string]any) {})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		_, port, err := net.SplitHostPort(s.Listener.Addr().String())
		require.NoError(t, err)
		r, err := Run(t.Context(), quick(t, "http://"+host+":"+port))
		require.NoError(t, err, host)
		assert.Positive(t, r.Total.Statuses["200"], "%s: %v", host, r.Total.Statuses)
	}
	assert.ErrorIs(t, onlyLoopback("tcp", "198.51.100.7:80", nil), ErrRemote, "what is dialled counts")
}

func TestConfigReportsEveryProblem(t *testing.T) {
	c := Config{URL: "localhost:80", Dialect: "grpc", Rate: -1}
	err := c.Validate()
	for _, part := range []string{"url", `"grpc"`, "clients", "answers", "distinct", "rate", "duration", "answer"} {
		assert.ErrorContains(t, err, part)
	}
	c = quick(t, "http://127.0.0.1:1")
	c.Dialect, c.Vocabulary = "openrlhf", 100
	assert.ErrorContains(t, c.Validate(), "sends text")
}

func TestLengths(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range []string{"0", "400", "uniform:16-128", "lognormal:50,0.6"} {
		l := length(t, s)
		assert.Equal(t, s, l.String())
	}
	var drawn []int
	for range 20000 {
		n := length(t, "uniform:3-5").draw(rng)
		assert.Contains(t, []int{3, 4, 5}, n)
		drawn = append(drawn, length(t, "lognormal:50,0.6").draw(rng))
	}
	slices.Sort(drawn)
	assert.InDelta(t, 50, drawn[10000], 2)
	assert.InDelta(t, 91, drawn[16827], 4, "the median times e to the sigma, at one standard deviation")
	for _, bad := range []string{"", "-1", "x", "uniform:5", "uniform:5-3", "uniform:0-3", "uniform:1.5-3", "lognormal:5", "lognormal:NaN,1", "lognormal:5,-1", "zipf:1,2", "9999999"} {
		_, err := ParseLength(bad)
		assert.Error(t, err, bad)
	}
}

func TestQuantilesAreWithinASixtyFourthOfTheTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var h histogram
	var all []time.Duration
	for range 20000 {
		d := time.Duration(float64(time.Millisecond) * 100 * rng.ExpFloat64() * rng.ExpFloat64()).Truncate(time.Microsecond)
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		truth := all[int(q*float64(len(all))+0.999999)-1]
		got := h.quantile(q)
		assert.GreaterOrEqual(t, got, truth, "%g", q)
		assert.LessOrEqual(t, float64(got), float64(truth)*(1+1.0/64)+1000, "%g", q)
	}
	assert.Equal(t, all[len(all)-1], h.quantile(1))
	last := -1
	for m := uint64(0); m < 1<<14; m++ {
		b := bucketOf(m)
		require.True(t, b == last || b == last+1, "no bucket is left out at %d", m)
		require.LessOrEqual(t, m, upper(b))
		last = b
	}
	assert.Equal(t, Latency{}, new(histogram).latency())
}

func TestTheReportIsForPeopleToo(t *testing.T) {
	s := peer(t, func(string, map[string]any) {})
	r, err := Run(t.Context(), quick(t, s.URL))
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, r.Write(&b))
	for _, part := range []string{"4 clients, closed loop", "connections kept", "prompt 3, answer 2 words", "requests/s", "p99 ", "answers 200"} {
		assert.Contains(t, b.String(), part)
	}
}
