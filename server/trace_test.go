package server_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// recorded is tracing whose spans a test reads.
func recorded(t *testing.T, o ...sdk.TracerProviderOption) (*sdk.TracerProvider, *tracetest.InMemoryExporter) {
	spans := tracetest.NewInMemoryExporter()
	p := sdk.NewTracerProvider(append(o, sdk.WithSyncer(spans))...)
	t.Cleanup(func() { assert.NoError(t, p.Shutdown(context.WithoutCancel(t.Context()))) })
	return p, spans
}

// tree returns the names of the spans below parent, each with those below it.
func tree(spans tracetest.SpanStubs, parent string) []string {
	var out []string
	for _, s := range spans {
		if s.Parent.SpanID().String() == parent {
			name := s.Name
			if below := tree(spans, s.SpanContext.SpanID().String()); len(below) > 0 {
				name += "(" + strings.Join(below, " ") + ")"
			}
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// The caller's context, as in the examples of W3C's recommendation.
const (
	callerTrace  = "0af7651916cd43dd8448eb211c80319c"
	callerSpan   = "b7ad6b7169203331"
	callerParent = "00-" + callerTrace + "-" + callerSpan + "-01"
	none         = "0000000000000000" // the parent of a root
)

func spanNamed(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q", name)
	return tracetest.SpanStub{}
}

func words(s tracetest.SpanStub) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

func TestARequestIsASpanInItsCallersTrace(t *testing.T) {
	tracing, spans := recorded(t)
	m := servertest.New("m", func(i *live.Info) { i.Device = "cpu" })
	for _, f := range m.Fakes {
		f.PerToken = time.Millisecond
	}
	h := start(t, server.Config{Tracing: tracing}, m)
	r := h.post(`{"inputs":[{"text":"secret words"}],"mode":"both"}`, "traceparent", callerParent, "tracestate", "vendor=1")
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)

	got := spans.GetSpans()
	require.Equal(t, []string{"POST /v1/reward(compute queue tokenize)"}, tree(got, callerSpan))
	request := spanNamed(t, got, "POST /v1/reward")
	w := words(request)
	assert.Equal(t, callerTrace, request.SpanContext.TraceID().String())
	assert.Equal(t, "vendor=1", request.SpanContext.TraceState().String())
	assert.Equal(t, "200", w["http.response.status_code"])
	assert.Equal(t, []string{"m", "both", "1"}, []string{w["warm.model"], w["warm.mode"], w["warm.sequences"]})
	queue, compute := spanNamed(t, got, "queue"), spanNamed(t, got, "compute")
	assert.Equal(t, "cpu", words(compute)["warm.device"])
	assert.Equal(t, "3", words(compute)["warm.batches"], "the average's and two members'")
	assert.False(t, queue.EndTime.After(compute.StartTime))
	assert.GreaterOrEqual(t, compute.EndTime.Sub(compute.StartTime), 30*time.Millisecond, "three lanes of ten tokens and more")
	for _, s := range got {
		assert.False(t, s.StartTime.Before(request.StartTime) || s.EndTime.After(request.EndTime), "%s is within its request", s.Name)
		for name, value := range words(s) {
			assert.NotContains(t, value, "secret", "%s of %s", name, s.Name)
		}
	}
}

func TestEveryWayThroughTheServerIsTraced(t *testing.T) {
	tracing, spans := recorded(t)
	m := servertest.New("m")
	h := start(t, server.Config{Tracing: tracing}, m)
	for _, c := range []struct{ name, method, path, body, tree string }{
		{"a dialect", "POST", "/get_reward", `{"query":["secret"]}`, "POST /get_reward(compute queue tokenize)"},
		{"a comparison", "POST", "/v1/compare", `{"pairs":[{"prompt":"secret","chosen":"a","rejected":"b"}]}`,
			"POST /v1/compare(compute compute compute queue queue queue tokenize)"},
		{"what is refused", "POST", "/v1/reward", `{"secret":`, "POST /v1/reward"},
		{"no path of ours", "GET", "/secret/path", "", "GET unmatched"},
		{"a method of the client's own", "SECRET", "/v1/reward", "", "other unmatched"},
		{"a page", "GET", "/v1/models", "", "GET /v1/models"},
		{"a probe", "GET", "/livez", "", ""},
		{"a scrape", "GET", "/metrics", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			spans.Reset()
			r, err := http.NewRequest(c.method, h.url+c.path, strings.NewReader(c.body))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/json")
			answer, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			want := []string{c.tree}
			if c.tree == "" {
				want = nil
			}
			require.EventuallyWithT(t, func(t *assert.CollectT) { assert.Equal(t, want, tree(spans.GetSpans(), none)) },
				time.Second, time.Millisecond)
			for _, s := range spans.GetSpans() {
				assert.NotContains(t, s.Name, "ecret")
				for name, value := range words(s) {
					assert.NotContains(t, strings.ToLower(value), "secret", "%s of %s", name, s.Name)
				}
			}
		})
	}
}

func TestAFailureIsInItsSpan(t *testing.T) {
	tracing, spans := recorded(t)
	m := servertest.New("m")
	m.Fakes["wa"].Before = func([]batch.Sequence) error { return errors.New("secret of the engine") }
	h := start(t, server.Config{Tracing: tracing}, m)
	require.Equal(t, http.StatusInternalServerError, h.post(`{"inputs":[{"text":"a"}]}`).status)
	s := spanNamed(t, spans.GetSpans(), "POST /v1/reward")
	assert.Equal(t, codes.Error, s.Status.Code)
	assert.Equal(t, "internal", words(s)["error.type"])
	assert.NotContains(t, s.Status.Description, "secret")
	spans.Reset()
	require.Equal(t, http.StatusBadRequest, h.post(`{}`).status)
	assert.Equal(t, codes.Unset, spanNamed(t, spans.GetSpans(), "POST /v1/reward").Status.Code, "a client's mistake is no failure of the server")
}

func TestHostileTraceparentsBeginATrace(t *testing.T) {
	tracing, spans := recorded(t)
	h := start(t, server.Config{Tracing: tracing}, servertest.New("m"))
	for _, header := range []string{"", " ", "garbage", "00-" + strings.Repeat("0", 32) + "-" + callerSpan + "-01",
		"00-" + callerTrace + "-" + strings.Repeat("0", 16) + "-01", "ff-" + callerTrace + "-" + callerSpan + "-01",
		callerParent + "-more", "00-" + strings.ToUpper(callerTrace) + "-" + callerSpan + "-01",
		"00-" + callerTrace + "-" + callerSpan + "-zz", strings.Repeat("00-", 10000), "00-\x7f-\u00ff-01"} {
		spans.Reset()
		r := httptest.NewRequest(http.MethodPost, "/v1/reward", strings.NewReader(`{"inputs":[{"text":"a"}]}`))
		r.Header["Traceparent"] = []string{header, callerParent}
		r.Header["Tracestate"] = []string{strings.Repeat("secret=1,", 1000)}
		w := httptest.NewRecorder()
		h.server.Handler().ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code, "%q", header)
		s := spanNamed(t, spans.GetSpans(), "POST /v1/reward")
		assert.False(t, s.Parent.IsValid(), "%q is nobody's span", header)
		assert.NotEqual(t, callerTrace, s.SpanContext.TraceID().String(), "%q", header)
		assert.Empty(t, s.SpanContext.TraceState().String())
	}
}

func TestWhatIsNotSampledIsNotRecorded(t *testing.T) {
	tracing, spans := recorded(t)
	h := start(t, server.Config{Tracing: tracing}, servertest.New("m"))
	require.Equal(t, http.StatusOK, h.post(`{"inputs":[{"text":"a"}]}`, "traceparent", strings.TrimSuffix(callerParent, "1")+"0").status)
	assert.Empty(t, spans.GetSpans(), "the caller decides")
	never, spans := recorded(t, sdk.WithSampler(sdk.ParentBased(sdk.NeverSample())))
	h = start(t, server.Config{Tracing: never}, servertest.New("m"))
	require.Equal(t, http.StatusOK, h.post(`{"inputs":[{"text":"a"}]}`).status)
	assert.Empty(t, spans.GetSpans())
	require.Equal(t, http.StatusOK, h.post(`{"inputs":[{"text":"a"}]}`, "traceparent", callerParent).status)
	assert.Len(t, spans.GetSpans(), 4)
}

func TestALoadIsASpanInTheTraceOfWhoAskedForIt(t *testing.T) {
	tracing, spans := recorded(t)
	l := startLive(t, server.Config{Tracing: tracing}, nil)
	spans.Reset()
	r := l.do("PUT", "/v1/models/m?wait=true", `{"members":["a"]}`, "Authorization", "Bearer "+adminKey, "traceparent", callerParent)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	var got tracetest.SpanStubs
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		got = spans.GetSpans()
		assert.Equal(t, []string{"PUT /v1/models/{name}(load(checking opening reading swap))"}, tree(got, callerSpan))
	}, time.Second, time.Millisecond)
	w := words(spanNamed(t, got, "load"))
	assert.Equal(t, []string{"m", "put", api.OutcomeLive}, []string{w["warm.model"], w["warm.cause"], w["warm.outcome"]})

	spans.Reset()
	l.factory.change = func(_ *api.ModelSpec, m *servertest.Model) {
		m.Fakes["wa"].Before = func([]batch.Sequence) error { return errors.New("broken") }
	}
	require.NotEqual(t, http.StatusOK, l.put("b").status)
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		got = spans.GetSpans()
		assert.Equal(t, []string{"PUT /v1/models/{name}(load(checking opening reading))"}, tree(got, none))
	}, time.Second, time.Millisecond)
	failed := spanNamed(t, got, "load")
	assert.Equal(t, codes.Error, failed.Status.Code)
	assert.Equal(t, api.OutcomeFailed, words(failed)["warm.outcome"])
}

func TestTracingThatIsOffAllocatesNothing(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/v1/reward", nil)
	r.Header.Set("traceparent", callerParent)
	off := start(t, server.Config{}, servertest.New("m"))
	assert.Zero(t, testing.AllocsPerRun(100, func() { server.Trace(off.server, r) }))
	tracing, _ := recorded(t, sdk.WithSampler(sdk.NeverSample()))
	on := start(t, server.Config{Tracing: tracing}, servertest.New("m"))
	assert.Positive(t, testing.AllocsPerRun(100, func() { server.Trace(on.server, r) }), "the count counts")
}
