package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Scope is that of the spans of commands, which this package makes among others.
const Scope = "github.com/warmserve/warmserve/cmd/warm"

type transport struct {
	base   http.RoundTripper
	tracer trace.Tracer
}

// RoundTrip implements http.RoundTripper. The span is until the reply's body is read.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.Start(r.Context(), r.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Hostname()),
		attribute.String("url.path", r.URL.Path)))
	r = r.Clone(ctx) // whose headers are the caller's own
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	reply, err := t.base.RoundTrip(r)
	if err != nil {
		span.SetStatus(codes.Error, "no reply")
		span.End()
		return nil, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", reply.StatusCode))
	if reply.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "")
	}
	reply.Body = &ending{reply.Body, span}
	return reply, nil
}

// ending is a reply's body that ends the span when it is closed.
type ending struct {
	io.ReadCloser
	span trace.Span
}

func (e *ending) Close() error {
	e.span.End()
	return e.ReadCloser.Close()
}

// Log returns a log whose lines have the ids of the span that their context is of. Without
// traces it is log.
func (t *Telemetry) Log(log *slog.Logger) *slog.Logger {
	if t.Tracing() == nil {
		return log
	}
	return slog.New(traceLog{log.Handler()})
}

type traceLog struct{ slog.Handler }

func (h traceLog) Handle(ctx context.Context, r slog.Record) error {
	if c := trace.SpanContextFromContext(ctx); c.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", c.TraceID().String()), slog.String("span_id", c.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traceLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return traceLog{h.Handler.WithAttrs(attrs)}
}

func (h traceLog) WithGroup(name string) slog.Handler { return traceLog{h.Handler.WithGroup(name)} }
