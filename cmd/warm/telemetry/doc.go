// Package telemetry exports the spans and the metrics of a command by OTLP, with the
// official OpenTelemetry SDK. It knows the standard environment, the process's own, and
// what a configuration says beside it; it knows no server, which is given
// [Telemetry.Tracing] and gives [Telemetry.Export] its metrics.
//
// Nothing is exported unless the environment or the configuration names an endpoint, or
// the environment an exporter; then Start returns nil, whose methods do nothing.
//
// Exporting never holds up what is exported: spans go to a bounded queue that drops
// what it has no room for, and [Telemetry.Close] takes no longer than it is given.
//
// The protocol is OTLP over HTTP with protobuf, and the propagation W3C's traceparent and
// tracestate; what their callers' baggage says is not taken over.
package telemetry
