package server_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// benchServer is a server whose model costs almost nothing: what is measured
// is everything else.
func benchServer(b *testing.B) *server.Server {
	models := live.NewModels()
	_, err := models.Swap(servertest.New("m", func(i *live.Info) { i.ContextLength = 4096 }))
	require.NoError(b, err)
	s, err := server.New(server.Config{Logger: slog.New(slog.DiscardHandler)}, models)
	require.NoError(b, err)
	b.Cleanup(s.Close)
	return s
}

var benchBody = []byte(`{"inputs":[{"prompt":"` + strings.Repeat("words ", 50) + `","response":"` + strings.Repeat("more ", 40) + `"}]}`)

// BenchmarkHandler is one request of one answer, without a socket.
func BenchmarkHandler(b *testing.B) {
	s := benchServer(b)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/v1/reward", bytes.NewReader(benchBody))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body.String())
		}
	}
}

// BenchmarkConnections is 256 clients on sockets, as RL stacks are: with
// connections that are kept, and with a new one for each request. The clients
// and the server share the machine.
func BenchmarkConnections(b *testing.B) {
	for name, disable := range map[string]bool{"kept": false, "new each time": true} {
		b.Run(name, func(b *testing.B) {
			hs := httptest.NewServer(benchServer(b).Handler())
			defer hs.Close()
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: disable, MaxIdleConnsPerHost: 256}}
			b.SetParallelism(256 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := client.Post(hs.URL+"/v1/reward", "application/json", bytes.NewReader(benchBody))
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
			client.CloseIdleConnections()
		})
	}
}
