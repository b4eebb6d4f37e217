package rl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/trainer/data"
)

// fakeServer answers both dialects with the length of the answer or text, under a
// revision that may change with every request.
type fakeServer struct {
	*httptest.Server
	requests atomic.Int64
	revision func(request int64) string
	// before may answer a request itself.
	before func(request int64, w http.ResponseWriter, r *http.Request) (answered bool)

	mu     sync.Mutex
	bodies []string
}

func newFakeServer(t testing.TB) *fakeServer {
	s := &fakeServer{revision: func(int64) string { return "sha256:aa" }}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.requests.Add(1)
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.bodies = append(s.bodies, r.URL.String()+" "+string(body))
	s.mu.Unlock()
	if s.before != nil && s.before(n, w, r) {
		return
	}
	var in struct {
		Query  []string
		Inputs []struct{ Responses []string }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.URL.Path == "/get_reward" {
		var rewards []float64
		for _, q := range in.Query {
			rewards = append(rewards, float64(len(q)))
		}
		w.Header().Set("X-Model-Revision", s.revision(n))
		json.NewEncoder(w).Encode(map[string]any{"rewards": rewards})
		return
	}
	var list []map[string]any
	for i, x := range in.Inputs[0].Responses {
		list = append(list, map[string]any{"index": i, "answer": i, "reward": len(x)})
	}
	json.NewEncoder(w).Encode(map[string]any{"revision": s.revision(n), "data": list})
}

func client(t testing.TB, s *fakeServer, change func(c *ClientConfig)) *Client {
	c := ClientConfig{URL: s.URL}
	if change != nil {
		change(&c)
	}
	out, err := NewClient(c)
	require.NoError(t, err)
	return out
}

// plainGroups are groups of answers of the given lengths.
func plainGroups(groups ...[]int) (out []Group) {
	for i, lengths := range groups {
		g := Group{Prompt: data.Text{Plain: fmt.Sprint("p", i)}}
		for _, n := range lengths {
			g.Answers = append(g.Answers, strings.Repeat("x", n))
			g.Written = append(g.Written, "<s>"+strings.Repeat("x", n))
		}
		out = append(out, g)
	}
	return out
}

func TestRewardsComeBackInOrder(t *testing.T) {
	for _, c := range []struct {
		name     string
		dialect  Dialect
		size     int
		extra    float64 // of "<s>"
		requests int64
	}{
		{"native, a group a request", Native, 0, 0, 2},
		{"native, two answers a request", Native, 2, 0, 4},
		{"OpenRLHF, one text a request", OpenRLHF, 1, 3, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFakeServer(t)
			got, err := client(t, s, func(cc *ClientConfig) { cc.Dialect, cc.PerRequest = c.dialect, c.size }).
				Score(t.Context(), plainGroups([]int{1, 2, 3}, []int{4, 0, 6}))
			require.NoError(t, err)
			want := []Scored{
				{Rewards: []float64{1 + c.extra, 2 + c.extra, 3 + c.extra}, Revision: "sha256:aa"},
				{Rewards: []float64{4 + c.extra, c.extra, 6 + c.extra}, Revision: "sha256:aa"},
			}
			assert.Equal(t, want, got)
			assert.Equal(t, c.requests, s.requests.Load())
		})
	}
}

func TestAGroupScoredByTwoRevisionsIsScoredAgainInOneRequest(t *testing.T) {
	for _, dialect := range []Dialect{Native, OpenRLHF} {
		t.Run(string(dialect), func(t *testing.T) {
			s := newFakeServer(t)
			s.revision = func(n int64) string { return fmt.Sprint("sha256:", min(n, 3)) } // swapped twice
			c := client(t, s, func(c *ClientConfig) { c.Dialect, c.PerRequest, c.Connections = dialect, 1, 1 })
			got, err := c.Score(t.Context(), plainGroups([]int{1, 2, 3, 4}))
			require.NoError(t, err)
			assert.Equal(t, "sha256:3", got[0].Revision)
			assert.Equal(t, 1, got[0].Rescored)
			assert.EqualValues(t, 5, s.requests.Load(), "four, and one for all")
		})
	}
	s := newFakeServer(t)
	s.revision = func(n int64) string { return fmt.Sprint(n) }
	got, err := client(t, s, nil).Score(t.Context(), plainGroups([]int{1, 2}, []int{3}))
	require.NoError(t, err, "two groups may be scored by different revisions")
	assert.NotEqual(t, got[0].Revision, got[1].Revision)
}

func TestARestartedServerLosesNothing(t *testing.T) {
	whole := small(t)
	whole.Steps, whole.Batch, whole.Answers = 4, 3, 2
	s := newFakeServer(t)
	whole.Scorer = client(t, s, nil)
	_, err := Train(t.Context(), whole)
	require.NoError(t, err)
	quiet := s.requests.Load()

	s = newFakeServer(t)
	s.before = func(n int64, w http.ResponseWriter, _ *http.Request) bool {
		switch n {
		case 4, 5: // it drains and says so
			w.Header().Set("Retry-After", "0")
			http.Error(w, `{"error":{"type":"not_ready","message":"draining","param":null,"code":"draining"}}`, http.StatusServiceUnavailable)
		case 6, 7: // it is gone: connections break before and within the reply
			if n == 7 {
				w.Header().Set("Content-Length", "100")
				w.Write([]byte(`{"revision":`))
				w.(http.Flusher).Flush()
			}
			panic(http.ErrAbortHandler)
		case 8: // a proxy before it
			http.Error(w, "bad gateway", http.StatusBadGateway)
		default:
			return false
		}
		return true
	}
	c := whole
	c.Out = filepath.Join(t.TempDir(), "out")
	var mu sync.Mutex
	var said []string
	c.Scorer = client(t, s, func(c *ClientConfig) {
		c.Say = func(m string) { mu.Lock(); said = append(said, m); mu.Unlock() }
	})
	r, err := Train(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, contents(t, whole.Out), contents(t, c.Out), "the same bytes as without an interruption")
	assert.Equal(t, quiet+5, s.requests.Load())
	assert.Equal(t, 5, r.Times.Retries)
	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, said)
	assert.Contains(t, said[0], "trying again for up to 10m0s")
	assert.Contains(t, said[len(said)-1], "answered again after")
}

func TestWhatWillNotPassIsNotRepeated(t *testing.T) {
	for _, c := range []struct {
		name string
		body string
		code int
		want string
	}{
		{"an unknown model", `{"error":{"type":"unknown_model","message":"no such model","param":"model","code":"unknown_model"}}`, 404, "no such model"},
		{"a wrong key", `{}`, 401, "http 401"},
		{"rewards of something else", `{"revision":"r","rewards":[1,2,3],"data":[]}`, 200, "no reward of every answer"},
	} {
		for _, dialect := range []Dialect{Native, OpenRLHF} {
			t.Run(c.name+", "+string(dialect), func(t *testing.T) {
				s := newFakeServer(t)
				s.before = func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
					w.WriteHeader(c.code)
					io.WriteString(w, c.body)
					return true
				}
				_, err := client(t, s, func(cc *ClientConfig) { cc.Dialect = dialect }).Score(t.Context(), plainGroups([]int{1}))
				assert.ErrorContains(t, err, c.want)
				assert.EqualValues(t, 1, s.requests.Load())
			})
		}
	}
}

func TestAServerThatStaysAwayIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		c := &Client{config: ClientConfig{Timeout: time.Minute, Attempt: 10 * time.Second, Say: func(m string) { said = append(said, m) }}}
		begin, tries := time.Now(), 0
		retries, err := c.persist(t.Context(), func(ctx context.Context) error {
			if tries++; tries == 1 { // it accepts and never answers
				<-ctx.Done()
				assert.Equal(t, 10*time.Second, time.Since(begin))
				return ctx.Err()
			}
			return &api.Error{Status: http.StatusServiceUnavailable, Message: "later", RetryAfter: 5 * time.Second}
		})
		assert.ErrorContains(t, err, "no answer within 1m0s")
		assert.ErrorContains(t, err, "later")
		assert.Equal(t, tries-1, retries)
		assert.Greater(t, tries, 5, "half a minute of waits of 5 s and a little more")
		assert.LessOrEqual(t, time.Since(begin), time.Minute)
		assert.Len(t, said, 1, "it is said once")
	})
}

func TestACallerThatIsGoneEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{config: ClientConfig{Timeout: time.Hour, Attempt: time.Minute}}
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		begin := time.Now()
		_, err := c.persist(ctx, func(context.Context) error { return errors.New("refused") })
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 7*time.Second, time.Since(begin))
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newFakeServer(t)
	_, err := client(t, s, nil).Score(ctx, plainGroups([]int{1}))
	assert.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, s.requests.Load())
}

func TestRequestsSayWhatIsAsked(t *testing.T) {
	s := newFakeServer(t)
	g := plainGroups([]int{2})
	g[0].Prompt = data.Text{Messages: []chat.Message{chat.NewMessage("user", "hi")}}
	_, err := client(t, s, func(c *ClientConfig) { c.Model, c.Mode = "detox", "ens" }).Score(t.Context(), g)
	require.NoError(t, err)
	assert.Contains(t, s.bodies[0], `/v1/reward {"model":"detox","mode":"ens"`)
	assert.Contains(t, s.bodies[0], `"prompt":[{"role":"user","content":"hi"}]`)
	_, err = client(t, s, func(c *ClientConfig) { c.Model, c.Dialect = "detox", OpenRLHF }).Score(t.Context(), g)
	require.NoError(t, err)
	assert.Equal(t, `/get_reward?model=detox {"query":["<s>xx"]}`, s.bodies[1])
	for _, c := range []ClientConfig{{URL: "x"}, {URL: s.URL, Dialect: "grpc"}, {URL: s.URL, PerRequest: -1}} {
		_, err := NewClient(c)
		assert.Error(t, err)
	}
}
