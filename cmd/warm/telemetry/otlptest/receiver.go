// Package otlptest has a receiver of OTLP over HTTP, for tests of what exports.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Receiver takes spans and metrics on the loopback until its test ends.
type Receiver struct {
	URL string
	// Before, when set, is called with each request before it is read; it may block. It
	// is to be set before anything is sent.
	Before func()

	mu      sync.Mutex
	spans   []Span
	metrics map[string]string // by name: what service they are of
}

// Span is a span as it came, with the service that it is of.
type Span struct {
	*traces.Span
	Service string
}

// New starts a receiver.
func New(t testing.TB) *Receiver {
	r := &Receiver{metrics: map[string]string{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if r.Before != nil {
			r.Before()
		}
		if err := r.take(q); err != nil {
			t.Errorf("otlptest: %s: %v", q.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(s.Close)
	r.URL = s.URL
	return r
}

func (r *Receiver) take(q *http.Request) error {
	body := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = z
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch q.URL.Path {
	case "/v1/traces":
		m := new(collecttraces.ExportTraceServiceRequest)
		if err := proto.Unmarshal(data, m); err != nil {
			return err
		}
		for _, resource := range m.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					r.spans = append(r.spans, Span{s, text(resource.Resource.Attributes, "service.name")})
				}
			}
		}
		return nil
	case "/v1/metrics":
		m := new(collectmetrics.ExportMetricsServiceRequest)
		if err := proto.Unmarshal(data, m); err != nil {
			return err
		}
		for _, resource := range m.ResourceMetrics {
			for _, scope := range resource.ScopeMetrics {
				for _, metric := range scope.Metrics {
					r.metrics[metric.Name] = text(resource.Resource.Attributes, "service.name")
				}
			}
		}
		return nil
	}
	return fmt.Errorf("no such path")
}

// Spans returns what came so far.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Metrics returns the names of the metrics that came so far, each with its service.
func (r *Receiver) Metrics() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.metrics)
}

// Trace returns the span's trace in hex.
func (s Span) Trace() string { return hex.EncodeToString(s.TraceId) }

// ID returns the span's id in hex.
func (s Span) ID() string { return hex.EncodeToString(s.SpanId) }

// Parent returns the id of the span's parent in hex; "" for none.
func (s Span) Parent() string { return hex.EncodeToString(s.ParentSpanId) }

// Attribute returns an attribute as text; "" when there is none.
func (s Span) Attribute(name string) string { return text(s.Attributes, name) }

func text(attributes []*common.KeyValue, name string) string {
	for _, a := range attributes {
		if a.Key != name {
			continue
		}
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			return v.StringValue
		case *common.AnyValue_IntValue:
			return fmt.Sprint(v.IntValue)
		case *common.AnyValue_DoubleValue:
			return fmt.Sprint(v.DoubleValue)
		case *common.AnyValue_BoolValue:
			return fmt.Sprint(v.BoolValue)
		}
	}
	return ""
}
