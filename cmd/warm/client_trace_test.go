package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asksWithin asks for a reward in a span by each Python client: OpenTelemetry's own
// package keeps spans in a context variable, as this one in its place does.
const asksWithin = `
import asyncio, os
import opentelemetry.propagate as otel
import openrlhf_reward, trl_reward, verl_reward
otel.span.set("00-" + "1" * 32 + "-" + "1" * 16 + "-01")
openrlhf_reward.reward_func(["a b"], ["a "], [""])
otel.span.set("00-" + "2" * 32 + "-" + "2" * 16 + "-01")
asyncio.run(verl_reward.compute_score("", "b", "", {"prompt": "a "}))
otel.span.set("00-" + "3" * 32 + "-" + "3" * 16 + "-01")
asyncio.run(trl_reward.WarmReward(os.environ["WARM_URL"])(["a "], ["b"]))
otel.span.set("")
openrlhf_reward.reward_func(["a b"], ["a "], [""])
`

func TestPythonClientsPassTheirTraceOn(t *testing.T) {
	s := startServe(t)
	to, err := url.Parse(s.url)
	require.NoError(t, err)
	var mu sync.Mutex
	var got []string
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, r.Header.Get("traceparent"))
		mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	packages := t.TempDir()
	put(t, packages, "opentelemetry/__init__.py", "")
	put(t, packages, "opentelemetry/propagate.py", `
import contextvars
span = contextvars.ContextVar("span", default="")
def inject(carrier):
    if span.get():
        carrier["traceparent"] = span.get()
`)
	cmd := python(t, "-c", asksWithin)
	cmd.Env = append(cmd.Env, "PYTHONPATH="+packages+":"+clientFiles(t), "WARM_URL="+front.URL)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	span := func(d string) string { return "00-" + strings.Repeat(d, 32) + "-" + strings.Repeat(d, 16) + "-01" }
	assert.Equal(t, []string{span("1"), span("2"), span("3"), ""}, got)
}
