package api_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// serve answers every request with h and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc, opts ...api.Option) (*api.Client, *httptest.Server) {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := api.NewClient(s.URL+"/", opts...)
	require.NoError(t, err)
	return c, s
}

func TestClientSendsARequestAndReadsTheReply(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "POST /v1/reward", r.Method+" "+r.URL.Path)
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		assert.Equal(t, "Bearer the-key", r.Header.Get("Authorization"))
		assert.Empty(t, r.Header.Get("X-Request-Timeout"))
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.JSONEq(t, `{"inputs":[{"prompt":"q","responses":["a","b"]}]}`, string(body))
		io.WriteString(w, `{"id":"rwd-1","object":"reward.list","data":[{"index":0,"reward":0.1},{"index":1,"reward":-2}],"a_field_of_tomorrow":1}`)
	}, api.WithKey("the-key"))
	got, err := c.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Answers("q", "a", "b")}})
	require.NoError(t, err)
	assert.Equal(t, []api.Reward{{Reward: 0.1}, {Index: 1, Reward: -2}}, got.Data)
}

func TestClientReturnsTypedErrors(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		header string
		body   string
		want   api.Error
		text   string
	}{
		"of the server's shape": {503, "3", string(api.EncodeError(api.Errorf(api.CodeOverloaded, "", "full"))),
			api.Error{Type: "overloaded", Code: "overloaded", Message: "full", Status: 503, RetryAfter: 3 * time.Second}, "overloaded: full"},
		"with a place": {400, "", string(api.EncodeError(api.Errorf(api.CodeInvalidValue, "inputs[0]", "bad"))),
			api.Error{Type: "invalid_request", Code: "invalid_value", Message: "bad", Param: "inputs[0]", Status: 400}, "invalid_value: inputs[0]: bad"},
		"of a proxy": {502, "", "<html>", api.Error{Message: "502 Bad Gateway", Status: 502}, "http 502: 502 Bad Gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", test.header)
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			_, err := c.Models(t.Context())
			e, ok := err.(*api.Error)
			require.True(t, ok, "%T: %v", err, err)
			assert.Equal(t, test.want, *e)
			assert.EqualError(t, err, test.text)
		})
	}
}

func TestClientTellsTheServerItsDeadlineAndHonoursIt(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Regexp(t, `^0\.0[0-9]{2}$`, r.Header.Get("X-Request-Timeout"))
		io.Copy(io.Discard, r.Body) // the server sees that a client is gone only once the body is read
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Reward(ctx, &api.RewardRequest{})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestClientUsesItsConnectionsAgain(t *testing.T) {
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write(api.EncodeError(api.Errorf(api.CodeNotReady, "", "not yet")))
			return
		}
		io.WriteString(w, `{"object":"list"}`)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c, err := api.NewClient(s.URL)
	require.NoError(t, err)
	for range 10 {
		_, err := c.Models(t.Context())
		require.NoError(t, err)
		assert.True(t, api.IsCode(c.Ready(t.Context()), api.CodeNotReady))
	}
	assert.EqualValues(t, 1, connections.Load())
}

func TestClientEscapesAModelsName(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/v1/models/a%2Fb%3F", r.URL.EscapedPath())
		io.WriteString(w, `{"id":"a/b?"}`)
	})
	m, err := c.Model(t.Context(), "a/b?")
	require.NoError(t, err)
	assert.Equal(t, "a/b?", m.ID)
}

func TestNewClientRefusesWhatIsNoAddress(t *testing.T) {
	for _, bad := range []string{"", "localhost:8000", "ftp://x", "http://", "http://u:secret@", "://"} {
		_, err := api.NewClient(bad)
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), "secret")
	}
}
