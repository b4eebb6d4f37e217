package server_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/servertest"
)

// TestManySlowClientsHoldNobodyUp opens connections that send a byte of a head
// or of a body now and then, as slowloris does, beside clients that are quick.
func TestManySlowClientsHoldNobodyUp(t *testing.T) {
	const slow = 150
	url, _, _ := run(t, server.Config{HeaderTimeout: 300 * time.Millisecond, BodyTimeout: 300 * time.Millisecond}, servertest.New("m"))
	addr := strings.TrimPrefix(url, "http://")
	var clients sync.WaitGroup
	for i := range slow {
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer conn.Close()
		text := "POST /v1/reward HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("x", 10000)
		if i%2 == 1 {
			_, err := io.WriteString(conn, "POST /v1/reward HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
			require.NoError(t, err)
			text = strings.Repeat(" ", 100000)
		}
		clients.Go(func() {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, conn) // until the server hangs up
			}()
			for k := 0; ; k++ {
				select {
				case <-ended:
					return
				case <-time.After(50 * time.Millisecond):
				}
				if _, err := io.WriteString(conn, text[k:k+1]); err != nil {
					return
				}
			}
		})
	}
	began := time.Now()
	for range 20 {
		status, text, err := fetch(url+"/v1/reward", one)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status, text)
	}
	assert.Less(t, time.Since(began), 2*time.Second, "quick clients are served meanwhile")
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the server holds on to slow clients")
	}
}

// TestAClientThatDoesNotReadIsCutOff asks for far more than the sockets'
// buffers hold and reads none of it.
func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	url, _, _ := run(t, server.Config{WriteTimeout: 200 * time.Millisecond}, servertest.New("m"))
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	go func() {
		_, _ = io.WriteString(conn, strings.Repeat("GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n", 2000)) // until it is cut off
	}()
	connections := func() string {
		_, text, err := fetch(url+"/metrics", "")
		require.NoError(t, err)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "warm_connections ") {
				return strings.TrimSpace(line)
			}
		}
		return ""
	}
	assert.Equal(t, "warm_connections 2", connections())
	eventually(t, "the connection is closed", func() bool { return connections() == "warm_connections 1" })
}

func TestOtherOriginsAreGivenNothing(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	r := h.do(http.MethodOptions, "/v1/reward", "", "Origin", "https://example.test", "Access-Control-Request-Method", "POST")
	assert.Equal(t, http.StatusMethodNotAllowed, r.status)
	for name := range r.header {
		assert.NotContains(t, name, "Access-Control")
	}
	r = h.post(one, "Origin", "https://example.test")
	assert.Equal(t, http.StatusOK, r.status)
	assert.Empty(t, r.header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"))
}
