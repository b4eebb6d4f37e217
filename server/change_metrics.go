package server

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/live"
)

// changeMetrics count changes of models: they are the [live.Observer].
type changeMetrics struct {
	swaps       *prometheus.CounterVec   // by model, cause, outcome
	loads       *prometheus.HistogramVec // by model
	failures    *prometheus.CounterVec   // by reason
	stateErrors prometheus.Counter
	manifest    manifestMetrics
	reloads     *prometheus.CounterVec // by outcome
	models      *live.Models
}

// manifestMetrics count the looks at the watched manifest. They are exported from
// the first look on.
type manifestMetrics struct {
	first    sync.Once
	register func()
	errors   prometheus.Counter
	good     atomic.Int64 // when it was last found good, or first looked at; Unix nanoseconds
}

// loadBuckets go from a tiny model's load to a large one's from a slow disk.
var loadBuckets = prometheus.ExponentialBuckets(0.01, 2.5, 12) // 10 ms to 4 minutes

func newChangeMetrics(m *metrics, models *live.Models) *changeMetrics {
	m.registry.MustRegister(revisionCollector{models})
	reasons := live.Reasons()
	last := len(reasons) - 1
	return &changeMetrics{models: models,
		swaps: m.counters("swaps_total",
			"Changes of models: put, watch, rollback, start, delete and what came of them.", "model",
			"cause", "outcome"),
		loads: m.histograms("load_seconds",
			"Time to build and check a model that went live.", loadBuckets, "model"),
		failures: m.counters("load_failures_total", "Loads that ended without a live model, by reason: "+
			strings.Join(reasons[:last], ", ")+" or "+reasons[last]+".", "reason"),
		stateErrors: m.counter("state_errors_total",
			"Times that the state file could not be read or written."),
		reloads: m.counters("config_reloads_total",
			"Times that the configuration was read again, and what came of it.", "outcome"),
	}
}

// watch registers what is measured of changes.
func (m *changeMetrics) watch(all *metrics, changes *live.Changes) {
	all.gaugeOf("models_missing", "Models that the server is not ready without and that are not live.",
		func() float64 { return float64(changes.Lacking()) })
	all.gaugeOf("models_away", "Live models whose engine, one of others, cannot be used now.",
		func() float64 { return float64(len(m.models.Troubles())) })
	all.gaugeOf("state_unsaved",
		"1 while changes of models would not survive a restart, since the state file cannot be written.",
		func() float64 { return oneIf(changes.Unsaved() != "") })
	m.manifest.register = func() {
		m.manifest.good.Store(time.Now().UnixNano())
		m.manifest.errors = all.counter("manifest_errors_total",
			"Looks at the watched manifest that found it missing or wrong, or its models not to be loaded.")
		all.gaugeOf("manifest_age_seconds",
			"Time since the watched manifest was last found good and carried out; it is looked at every second.",
			func() float64 { return time.Since(time.Unix(0, m.manifest.good.Load())).Seconds() })
	}
}

// Changed implements live.Observer.
func (m *changeMetrics) Changed(model string, e api.ModelEvent) {
	m.swaps.WithLabelValues(model, e.Cause, e.Outcome).Inc()
	if e.Outcome == api.OutcomeLive && e.LoadSeconds > 0 {
		m.loads.WithLabelValues(model).Observe(e.LoadSeconds)
	}
}

// Failed implements live.Observer.
func (m *changeMetrics) Failed(reason string) { m.failures.WithLabelValues(reason).Inc() }

// StateFailed implements live.Observer.
func (m *changeMetrics) StateFailed() { m.stateErrors.Inc() }

// ManifestLooked notes a look at the watched manifest, for the metrics: its
// error, or nil when the manifest is good and was carried out. Like
// ConfigReloaded it is for servers with a Config.Builder.
func (s *Server) ManifestLooked(err error) {
	m := &s.changed.manifest
	m.first.Do(m.register)
	if err != nil {
		m.errors.Inc()
		return
	}
	m.good.Store(time.Now().UnixNano())
}

// ConfigReloaded notes that the configuration was read again, for the metrics:
// its error, or nil when it was carried out.
func (s *Server) ConfigReloaded(err error) {
	outcome := "done"
	if err != nil {
		outcome = api.OutcomeFailed
	}
	s.changed.reloads.WithLabelValues(outcome).Inc()
}

// revisionCollector counts the revisions of each model in memory at a scrape.
type revisionCollector struct{ models *live.Models }

var liveRevisions = prometheus.NewDesc("warm_live_revisions",
	"Revisions of a model in memory: live, kept for pinned requests, or held by requests still.",
	[]string{"model"}, nil)

func (c revisionCollector) Describe(ch chan<- *prometheus.Desc) { ch <- liveRevisions }

func (c revisionCollector) Collect(ch chan<- prometheus.Metric) {
	for name, n := range c.models.Revisions() {
		ch <- prometheus.MustNewConstMetric(liveRevisions, prometheus.GaugeValue, float64(n), name)
	}
}
