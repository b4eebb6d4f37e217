package console_test

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/console"
)

func serve(t *testing.T, path string, headers ...string) *http.Response {
	f, ok := console.Find(path)
	require.True(t, ok, path)
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w.Result()
}

func TestAFileIsSentPackedOrNotAtAll(t *testing.T) {
	plain := serve(t, "/console/app.js")
	body, err := io.ReadAll(plain.Body)
	require.NoError(t, err)
	want, err := os.ReadFile("static/app.js")
	require.NoError(t, err)
	assert.Equal(t, string(want), string(body))
	assert.Equal(t, "text/javascript; charset=utf-8", plain.Header.Get("Content-Type"))
	assert.Equal(t, console.Policy, plain.Header.Get("Content-Security-Policy"))
	assert.Equal(t, "nosniff", plain.Header.Get("X-Content-Type-Options"))

	packed := serve(t, "/console/app.js", "Accept-Encoding", "br, gzip")
	assert.Equal(t, "gzip", packed.Header.Get("Content-Encoding"))
	assert.Less(t, packed.ContentLength, plain.ContentLength)

	known := serve(t, "/console/app.js", "If-None-Match", plain.Header.Get("ETag"))
	assert.Equal(t, http.StatusNotModified, known.StatusCode)
	assert.Equal(t, http.StatusOK, serve(t, "/console/app.js", "If-None-Match", `"another"`).StatusCode)
}

func TestNothingElseIsAFile(t *testing.T) {
	for _, path := range []string{"/console/", "/console/../console.go", "/console/static/app.js", "/console/nothing.js", "/index.html", "/doc"} {
		_, ok := console.Find(path)
		assert.False(t, ok, path)
	}
}

func static(t *testing.T) map[string]string {
	out := map[string]string{}
	dir := os.DirFS("static")
	names, err := fs.Glob(dir, "*")
	require.NoError(t, err)
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		require.NoError(t, err)
		out[name] = string(data)
	}
	return out
}

func TestThePageIsSmall(t *testing.T) {
	size := 0
	for name, text := range static(t) {
		size += len(text)
		_, ok := console.Find("/console/" + name)
		assert.True(t, ok, "%s is not served", name)
	}
	assert.Less(t, size, 150_000, "bytes of the page in all, before they are packed")
}

// What the policy forbids would fail in the browser alone, so it is found here.
func TestThePageHasNothingInlineAndNothingFromElsewhere(t *testing.T) {
	for name, text := range static(t) {
		switch {
		case strings.HasSuffix(name, ".html"):
			assert.NotRegexp(t, `(?i)\sstyle=|\son\w+=|<style|javascript:`, text, name)
			assert.NotRegexp(t, `<script(?:[^>]*)>[^<]`, text, name)
		case strings.HasSuffix(name, ".js"):
			assert.NotRegexp(t, `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser`, text, "%s: text must only become text", name)
			for _, m := range regexp.MustCompile(`(?:import\(|from )'([^']+)'`).FindAllStringSubmatch(text, -1) {
				_, ok := console.Find("/console/" + strings.TrimPrefix(m[1], "./"))
				assert.True(t, ok, "%s imports %s", name, m[1])
			}
		}
		for _, url := range regexp.MustCompile(`https?://[^'"\s)]+`).FindAllString(text, -1) {
			assert.Equal(t, "http://www.w3.org/2000/svg", url, name)
		}
	}
}

func TestTheDocumentAsJSONSaysTheSame(t *testing.T) {
	data, err := console.JSON(api.OpenAPI())
	require.NoError(t, err)
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	require.NoError(t, json.Unmarshal(data, &doc))
	assert.Equal(t, "3.0.3", doc.OpenAPI)
	assert.Contains(t, doc.Paths, "/v1/reward")
	assert.Less(t, strings.Index(string(data), `"/v1/reward":`), strings.Index(string(data), `"/v1/compare":`), "in their order")

	_, err = console.JSON("a: [")
	assert.ErrorContains(t, err, "console:")
}
