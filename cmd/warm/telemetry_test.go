package main

import (
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/telemetry"
	"github.com/warmserve/warmserve/cmd/warm/telemetry/otlptest"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/rl"
)

// exporting starts a server of the embedded model that exports to r.
func exporting(t *testing.T, r *otlptest.Receiver) *instance {
	file := filepath.Join(t.TempDir(), "serve.yaml")
	put(t, filepath.Dir(file), "serve.yaml", "threads: 1\ntelemetry: {endpoint: "+r.URL+", service: rewards}\nmodels: {m: {members: ['embedded:']}}\n")
	return startServe(t, "--config", file)
}

// below returns the names of the spans whose parent is id, sorted.
func below(spans []otlptest.Span, id string) []string {
	var out []string
	for _, s := range spans {
		if s.Parent() == id {
			out = append(out, s.Name)
		}
	}
	slices.Sort(out)
	return out
}

func spanOf(t *testing.T, spans []otlptest.Span, name string) otlptest.Span {
	t.Helper()
	at := slices.IndexFunc(spans, func(s otlptest.Span) bool { return s.Name == name })
	require.GreaterOrEqual(t, at, 0, "there is a span %q", name)
	return spans[at]
}

func TestServingIsTracedFromItsCallersToItsLog(t *testing.T) {
	r := otlptest.New(t)
	s := exporting(t, r)
	caller, err := telemetry.Start(t.Context(), telemetry.Options{Config: telemetry.Config{Endpoint: r.URL, Service: "trainer"}, Getenv: noEnv})
	require.NoError(t, err)
	e := exported{caller}
	client, err := rl.NewClient(rl.ClientConfig{URL: s.url, Transport: e.Transport})
	require.NoError(t, err)
	_, err = e.scorer(client).Score(t.Context(), []rl.Group{{Prompt: data.Text{Plain: "secret words"}, Answers: []string{"one", "two"}}})
	require.NoError(t, err)
	require.NoError(t, e.Close(5*time.Second))
	require.Equal(t, 0, s.stop())

	spans := r.Spans()
	step := spanOf(t, spans, "score")
	require.Equal(t, []string{"POST"}, below(spans, step.ID()))
	call := spanOf(t, spans, "POST")
	require.Equal(t, []string{"POST /v1/reward"}, below(spans, call.ID()))
	request := spanOf(t, spans, "POST /v1/reward")
	assert.Equal(t, []string{"compute", "queue", "tokenize"}, below(spans, request.ID()))
	assert.Equal(t, []string{"trainer", "rewards"}, []string{call.Service, request.Service})
	assert.Equal(t, "cpu", spanOf(t, spans, "compute").Attribute("warm.device"))
	load := spanOf(t, spans, "load")
	assert.Equal(t, []string{"checking", "opening", "swap", "weight average"}, below(spans, load.ID()))
	for _, of := range []struct {
		line string
		otlptest.Span
	}{{"msg=request ", request}, {`msg="model is live"`, load}} {
		line := regexp.MustCompile(".*" + of.line + ".*").FindString(s.stderr.String())
		assert.Contains(t, line, " trace_id="+of.Trace()+" span_id="+of.ID())
	}
	assert.Equal(t, "rewards", r.Metrics()["warm_queue_seconds"])
	for _, s := range spans {
		assert.NotContains(t, s.String(), "secret", "no text of a request leaves the server")
	}
}

func TestAReceiverThatHangsDelaysNeitherRequestsNorTheEnd(t *testing.T) {
	t.Parallel()
	r, release := otlptest.New(t), make(chan struct{})
	r.Before = func() { <-release }
	defer close(release)
	s := exporting(t, r)
	for range 20 {
		start := time.Now()
		code, _ := s.post(t, map[string]any{"inputs": []any{map[string]any{"text": "a"}}})
		require.Equal(t, http.StatusOK, code)
		require.Less(t, time.Since(start), 2*time.Second)
	}
	start := time.Now()
	require.Equal(t, 0, s.stop())
	assert.Less(t, time.Since(start), telemetryPatience+3*time.Second)
	assert.Contains(t, s.stderr.String(), "not all telemetry was exported")
}

func TestTheClientsOwnTransportCarriesItsTrace(t *testing.T) {
	r := otlptest.New(t)
	s := startServe(t, "--threads", "1") // which exports nothing itself
	caller, err := telemetry.Start(t.Context(), telemetry.Options{Config: telemetry.Config{Endpoint: r.URL}, Getenv: noEnv})
	require.NoError(t, err)
	client, err := api.NewClient(s.url, api.WithHTTPClient(&http.Client{Transport: caller.Transport(http.DefaultTransport)}))
	require.NoError(t, err)
	_, err = client.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Answers("a", "b")}})
	require.NoError(t, err)
	require.NoError(t, caller.Close(5*time.Second))
	require.Len(t, r.Spans(), 1)
	assert.NotContains(t, s.stderr.String(), "trace_id", "tracing is off")
}

func TestAWrongTelemetryIsAMistakeOfTheConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serve.yaml")
	for telemetry, want := range map[string]string{
		"{endpoint: collector}":                    "telemetry.endpoint: want http://HOST:PORT",
		"{endpoint: 'http://c:4318', sample: 1.5}": "telemetry.sample: 1.5, want a share in [0, 1]",
		"{exporter: x}":                            "exporter",
	} {
		put(t, filepath.Dir(file), "serve.yaml", "telemetry: "+telemetry+"\n")
		code, _, stderr := command(t, "", "serve", "--config", file)
		assert.Equal(t, exitUsage, code)
		assert.Contains(t, stderr, want)
		assert.Equal(t, 1, strings.Count(stderr, "warm:"))
	}
}
