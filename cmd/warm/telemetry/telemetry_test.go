package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/cmd/warm/telemetry"
	"github.com/warmserve/warmserve/cmd/warm/telemetry/otlptest"
)

// env is an environment that a test makes, for this package and the SDK alike.
func env(t *testing.T, pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
		t.Setenv(pairs[i], pairs[i+1])
	}
	return func(name string) string { return m[name] }
}

// silent is a log for what nothing is expected in.
func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func begin(t *testing.T, c telemetry.Config, getenv func(string) string) *telemetry.Telemetry {
	o, err := telemetry.Start(t.Context(), telemetry.Options{Config: c, Getenv: getenv, Version: "v1", Log: silent()})
	require.NoError(t, err)
	return o
}

func TestNothingIsExportedUnlessAskedFor(t *testing.T) {
	r := otlptest.New(t)
	for _, c := range []struct {
		name           string
		env            []string
		config         string
		spans, metrics bool
	}{
		{"nothing said", nil, "", false, false},
		{"a service's name alone", []string{"OTEL_SERVICE_NAME", "x"}, "", false, false},
		{"an endpoint", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", r.URL}, "", true, true},
		{"an endpoint of traces", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", r.URL + "/v1/traces"}, "", true, false},
		{"the configuration", nil, r.URL, true, true},
		{"no traces", []string{"OTEL_TRACES_EXPORTER", "none"}, r.URL, false, true},
		{"metrics that Prometheus fetches", []string{"OTEL_METRICS_EXPORTER", "prometheus"}, r.URL, true, false},
		{"disabled", []string{"OTEL_SDK_DISABLED", "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT", r.URL}, r.URL, false, false},
		{"the environment beats the configuration", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", r.URL}, "http://127.0.0.1:1", true, true},
		{"JSON", []string{"OTEL_EXPORTER_OTLP_ENDPOINT", r.URL, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf",
			"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, "", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := begin(t, telemetry.Config{Endpoint: c.config}, env(t, c.env...))
			assert.Equal(t, c.spans, o.Tracing() != nil)
			before := len(r.Spans())
			if c.spans {
				_, span := o.Tracing().Tracer("").Start(t.Context(), "s")
				span.End()
			}
			registry := prometheus.NewRegistry()
			name := "of_" + strings.NewReplacer(" ", "_", "'", "").Replace(c.name)
			registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "x"}))
			o.Export(registry)
			require.NoError(t, o.Close(5*time.Second))
			assert.Equal(t, c.spans, len(r.Spans()) > before)
			assert.Equal(t, c.metrics, r.Metrics()[name] == "warm")
		})
	}
}

func TestAWrongEnvironmentIsSaid(t *testing.T) {
	for want, c := range map[string]telemetry.Options{
		`OTEL_TRACES_EXPORTER: "zipkin", want otlp or none`: {Getenv: env(t, "OTEL_TRACES_EXPORTER", "zipkin")},
		`want http/protobuf or http/json`:                   {Getenv: env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")},
		`OTEL_EXPORTER_OTLP_ENDPOINT: want http://`:         {Getenv: env(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "user:secret@collector:4317")},
		`telemetry.endpoint: want http://`:                  {Config: telemetry.Config{Endpoint: "collector"}},
		`telemetry.sample: 2, want a share in [0, 1]`:       {Config: telemetry.Config{Sample: new(float64(2))}},
	} {
		if c.Getenv == nil {
			c.Getenv = env(t)
		}
		o, err := telemetry.Start(t.Context(), c)
		assert.Nil(t, o)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestServiceAndShareAreTheEnvironmentsAndThenTheConfigurations(t *testing.T) {
	r := otlptest.New(t)
	count := func(c telemetry.Config, getenv func(string) string) (service string, n int) {
		before := len(r.Spans())
		o := begin(t, c, getenv)
		for range 50 {
			_, span := o.Tracing().Tracer("").Start(t.Context(), "s")
			span.End()
		}
		require.NoError(t, o.Close(5*time.Second))
		for _, s := range r.Spans()[before:] {
			service = s.Service
		}
		return service, len(r.Spans()) - before
	}
	c := telemetry.Config{Endpoint: r.URL, Service: "configured", Sample: new(0.0)}
	_, n := count(c, env(t))
	assert.Zero(t, n)
	c.Sample = new(1.0)
	service, n := count(c, env(t))
	assert.Equal(t, "configured", service)
	assert.Equal(t, 50, n)
	service, n = count(telemetry.Config{Endpoint: r.URL, Sample: new(0.0)}, env(t, "OTEL_SERVICE_NAME", "named", "OTEL_TRACES_SAMPLER", "always_on"))
	assert.Equal(t, "named", service)
	assert.Equal(t, 50, n)
}

// A receiver that takes a connection and says nothing is the worst: one that is down
// refuses at once.
func TestAReceiverThatHangsHoldsUpNothing(t *testing.T) {
	r, release := otlptest.New(t), make(chan struct{})
	r.Before = func() { <-release }
	defer close(release)
	o := begin(t, telemetry.Config{Endpoint: r.URL}, env(t))
	o.Export(prometheus.NewRegistry())
	start := time.Now()
	for range 20_000 { // ten times what waits at most
		_, span := o.Tracing().Tracer("").Start(t.Context(), "s")
		span.End()
	}
	assert.Less(t, time.Since(start), 2*time.Second)
	start = time.Now()
	assert.Error(t, o.Close(300*time.Millisecond))
	assert.Less(t, time.Since(start), 2*time.Second)
}

func TestAReceiverThatIsDownIsToldOfOnce(t *testing.T) {
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	var log bytes.Buffer
	var mu sync.Mutex
	o, err := telemetry.Start(t.Context(), telemetry.Options{Config: telemetry.Config{Endpoint: down.URL}, Getenv: env(t),
		Log: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))})
	require.NoError(t, err)
	for range 2000 {
		_, span := o.Tracing().Tracer("").Start(t.Context(), "s")
		span.End()
	}
	start := time.Now()
	_ = o.Close(time.Second) // what it says depends on which attempt was under way
	assert.Less(t, time.Since(start), 3*time.Second)
	mu.Lock()
	defer mu.Unlock()
	assert.LessOrEqual(t, strings.Count(log.String(), "\n"), 1)
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestRequestsPassTheirTraceOn(t *testing.T) {
	r := otlptest.New(t)
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		got = q.Header.Get("traceparent")
		w.WriteHeader(http.StatusTeapot)
	}))
	defer s.Close()
	o := begin(t, telemetry.Config{Endpoint: r.URL}, env(t))
	ctx, span := o.Tracing().Tracer("").Start(t.Context(), "caller")
	client := &http.Client{Transport: o.Transport(http.DefaultTransport)}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/path?secret", nil)
	require.NoError(t, err)
	answer, err := client.Do(q)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Empty(t, q.Header, "the caller's request is as it was")
	s.Close()
	_, err = client.Do(q.Clone(ctx))
	require.Error(t, err)
	span.End()
	require.NoError(t, o.Close(5*time.Second))
	spans := r.Spans()
	require.Len(t, spans, 3)
	assert.Equal(t, "00-"+spans[0].Trace()+"-"+spans[0].ID()+"-01", got)
	for _, s := range spans[:2] {
		assert.Equal(t, []string{"GET", spans[2].ID(), "/path"}, []string{s.Name, s.Parent(), s.Attribute("url.path")})
	}
	assert.Equal(t, "418", spans[0].Attribute("http.response.status_code"))
	off := (*telemetry.Telemetry)(nil)
	assert.Equal(t, http.DefaultTransport, off.Transport(http.DefaultTransport))
}

func TestLinesHaveTheIdsOfTheirSpan(t *testing.T) {
	r := otlptest.New(t)
	o := begin(t, telemetry.Config{Endpoint: r.URL}, env(t))
	var out bytes.Buffer
	log := o.Log(slog.New(slog.NewTextHandler(&out, nil))).With("a", 1)
	ctx, span := o.Tracing().Tracer("").Start(t.Context(), "s")
	log.InfoContext(ctx, "within")
	log.InfoContext(context.Background(), "without")
	span.End()
	require.NoError(t, o.Close(5*time.Second))
	s := r.Spans()[0]
	lines := strings.Split(out.String(), "\n")
	assert.Contains(t, lines[0], "trace_id="+s.Trace()+" span_id="+s.ID())
	assert.NotContains(t, lines[1], "trace_id")
}
