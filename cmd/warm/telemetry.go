package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/warmserve/warmserve/cmd/warm/telemetry"
	"github.com/warmserve/warmserve/trainer/rl"
)

// telemetryPatience bounds how long the end of a command waits until what is left is exported.
const telemetryPatience = 3 * time.Second

// exported is the telemetry of a command.
type exported struct{ *telemetry.Telemetry }

// telemetry begins to export where the environment or the configuration asks for it.
func (p *program) telemetry(ctx context.Context, c telemetry.Config, log *slog.Logger) (exported, error) {
	t, err := telemetry.Start(ctx, telemetry.Options{Config: c, Getenv: p.getenv, Version: version(), Log: log})
	if err != nil {
		err = usageError{err}
	}
	return exported{t}, err
}

// close exports what is left, or says that it could not.
func (e exported) close(log *slog.Logger) {
	if err := e.Close(telemetryPatience); err != nil {
		log.Warn("not all telemetry was exported", "error", err.Error())
	}
}

// scorer makes a span of each call of s, which the requests of the call are children of.
func (e exported) scorer(s rl.Scorer) rl.Scorer {
	if e.Tracing() == nil {
		return s
	}
	return tracedScorer{s, e.Tracing().Tracer(telemetry.Scope)}
}

type tracedScorer struct {
	rl.Scorer
	tracer trace.Tracer
}

func (s tracedScorer) Score(ctx context.Context, groups []rl.Group) ([]rl.Scored, error) {
	answers := 0
	for i := range groups {
		answers += len(groups[i].Answers)
	}
	ctx, span := s.tracer.Start(ctx, "score", trace.WithAttributes(
		attribute.Int("warm.groups", len(groups)), attribute.Int("warm.answers", answers)))
	defer span.End()
	return s.Scorer.Score(ctx, groups)
}

// engines has requests to engines of others carry the trace that they are of, as those of
// a load do. Batches, which join the requests of many callers, and looks at an engine every
// few seconds are of none.
func (e exported) engines(base http.RoundTripper) http.RoundTripper {
	traced := e.Transport(base)
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if trace.SpanContextFromContext(r.Context()).IsValid() {
			return traced.RoundTrip(r)
		}
		return base.RoundTrip(r)
	})
}

type roundTripper func(r *http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
