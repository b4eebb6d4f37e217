package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	client "github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Telemetry exports. Make one with Start, and close it; nil exports nothing.
type Telemetry struct {
	resource *resource.Resource
	spans    *sdk.TracerProvider // nil where traces are not exported
	exporter metric.Exporter     // nil where metrics are not
	meters   *metric.MeterProvider
}

// Options say what exports.
type Options struct {
	Config  Config
	Getenv  func(string) string // asked for what turns exporting on; the SDK reads the process's environment itself
	Version string              // of the program
	Log     *slog.Logger        // is told, once a minute at most, that exporting fails
}

// Start begins to export, unless neither environment nor configuration asks for it. Its
// error is one of theirs.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	spans, err := traces.wanted(o.Config, o.Getenv)
	meters, err2 := metrics.wanted(o.Config, o.Getenv)
	if err := errors.Join(o.Config.Validate(), err, err2); err != nil || !spans && !meters {
		return nil, err
	}
	otel.SetErrorHandler(&complaints{log: o.Log}) // the SDK has one for a process
	t := &Telemetry{}
	if t.resource, err = o.resource(ctx); err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if spans {
		var options []otlptracehttp.Option
		if url := traces.endpoint(o.Config, o.Getenv); url != "" {
			options = append(options, otlptracehttp.WithEndpointURL(url))
		}
		exporter, err := otlptracehttp.New(ctx, options...)
		if err != nil {
			return nil, fmt.Errorf("telemetry: traces: %w", err)
		}
		settings := []sdk.TracerProviderOption{sdk.WithBatcher(exporter), sdk.WithResource(t.resource)}
		if o.Config.Sample != nil && o.Getenv("OTEL_TRACES_SAMPLER") == "" {
			settings = append(settings, sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(*o.Config.Sample))))
		}
		t.spans = sdk.NewTracerProvider(settings...)
	}
	if meters {
		var options []otlpmetrichttp.Option
		if url := metrics.endpoint(o.Config, o.Getenv); url != "" {
			options = append(options, otlpmetrichttp.WithEndpointURL(url))
		}
		if t.exporter, err = otlpmetrichttp.New(ctx, options...); err != nil {
			return nil, errors.Join(fmt.Errorf("telemetry: metrics: %w", err), t.Close(0))
		}
	}
	return t, nil
}

// resource is what all that is exported is of: the environment's words beat ours.
func (o Options) resource(ctx context.Context) (*resource.Resource, error) {
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(
		attribute.String("service.name", cmp.Or(o.Config.Service, "warm")), attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", uuid.NewString())), resource.WithFromEnv())
}

// Tracing is what makes spans; nil where none are exported.
func (t *Telemetry) Tracing() trace.TracerProvider {
	if t == nil || t.spans == nil {
		return nil
	}
	return t.spans
}

// Export begins to export metrics, where they are, every minute or as often as
// OTEL_METRIC_EXPORT_INTERVAL says. It is called once.
func (t *Telemetry) Export(from client.Gatherer) {
	if t == nil || t.exporter == nil {
		return
	}
	reader := metric.NewPeriodicReader(t.exporter,
		metric.WithProducer(prometheus.NewMetricProducer(prometheus.WithGatherer(from))))
	t.meters = metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(t.resource))
}

// Close exports what is left, and gives up after patience.
func (t *Telemetry) Close(patience time.Duration) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var ending sync.WaitGroup
	var errs [2]error
	if t.spans != nil {
		ending.Go(func() { errs[0] = t.spans.Shutdown(ctx) })
	}
	if t.meters != nil {
		ending.Go(func() { errs[1] = t.meters.Shutdown(ctx) })
	}
	ending.Wait()
	return errors.Join(errs[:]...)
}

// complaints are the SDK's errors, of which there is one for each batch that cannot be
// exported.
type complaints struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	const every = time.Minute
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.last) >= every {
		c.last = now
		c.log.Warn("telemetry cannot be exported", "error", err.Error())
	}
}

// Transport makes a span of each request that goes through base, and passes its trace on
// in the header traceparent. Without traces it is base.
func (t *Telemetry) Transport(base http.RoundTripper) http.RoundTripper {
	if t.Tracing() == nil {
		return base
	}
	return &transport{base: base, tracer: t.spans.Tracer(Scope)}
}
