package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/servertest"
)

// lines returns the records of a log, with the requests' only.
func requestLines(t *testing.T, log *logBuffer) (out []map[string]any) {
	for line := range strings.Lines(log.String()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		if m["msg"] == "request" {
			out = append(out, m)
		}
	}
	return out
}

func TestProbesAndScrapesAreBelowInfoAndALoadingServerIsNoError(t *testing.T) {
	h := start(t, server.Config{})
	probes := []string{"/livez", "/readyz", "/health", "/ping", "/", "/v2/health/live", "/v2/health/ready", "/metrics"}
	for _, path := range probes {
		h.get(path)
	}
	for _, m := range requestLines(t, h.log) {
		assert.Equal(t, "DEBUG", m["level"], "%v of a loading server", m["route"])
	}
	assert.Len(t, requestLines(t, h.log), len(probes))
	assert.Equal(t, http.StatusServiceUnavailable, h.post(`{"inputs":[{"text":"x"}]}`).status)
	lines := requestLines(t, h.log)
	assert.Equal(t, "WARN", lines[len(lines)-1]["level"], "a request that came too early is no fault")
	_, err := h.models.Swap(servertest.New("m"))
	require.NoError(t, err)
	h.post(`{"inputs":[{"text":"x"}]}`).rewards(t)
	for _, path := range probes {
		h.get(path)
	}
	for i, m := range requestLines(t, h.log)[len(lines):] {
		want := "DEBUG"
		if i == 0 {
			want = "INFO"
		}
		assert.Equal(t, want, m["level"], "%v", m["route"])
	}
	h = start(t, server.Config{Keys: []string{"a-key-of-users"}})
	h.get("/metrics")
	assert.Equal(t, "WARN", requestLines(t, h.log)[0]["level"], "a scrape without the key is worth a line")
}

func TestTimesInTheLogAreSeconds(t *testing.T) {
	m := servertest.New("m")
	m.Fakes["wa"].PerToken = time.Millisecond
	h := start(t, server.Config{}, m)
	h.post(`{"inputs":[{"text":"` + strings.Repeat("x", 50) + `"}]}`).rewards(t)
	line := requestLines(t, h.log)[0]
	for _, name := range []string{"seconds", "tokenize_seconds", "queue_seconds", "compute_seconds"} {
		v, ok := line[name].(float64)
		assert.True(t, ok, "%s: %v", name, line)
		assert.Less(t, v, 30.0, name)
	}
	assert.GreaterOrEqual(t, line["compute_seconds"], 0.05)
	assert.GreaterOrEqual(t, line["seconds"], 0.05)
}
