package live

import (
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/warmserve/warmserve/api"
)

// maxPhases bounds the spans of one load, whose builder says what it does as it likes.
const maxPhases = 256

// begin begins the span of a change's load, in the trace of the request that asked for it. The
// caller holds mu.
func (c *Change) begin() {
	c.ctx, c.span = c.changes.tracer.Start(c.ctx, "load", trace.WithAttributes(
		attribute.String("warm.model", c.name), attribute.String("warm.cause", c.cause),
		attribute.Int("warm.members", len(c.spec.Members)), attribute.Bool("warm.dry_run", c.dry)))
}

// end ends the span of a change's load with what came of it.
func (c *Change) end(event api.ModelEvent) {
	c.phase("")
	c.span.SetAttributes(attribute.String("warm.outcome", event.Outcome), attribute.String("warm.revision", event.Revision))
	if e, ok := errors.AsType[*api.Error](c.err); ok {
		c.span.SetAttributes(attribute.String("error.type", string(e.Code)))
		c.span.SetStatus(codes.Error, event.Outcome)
	}
	c.span.End()
}

// phase ends the span of what the load did until now, if any, and begins that of what it
// does next; "" is nothing.
func (c *Change) phase(doing string) {
	if doing == c.phased {
		return
	}
	if c.phased = doing; c.part != nil {
		c.part.End()
		c.part = nil
	}
	if doing != "" && c.phases < maxPhases {
		c.phases++
		_, c.part = c.changes.tracer.Start(c.ctx, doing)
	}
}
