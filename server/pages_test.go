package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/console"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/servertest"
)

// browse asks for the root as a browser does. The document describes the probe there.
func browse(t *testing.T, url string) (int, http.Header, string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/", nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(body)
}

func TestABrowserIsAnsweredTheConsoleAndAProbeItsHealth(t *testing.T) {
	h := start(t, server.Config{Keys: []string{"a-key-of-clients"}}, servertest.New("m"))
	status, header, body := browse(t, h.url)
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, `<script type="module" src="/console/app.js">`)
	assert.Equal(t, console.Policy, header.Get("Content-Security-Policy"))
	assert.Contains(t, strings.Join(header.Values("Vary"), ", "), "Accept,")

	probe := h.get("/")
	assert.Equal(t, http.StatusOK, probe.status)
	assert.Empty(t, probe.body)

	assert.Equal(t, http.StatusOK, h.get("/docs").status)
	assert.Equal(t, http.StatusOK, h.get("/console/style.css").status)
	assert.Equal(t, http.StatusNotFound, h.get("/console/none.css").status)
	for _, path := range []string{"/v1/models", "/metrics", "/openapi.json"} {
		assert.Equal(t, http.StatusUnauthorized, h.get(path).status, "%s: the page's files are public, what it asks for is not", path)
	}
}

func TestAFileOfTheConsoleIsNotSentTwice(t *testing.T) {
	h := start(t, server.Config{})
	first := h.get("/console/app.js", "Accept-Encoding", "gzip")
	assert.Equal(t, "gzip", first.header.Get("Content-Encoding"))
	again := h.do(http.MethodGet, "/console/app.js", "", "Accept-Encoding", "gzip", "If-None-Match", first.header.Get("ETag"))
	assert.Equal(t, http.StatusNotModified, again.status)
	assert.Empty(t, again.body)
}

func TestTheConsoleCanBeLeftOut(t *testing.T) {
	h := start(t, server.Config{NoConsole: true}, servertest.New("m"))
	_, _, body := browse(t, h.url)
	assert.Empty(t, body, "the probe alone")
	for _, path := range []string{"/docs", "/console/app.js"} {
		assert.Equal(t, http.StatusNotFound, h.get(path).status, path)
	}
	assert.Equal(t, http.StatusOK, h.get("/openapi.json").status)
}

func TestTheDocumentIsThereAsJSON(t *testing.T) {
	h := start(t, server.Config{})
	var doc map[string]any
	require.NoError(t, json.Unmarshal(h.get("/openapi.json", "Accept-Encoding", "identity").body, &doc))
	assert.Len(t, doc["paths"], document().Paths.Len())
}

// The page's latencies are of the routes that answer rewards: it leaves the others out by name.
func TestThePageKnowsTheRoutesThatAnswerRewards(t *testing.T) {
	script, err := os.ReadFile("console/static/live.js")
	require.NoError(t, err)
	m := regexp.MustCompile(`const scores = route => !/(.+)/\.test`).FindSubmatch(script)
	require.NotNil(t, m)
	others := regexp.MustCompile(string(m[1]))
	scores := map[string]bool{"/v1/reward": true, "/v1/compare": true}
	for _, r := range dialect.Routes(dialect.Config{}) {
		scores[r.Path] = true
	}
	scores["/"] = false // a probe is there, too
	for path := range document().Paths.Map() {
		assert.Equal(t, scores[path], !others.MatchString(path), path)
	}
}
