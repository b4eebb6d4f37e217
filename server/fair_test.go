package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/servertest"
)

// TestALargeRequestDelaysASmallOneByABatch sends one answer while a request of
// 1,024 is computed, which takes a second or more.
func TestALargeRequestDelaysASmallOneByABatch(t *testing.T) {
	m := servertest.New("m")
	started := make(chan struct{}, 1024)
	m.Fakes["wa"].Before = func(seqs []batch.Sequence) error {
		time.Sleep(time.Duration(len(seqs)) * time.Millisecond)
		started <- struct{}{}
		return nil
	}
	h := start(t, server.Config{Queue: batch.Config{MaxBatchSequences: 32}}, m)
	large := make(chan *reply, 1)
	go func() {
		large <- h.post(`{"inputs":[{"prompt":"Why?","responses":["a"` + strings.Repeat(`,"b"`, 1023) + `]}]}`)
	}()
	<-started
	asked := time.Now()
	assert.Equal(t, 200, h.post(`{"inputs":[{"prompt":"How?","response":"So."}]}`).status)
	waited := time.Since(asked)
	select {
	case <-large:
		t.Fatal("the large request was answered first")
	default:
	}
	assert.Less(t, waited, 500*time.Millisecond, "a batch that is under way and one's own take 64 ms")
	assert.Equal(t, 200, (<-large).status)
}

func TestAClientIsItsKeyOrItsAddress(t *testing.T) {
	h := start(t, server.Config{Keys: []string{"key-number-1", "key-number-2"}, AdminKeys: []string{"admin-number-1"}}, servertest.New("m"))
	for name, c := range map[string]struct{ header, remote, want string }{
		"a key":              {"Bearer key-number-2", "10.0.0.1:1234", "key 2"},
		"an administrator":   {"Bearer admin-number-1", "10.0.0.1:1234", "administrator 1"},
		"no key":             {"", "10.0.0.1:1234", "10.0.0.1"},
		"a wrong key":        {"Bearer key-number-3", "[::1]:1234", "::1"},
		"an address without": {"", "@", "@"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/v1/reward", nil)
			r.RemoteAddr = c.remote
			if c.header != "" {
				r.Header.Set("Authorization", c.header)
			}
			require.Equal(t, c.want, server.ClientOf(h.server, r))
		})
	}
}
