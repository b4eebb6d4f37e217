package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// run starts Run on a socket of its own and returns the server's address, what
// stops it, and what Run came to.
func run(t *testing.T, cfg server.Config, m live.Model) (url string, stop context.CancelFunc, done <-chan error) {
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	models := live.NewModels()
	_, err := models.Swap(m)
	require.NoError(t, err)
	s, err := server.New(cfg, models)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	out := make(chan error, 1)
	go func() { out <- s.Run(ctx, ln) }()
	t.Cleanup(stop)
	return "http://" + ln.Addr().String(), stop, out
}

// fetch posts or gets on a connection of its own.
func fetch(url, body string) (status int, text string, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var resp *http.Response
	if body == "" {
		resp, err = client.Get(url)
	} else {
		resp, err = client.Post(url, "application/json", strings.NewReader(body))
	}
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

type answer struct {
	status int
	text   string
	err    error
}

func fetchAsync(url, body string) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		status, text, err := fetch(url, body)
		out <- answer{status, text, err}
	}()
	return out
}

func TestRunDrainsWhatIsInFlight(t *testing.T) {
	m, entered, open := blocked(t, "m")
	url, stop, done := run(t, server.Config{DrainDelay: 300 * time.Millisecond}, m)
	computing := fetchAsync(url+"/v1/reward", one)
	<-entered
	queued := fetchAsync(url+"/v1/reward", one)
	eventually(t, "the second waits", func() bool {
		_, text, err := fetch(url+"/metrics", "")
		return err == nil && strings.Contains(text, "warm_queue_tokens 1")
	})
	stop()
	eventually(t, "readyz turns first, while requests are still taken", func() bool {
		status, text, err := fetch(url+"/readyz", "")
		return err == nil && status == http.StatusServiceUnavailable && strings.Contains(text, "draining")
	})
	late := fetchAsync(url+"/v1/reward", one)
	eventually(t, "the listener closes", func() bool {
		_, _, err := fetch(url+"/livez", "")
		return err != nil
	})
	select {
	case err := <-done:
		t.Fatalf("Run returned %v while requests were in flight", err)
	default:
	}
	close(open)
	for name, a := range map[string]answer{"computing": <-computing, "queued": <-queued, "late": <-late} {
		require.NoError(t, a.err, name)
		assert.Equal(t, http.StatusOK, a.status, "%s: %s", name, a.text)
	}
	assert.NoError(t, <-done)
}

func TestADrainThatRunsOutOfTimeStillAnswers(t *testing.T) {
	m, entered, open := blocked(t, "m")
	url, stop, done := run(t, server.Config{DrainTimeout: 50 * time.Millisecond}, m)
	waiting := fetchAsync(url+"/v1/reward", one)
	<-entered
	stop()
	a := <-waiting
	require.NoError(t, a.err)
	assert.Equal(t, http.StatusServiceUnavailable, a.status)
	assert.Contains(t, a.text, "draining")
	assert.ErrorIs(t, <-done, context.DeadlineExceeded)
	close(open)
}

func TestRunReturnsTheListenersError(t *testing.T) {
	s, err := server.New(server.Config{}, live.NewModels())
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	assert.ErrorIs(t, s.Run(t.Context(), ln), net.ErrClosed)
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	url, _, _ := run(t, server.Config{MaxConnections: 1}, servertest.New("m"))
	first, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	_, err = io.WriteString(first, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	_, err = first.Read(make([]byte, 1))
	require.NoError(t, err)
	second := fetchAsync(url+"/livez", "")
	select {
	case <-second:
		t.Fatal("a second connection was served beside the first")
	case <-time.After(50 * time.Millisecond):
	}
	require.NoError(t, first.Close())
	a := <-second
	require.NoError(t, a.err)
	assert.Equal(t, http.StatusOK, a.status)
}

func TestAHeadTooLargeOrTooSlowIsCutOff(t *testing.T) {
	url, _, _ := run(t, server.Config{MaxHeaderBytes: 4096, HeaderTimeout: 50 * time.Millisecond}, servertest.New("m"))
	for name, head := range map[string]string{
		"too large": "GET /livez HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 32<<10) + "\r\n\r\n",
		"too slow":  "GET /livez HTTP/1.1\r\nHost: x\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, head)
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
			data, err := io.ReadAll(conn)
			if err == nil {
				assert.NotContains(t, string(data), "200 OK")
			} else {
				assert.NotContains(t, err.Error(), "timeout", "the server closes the connection")
			}
		})
	}
	status, _, err := fetch(url+"/livez", "")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
}
