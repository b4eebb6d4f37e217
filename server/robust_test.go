package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// blocked returns a model whose scorer waits in entered until open is closed.
func blocked(t *testing.T, name string) (m *servertest.Model, entered, open chan struct{}) {
	m = servertest.New(name)
	entered, open = make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.Fakes["wa"].Before = func([]batch.Sequence) error {
		once.Do(func() { close(entered) })
		select {
		case <-open:
		case <-t.Context().Done(): // the test is over, and has failed
		}
		return nil
	}
	return m, entered, open
}

const one = `{"inputs":[{"text":"x"}]}`

// async posts from another goroutine.
func (h *harness) async(body string, header ...string) <-chan *reply {
	out := make(chan *reply, 1)
	go func() { out <- h.post(body, header...) }()
	return out
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 5*time.Second, time.Millisecond, what)
}

func TestARequestWhoseTimeIsUpAnswers503(t *testing.T) {
	m, entered, open := blocked(t, "m")
	defer close(open)
	h := start(t, server.Config{Timeout: 50 * time.Millisecond}, m)
	first := h.async(one, "X-Request-Timeout", "0.08")
	<-entered
	r := h.post(one)
	assert.Equal(t, http.StatusServiceUnavailable, r.status)
	assert.Equal(t, "deadline_exceeded", r.error(t).Error.Code)
	assert.Contains(t, []string{"1", "2", "3"}, r.header.Get("Retry-After"))
	assert.Equal(t, "deadline_exceeded", (<-first).error(t).Error.Code, "also while it is being computed")
}

func TestATimeoutIsBoundedByTheServer(t *testing.T) {
	m, _, open := blocked(t, "m")
	defer close(open)
	h := start(t, server.Config{Timeout: time.Millisecond, MaxTimeout: 30 * time.Millisecond}, m)
	began := time.Now()
	assert.Equal(t, "deadline_exceeded", h.post(one, "X-Request-Timeout", "3600").error(t).Error.Code)
	assert.Less(t, time.Since(began), 10*time.Second)
}

func TestAFullQueueAnswers503WithRetryAfter(t *testing.T) {
	m, entered, open := blocked(t, "m")
	h := start(t, server.Config{Queue: batch.Config{MaxQueuedTokens: 10}}, m)
	first := h.async(one)
	<-entered
	second := h.async(`{"inputs":[{"text":"0123456789"}]}`)
	eventually(t, "the second waits", func() bool { return strings.Contains(string(h.get("/metrics").body), "warm_queue_tokens 10") })
	r := h.post(one)
	assert.Equal(t, http.StatusServiceUnavailable, r.status)
	assert.Equal(t, "overloaded", r.error(t).Error.Code)
	assert.Contains(t, []string{"1", "2", "3"}, r.header.Get("Retry-After"))
	close(open)
	(<-first).rewards(t)
	(<-second).rewards(t)
	h.post(one).rewards(t)
}

func TestAClientThatHangsUpIsDroppedFromTheQueue(t *testing.T) {
	m, entered, open := blocked(t, "m")
	h := start(t, server.Config{}, m)
	first := h.async(one)
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/v1/reward", strings.NewReader(`{"inputs":[{"text":"gone"}]}`))
	require.NoError(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(req)
		failed <- err
	}()
	eventually(t, "the second waits", func() bool { return strings.Contains(string(h.get("/metrics").body), "warm_queue_tokens 4") })
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	eventually(t, "its tokens are free", func() bool { return strings.Contains(string(h.get("/metrics").body), "warm_queue_tokens 0") })
	close(open)
	(<-first).rewards(t)
	for _, lengths := range m.Fakes["wa"].Calls() {
		assert.Equal(t, []int{1}, lengths, "only the first was computed")
	}
	eventually(t, "the log has it", func() bool { return strings.Contains(h.log.String(), `"status":499`) })
}

// TestASlowBodyTimesOutAndASlowQueueDoesNot holds the reason for having no
// http.Server.ReadTimeout: it would end the context of whoever waits.
func TestASlowBodyTimesOutAndASlowQueueDoesNot(t *testing.T) {
	m, entered, open := blocked(t, "m")
	h := start(t, server.Config{BodyTimeout: 60 * time.Millisecond}, m)
	waiting := h.async(one)
	<-entered

	for kind, code := range map[string]string{"application/json": "request_timeout", "text/plain": "unsupported_media_type"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = io.WriteString(conn, "POST /v1/reward HTTP/1.1\r\nHost: x\r\nContent-Type: "+kind+"\r\nContent-Length: 100\r\n\r\n{\"inp")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		r := &reply{resp.StatusCode, resp.Header, body}
		checkDocumented(t, http.MethodPost, "/v1/reward", r)
		assert.Equal(t, code, r.error(t).Error.Code)
	}

	// The first request has by now waited longer than a body may take.
	close(open)
	(<-waiting).rewards(t)
}

func TestAPanicIsContainedToItsRequest(t *testing.T) {
	const secret = "the prompt that nobody may read"
	m := servertest.New("m")
	m.BeforePrepare = func(in *api.Input) error {
		if in.Text != nil && *in.Text == secret {
			panic("template blew up on: " + *in.Text)
		}
		return nil
	}
	m.Fakes["wa"].Before = func(seqs []batch.Sequence) error {
		for _, s := range seqs {
			if s.IDs[0] == 13 {
				_ = s.IDs[len(s.IDs)]
			}
		}
		return nil
	}
	h := start(t, server.Config{}, m)
	for name, body := range map[string]string{"in a handler": `{"inputs":[{"text":"` + secret + `"}]}`, "in a scorer": `{"inputs":[{"input_ids":[13]}]}`} {
		t.Run(name, func(t *testing.T) {
			r := h.post(body, "X-Request-Id", "req-1")
			assert.Equal(t, http.StatusInternalServerError, r.status)
			e := r.error(t)
			assert.Equal(t, "internal", e.Error.Code)
			assert.NotContains(t, string(r.body), secret)
			assert.NotContains(t, string(r.body), "index out of range")
			h.post(one).rewards(t)
		})
	}
	log := h.log.String()
	assert.NotContains(t, log, secret)
	assert.Contains(t, log, "robust_test.go", "the stack")
	assert.Contains(t, log, "index out of range", "the runtime's own words")
	assert.Contains(t, log, `"id":"req-1"`)
	assert.Contains(t, string(h.get("/metrics").body), "warm_panics_total 2")
	assert.Equal(t, "m", h.post(one).rewards(t).Model)
	drained, err := h.models.Swap(servertest.New("m"))
	require.NoError(t, err)
	select {
	case <-drained:
	case <-time.After(5 * time.Second):
		t.Fatal("a panic kept hold of its model")
	}
}

func TestAModelsFaultIsInternalAndNotShown(t *testing.T) {
	for name, spoil := range map[string]func(*servertest.Model){
		"an error of Prepare": func(m *servertest.Model) {
			m.BeforePrepare = func(*api.Input) error { return errors.New("tokenizer: out of merges") }
		},
		"an error of the scorer": func(m *servertest.Model) {
			m.Fakes["wa"].Before = func([]batch.Sequence) error { return errors.New("kernel: out of merges") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := servertest.New("m")
			spoil(m)
			h := start(t, server.Config{}, m)
			r := h.post(one)
			assert.Equal(t, http.StatusInternalServerError, r.status)
			assert.NotContains(t, string(r.body), "merges")
			assert.Contains(t, h.log.String(), r.header.Get("X-Request-Id"))
		})
	}
}

func TestKeys(t *testing.T) {
	h := start(t, server.Config{Keys: []string{"first-key", "second-key"}}, servertest.New("m"))
	for _, path := range []string{"/v1/models", "/v1/models/m", "/metrics", "/openapi.yaml", "/nowhere", "/livez/x"} {
		t.Run(path+" asks for a key", func(t *testing.T) {
			r := h.get(path)
			assert.Equal(t, http.StatusUnauthorized, r.status)
			assert.Equal(t, "unauthorized", r.error(t).Error.Code)
		})
	}
	for name, header := range map[string]string{
		"none": "", "a wrong one": "Bearer first-keyx", "a prefix": "Bearer first-ke", "no scheme": "first-key", "another scheme": "Basic first-key", "an empty one": "Bearer ",
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			r := h.post(one, "Authorization", header)
			assert.Equal(t, http.StatusUnauthorized, r.status)
			assert.Equal(t, "Bearer", r.header.Get("WWW-Authenticate"))
		})
	}
	for _, header := range []string{"Bearer first-key", "bearer second-key"} {
		t.Run(header+" is let in", func(t *testing.T) { h.post(one, "Authorization", header).rewards(t) })
	}
	assert.Equal(t, http.StatusOK, h.get("/livez").status)
	assert.Equal(t, http.StatusOK, h.get("/readyz").status)
	assert.NotContains(t, h.log.String(), "first-key")
	assert.NotContains(t, h.log.String(), "second-key")
}

func TestRequestIDs(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	assert.Equal(t, "run-7_a.b", h.get("/livez", "X-Request-Id", "run-7_a.b").header.Get("X-Request-Id"))
	assert.Equal(t, "rwd-run-7", h.post(one, "X-Request-Id", "run-7").rewards(t).ID)
	seen := map[string]bool{}
	for _, bad := range []string{"", "a b", `"quoted"`, "ünïcode", strings.Repeat("x", 129)} {
		id := h.get("/livez", "X-Request-Id", bad).header.Get("X-Request-Id")
		assert.NotEqual(t, bad, id)
		assert.Len(t, id, 24)
		assert.False(t, seen[id], "ids are new each time")
		seen[id] = true
	}
}

func TestNothingThatAClientWroteReachesTheLogOrTheMetrics(t *testing.T) {
	const secret = "s3cret"
	h := start(t, server.Config{}, servertest.New("m"))
	h.post(`{"inputs":[{"prompt":"`+secret+`","response":"`+secret+`"}]}`, "X-Request-Id", "<"+secret+">").rewards(t)
	h.post(`{"inputs":[{"text":"x"}],"` + secret + `":1}`)
	h.post(`{"model":"` + secret + `","inputs":[{"text":"x"}]}`)
	h.post(`{"mode":"member:` + secret + `","inputs":[{"text":"x"}]}`)
	h.post(`{"inputs":[{"text":"x"}]}`+secret, "Content-Encoding", "gzip")
	h.get("/" + secret)
	h.get("/v1/models/" + secret)
	h.get("/livez?key=" + secret)
	h.do("S3CRET", "/v1/reward", "")
	h.get("/livez", "Authorization", "Bearer "+secret)
	log, metrics := h.log.String(), string(h.get("/metrics").body)
	assert.NotContains(t, strings.ToLower(log), secret)
	assert.NotContains(t, strings.ToLower(metrics), secret)
	assert.GreaterOrEqual(t, strings.Count(log, `"msg":"request"`), 10, "there is one record for each request")
}

func TestMetricsCountWhatHappened(t *testing.T) {
	h := start(t, server.Config{Version: "1.2.3"}, servertest.New("m"))
	h.post(`{"mode":"both","inputs":[{"prompt":"` + strings.Repeat("p", 100) + `","responses":["a","b"]},{"input_ids":[1]}]}`).rewards(t)
	h.post(`{"inputs":[]}`)
	h.get("/nowhere")
	body := string(h.get("/metrics").body)
	for _, line := range []string{
		`warm_requests_total{route="/v1/reward",status="200"} 1`,
		`warm_requests_total{route="/v1/reward",status="400"} 1`,
		`warm_requests_total{route="unmatched",status="404"} 1`,
		`warm_errors_total{code="empty_input"} 1`,
		`warm_request_seconds_count{route="/v1/reward"} 2`,
		`warm_tokenize_seconds_count 1`, `warm_queue_seconds_count 1`, `warm_compute_seconds_count 1`,
		`warm_batch_tokens_count 3`, `warm_batch_sequences_sum 9`,
		`warm_batch_seconds_count{lane="m/member:two"} 1`,
		`warm_queue_tokens 0`, `warm_queue_sequences 0`, `warm_queue_oldest_seconds 0`,
		`warm_sequences_total{model="m"} 3`, `warm_tokens_total{model="m"} 129`, `warm_truncated_total{model="m"} 2`,
		`warm_reward_count{mode="both",model="m",revision="sha256:m"} 3`, `warm_reward_std_count{model="m",revision="sha256:m"} 3`, `warm_reward_gap_count{model="m",revision="sha256:m"} 3`,
		`warm_answer_tokens_count{model="m",revision="sha256:m"} 3`, `warm_answer_tokens_sum{model="m",revision="sha256:m"} 129`,
		`warm_model_info{architecture="FakeForSequenceClassification",mode="wa",model="m",revision="sha256:m"} 1`,
		`version="1.2.3"`, `warm_panics_total 0`, `go_goroutines`, `process_open_fds`,
	} {
		assert.Contains(t, body, line)
	}
}

func TestReadiness(t *testing.T) {
	h := start(t, server.Config{})
	assert.Equal(t, http.StatusOK, h.get("/livez").status)
	r := h.get("/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, r.status)
	assert.Equal(t, "not_ready", r.error(t).Error.Code)
	assert.Equal(t, "not_ready", h.post(one).error(t).Error.Code)
	_, err := h.models.Swap(servertest.New("m"))
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, h.get("/readyz").status)
	h.server.Close()
	assert.Equal(t, "draining", h.get("/readyz").error(t).Error.Code)
	assert.Equal(t, "draining", h.post(one).error(t).Error.Code)
}

// TestConcurrentClientsGetTheRewardsOfALoneOne sends what RL clients do: one
// sample a request, a new connection each.
func TestConcurrentClientsGetTheRewardsOfALoneOne(t *testing.T) {
	m := servertest.New("m")
	h := start(t, server.Config{Queue: batch.Config{MaxBatchTokens: 64}}, m)
	var clients sync.WaitGroup
	for c := range 32 {
		clients.Go(func() {
			for i := range 10 {
				text := fmt.Sprintf("%d and %d", c, i)
				got := h.post(`{"inputs":[{"text":"`+text+`"}]}`, "Connection", "close").rewards(t)
				ids := servertest.Encode(text, true)
				assert.Equal(t, m.Fakes["wa"].Want(batch.Sequence{IDs: ids, Read: []int32{int32(len(ids) - 1)}}), got.Data[0].Reward)
			}
		})
	}
	clients.Wait()
}

func TestConfigReportsEveryProblem(t *testing.T) {
	_, err := server.New(server.Config{Keys: []string{"long-enough", "short", "white space"}, MaxBodyBytes: -1, Timeout: time.Hour, Queue: batch.Config{MaxWait: -1}}, live.NewModels())
	for _, part := range []string{"MaxBodyBytes is -1", "key 2", "key 3", "Timeout 1h0m0s is over MaxTimeout 10m0s", "MaxWait"} {
		assert.ErrorContains(t, err, part)
	}
	assert.NotContains(t, err.Error(), "short")
	assert.NotContains(t, err.Error(), "white space")
}
