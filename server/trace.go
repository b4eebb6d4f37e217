package server

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/prometheus/client_golang/prometheus"
)

// tracerName is the scope of the spans of the server and of the models it loads.
const tracerName = "github.com/warmserve/warmserve/server"

// traced begins the span of a request, in the trace that its caller names in the W3C
// header traceparent, or that ctx is of already. A traceparent that is none begins a
// trace. Probes and scrapes, which come every few seconds, have a span only in a trace
// of their caller's. Without Config.Tracing nothing is done.
func (s *Server) traced(ctx context.Context, r *http.Request, l *requestLog) context.Context {
	if s.tracer == nil {
		return ctx
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	if watches(r) && !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	ctx, l.span = s.tracer.Start(ctx, methodName(r.Method), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(l.start))
	l.KeepSteps = l.span.IsRecording()
	return ctx
}

// endSpan ends the span of a request, with those of its steps as children. They hold
// what the log's line does: nothing that a client wrote but the id, which is checked.
func (s *Server) endSpan(ctx context.Context, l *requestLog, method, route string) {
	if l.span == nil {
		return
	}
	defer l.span.End()
	if !l.span.IsRecording() {
		return
	}
	for _, step := range l.Steps {
		_, span := s.tracer.Start(ctx, step.Name, trace.WithTimestamp(step.Began))
		for name, value := range map[string]string{"warm.device": step.Device, "warm.lane": step.Lane} {
			if value != "" {
				span.SetAttributes(attribute.String(name, value))
			}
		}
		if step.Batches > 0 {
			span.SetAttributes(attribute.Int("warm.batches", step.Batches),
				attribute.Float64("warm.batch_seconds", inSeconds(step.Busy)))
		}
		span.End(trace.WithTimestamp(step.Ended))
	}
	l.span.SetName(method + " " + route)
	l.span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route),
		attribute.Int("http.response.status_code", l.status), attribute.Int64("http.response.body.size", l.bytes),
		attribute.String("warm.request.id", l.ID))
	if l.code != "" {
		l.span.SetAttributes(attribute.String("error.type", string(l.code)))
	}
	if l.status >= http.StatusInternalServerError {
		l.span.SetStatus(codes.Error, string(l.code))
	}
	if l.Model != "" {
		l.span.SetAttributes(attribute.String("warm.model", l.Model), attribute.String("warm.mode", l.Mode),
			attribute.String("warm.revision", l.Revision), attribute.Int("warm.sequences", l.Sequences),
			attribute.Int("warm.tokens", l.Tokens), attribute.Int("warm.refused", l.Refused))
	}
}

// Gatherer returns the server's metrics, as GET /metrics has them, for what exports
// them another way.
func (s *Server) Gatherer() prometheus.Gatherer { return s.metrics.registry }
