package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/warmserve/warmserve/api"
)

// liveMetrics count changes of models.
type liveMetrics struct {
	swaps *prometheus.CounterVec   // by model, cause, outcome
	loads *prometheus.HistogramVec // by model
}

// loadBuckets go from a tiny model's load to a large one's from a slow disk.
var loadBuckets = prometheus.ExponentialBuckets(0.01, 2.5, 12) // 10 ms to 4 minutes

func newLiveMetrics(m *metrics, models *Models) *liveMetrics {
	m.registry.MustRegister(revisionCollector{models})
	return &liveMetrics{
		swaps: m.counters("swaps_total", "Changes of models: put, watch, rollback, start, delete and what came of them.", "model", "cause", "outcome"),
		loads: m.histograms("load_seconds", "Time to build and check a model that went live.", loadBuckets, "model"),
	}
}

// loaded counts the end of a load, or a removal.
func (m *liveMetrics) loaded(name string, e api.ModelEvent) {
	m.swaps.WithLabelValues(name, e.Cause, e.Outcome).Inc()
	if e.Outcome == api.OutcomeLive && e.LoadSeconds > 0 {
		m.loads.WithLabelValues(name).Observe(e.LoadSeconds)
	}
}

// revisionCollector counts the revisions of each model in memory at a scrape.
type revisionCollector struct{ models *Models }

var liveRevisions = prometheus.NewDesc("warm_live_revisions", "Revisions of a model in memory: live, kept for pinned requests, or held by requests still.", []string{"model"}, nil)

func (c revisionCollector) Describe(ch chan<- *prometheus.Desc) { ch <- liveRevisions }

func (c revisionCollector) Collect(ch chan<- prometheus.Metric) {
	for name, n := range c.models.revisions() {
		ch <- prometheus.MustNewConstMetric(liveRevisions, prometheus.GaugeValue, float64(n), name)
	}
}
