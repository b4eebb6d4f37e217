package server

import (
	"math"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/memory"
	"github.com/warmserve/warmserve/server/score"
)

// metrics are the server's own, in a registry of their own. Every name begins
// with warm_, times are in seconds, and every label is of a closed set: routes,
// statuses, codes, the live models with their last revisions, and the modes they offer.
type metrics struct {
	registry *prometheus.Registry
	make     promauto.Factory // of metrics in the registry

	requests    *prometheus.CounterVec   // by route, status
	errors      *prometheus.CounterVec   // by code
	latency     *prometheus.HistogramVec // by route
	inFlight    prometheus.Gauge
	held        prometheus.Gauge
	connections prometheus.Gauge
	panics      prometheus.Counter

	tokenize prometheus.Histogram // of one request each
	queue    prometheus.Histogram
	compute  prometheus.Histogram

	batchSeconds   *prometheus.HistogramVec // by lane
	batchTokens    prometheus.Histogram
	batchSequences prometheus.Histogram
	batchErrors    prometheus.Counter

	sequences *prometheus.CounterVec   // by model
	tokens    *prometheus.CounterVec   // by model
	truncated *prometheus.CounterVec   // by model
	refused   *prometheus.CounterVec   // by model, code
	rewards   *prometheus.HistogramVec // by model, revision, mode
	lengths   *prometheus.HistogramVec // by model, revision
	spread    *prometheus.HistogramVec // by model, revision
	gap       *prometheus.HistogramVec // by model, revision
	samples   *prometheus.CounterVec   // by model, outcome
	drift     *drift
}

// The buckets. Times go from a probe's to a queue's worst; rewards are logits.
var (
	secondBuckets   = prometheus.ExponentialBuckets(0.0005, 2, 18) // 0.5 ms to 65 s
	tokenBuckets    = prometheus.ExponentialBuckets(16, 2, 13)     // 16 to 65,536
	sequenceBuckets = prometheus.ExponentialBuckets(1, 2, 12)      // 1 to 2,048
	rewardBuckets   = []float64{-20, -15, -10, -7, -5, -4, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 5, 7,
		10, 15, 20}
	spreadBuckets = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10}
)

func newMetrics(version string, driftScores int, models *live.Models) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.make = promauto.With(m.registry)
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), modelCollector{models})
	m.requests = m.counters("requests_total", "Requests answered.", "route", "status")
	m.errors = m.counters("errors_total", "Requests refused or failed.", "code")
	m.latency = m.histograms("request_seconds",
		"Time from a request's head to the end of its reply.", secondBuckets, "route")
	m.inFlight = m.gauge("requests_in_flight", "Requests being handled.")
	m.held = m.gauge("requests_held",
		"Requests of other stacks' clients that wait for room in the queue, or for a first model.")
	m.connections = m.gauge("connections", "Open connections.")
	m.panics = m.counter("panics_total", "Panics of handlers and scorers that were contained.")
	m.tokenize = m.histogram("tokenize_seconds", "Time for template and tokeniser, by request.",
		secondBuckets)
	m.queue = m.histogram("queue_seconds", "Time in the queue, by request.", secondBuckets)
	m.compute = m.histogram("compute_seconds",
		"Time of the batches that held a request's sequences.", secondBuckets)
	m.batchSeconds = m.histograms("batch_seconds", "Time to compute a batch.", secondBuckets, "lane")
	m.batchTokens = m.histogram("batch_tokens", "Tokens in a batch.", tokenBuckets)
	m.batchSequences = m.histogram("batch_sequences", "Sequences in a batch.", sequenceBuckets)
	m.batchErrors = m.counter("batch_errors_total", "Batches that failed.")
	m.sequences = m.counters("sequences_total", "Answers scored.", "model")
	m.tokens = m.counters("tokens_total", "Tokens of the answers scored, with their prompts.", "model")
	m.truncated = m.counters("truncated_total", "Answers scored after truncation.", "model")
	m.refused = m.counters("refused_answers_total",
		"Answers that were refused while others of their request were scored (on_error: item), by the error's code.",
		"model", "code")
	m.rewards = m.histograms("reward", "Rewards.", rewardBuckets, "model", "revision", "mode")
	m.lengths = m.histograms("answer_tokens",
		"Tokens of an answer with its prompt.", tokenBuckets, "model", "revision")
	m.spread = m.histograms("reward_std",
		"Standard deviation of the members' rewards.", spreadBuckets, "model", "revision")
	m.gap = m.histograms("reward_gap",
		"Absolute difference of the weight average's and the ensemble's reward, where both were asked for or sampled.",
		spreadBuckets, "model", "revision")
	m.samples = m.counters("ab_samples_total",
		"Requests whose ensemble was to be scored beside the weight average, and what came of it.",
		"model", "outcome")
	m.drift = newDrift(driftScores, models)
	m.drift.forget = m.forget
	m.registry.MustRegister(m.drift)
	m.make.NewGauge(prometheus.GaugeOpts{
		Name: "warm_build_info", Help: "1, with the build in its labels.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	}).Set(1)
	return m
}

func (m *metrics) counter(name, help string) prometheus.Counter {
	return m.make.NewCounter(prometheus.CounterOpts{Name: "warm_" + name, Help: help})
}

func (m *metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return m.make.NewCounterVec(prometheus.CounterOpts{Name: "warm_" + name, Help: help}, labels)
}

func (m *metrics) gauge(name, help string) prometheus.Gauge {
	return m.make.NewGauge(prometheus.GaugeOpts{Name: "warm_" + name, Help: help})
}

// gaugeOf reads a value at each scrape.
func (m *metrics) gaugeOf(name, help string, value func() float64) {
	m.make.NewGaugeFunc(prometheus.GaugeOpts{Name: "warm_" + name, Help: help}, value)
}

func (m *metrics) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return m.make.NewHistogram(prometheus.HistogramOpts{Name: "warm_" + name, Help: help, Buckets: buckets})
}

func (m *metrics) histograms(name, help string, buckets []float64,
	labels ...string) *prometheus.HistogramVec {
	return m.make.NewHistogramVec(prometheus.HistogramOpts{Name: "warm_" + name, Help: help,
		Buckets: buckets}, labels)
}

// watchQueue reads the queue's depth at each scrape.
func (m *metrics) watchQueue(q *batch.Queue) {
	m.gaugeOf("queue_tokens", "Tokens that wait.", func() float64 { return float64(q.Depth().Tokens) })
	m.gaugeOf("queue_sequences", "Sequences that wait.",
		func() float64 { return float64(q.Depth().Sequences) })
	m.gaugeOf("queue_oldest_seconds", "How long the oldest sequence has waited.",
		func() float64 { return q.Depth().Oldest.Seconds() })
}

// watchRoom reads what requests hold at each scrape.
func (m *metrics) watchRoom(r *memory.Room) {
	m.gaugeOf("request_memory_bytes", "Bytes that requests have reserved.",
		func() float64 { return float64(r.Stats().Held) })
	m.gaugeOf("request_memory_limit_bytes", "Bytes that requests may reserve together.",
		func() float64 { return float64(r.Stats().Limit) })
	m.gaugeOf("requests_waiting_for_memory", "Requests that wait until others have given memory back.",
		func() float64 { return float64(r.Stats().Waiting) })
	m.make.NewCounterFunc(prometheus.CounterOpts{
		Name: "warm_requests_refused_for_memory_total",
		Help: "Requests that waited for memory in vain, or were larger than what one may hold.",
	}, func() float64 { return float64(r.Stats().Refused) })
}

// handler serves the registry. The server compresses replies by itself.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true})
}

func (m *metrics) request(route string, l *requestLog, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(l.status)).Inc()
	m.latency.WithLabelValues(route).Observe(took.Seconds())
	if l.code != "" {
		m.errors.WithLabelValues(string(l.code)).Inc()
	}
}

// Scored implements score.Observer.
func (m *metrics) Scored(c *score.Call, reply *api.RewardResponse) {
	m.tokenize.Observe(c.Tokenize.Seconds())
	m.queue.Observe(c.Queue.Seconds())
	m.compute.Observe(c.Compute.Seconds())
	m.sequences.WithLabelValues(c.Model).Add(float64(c.Sequences))
	m.tokens.WithLabelValues(c.Model).Add(float64(c.Tokens))
	rewards := m.rewards.WithLabelValues(c.Model, reply.Revision, c.Mode)
	lengths := m.lengths.WithLabelValues(c.Model, reply.Revision)
	truncated := 0
	for i := range reply.Data {
		r := &reply.Data[i]
		if r.Error != nil {
			m.refused.WithLabelValues(c.Model, string(r.Error.Code)).Inc()
			continue
		}
		rewards.Observe(float64(r.Reward))
		lengths.Observe(float64(r.Tokens))
		if r.Truncated {
			truncated++
		}
		if r.Std != nil {
			m.spread.WithLabelValues(c.Model, reply.Revision).Observe(float64(*r.Std))
		}
		if r.Ensemble != nil {
			m.gap.WithLabelValues(c.Model,
				reply.Revision).Observe(math.Abs(float64(r.Reward) - float64(*r.Ensemble)))
		}
	}
	m.truncated.WithLabelValues(c.Model).Add(float64(truncated))
	m.drift.observe(c.Model, reply.Revision, c.Mode, reply.Data)
}

// Waiting implements score.Observer.
func (m *metrics) Waiting(change int) { m.held.Add(float64(change)) }

// Sampled implements score.Observer.
func (m *metrics) Sampled(s score.Sample) {
	m.samples.WithLabelValues(s.Model, s.Outcome).Inc()
	if s.Panic {
		m.panics.Inc()
	}
	if s.Outcome != score.SampleScored {
		return
	}
	gap, spread := m.gap.WithLabelValues(s.Model, s.Revision), m.spread.WithLabelValues(s.Model, s.Revision)
	for k := range s.Std {
		spread.Observe(s.Std[k])
		gap.Observe(s.Gap[k])
	}
	m.drift.spread(s.Model, s.Revision, s.Std)
}

// forget drops the metrics of a revision that nothing scores any more.
func (m *metrics) forget(model, revision string) {
	labels := prometheus.Labels{"model": model, "revision": revision}
	for _, h := range []*prometheus.HistogramVec{m.rewards, m.lengths, m.spread, m.gap} {
		h.DeletePartialMatch(labels)
	}
}

func (m *metrics) batch(b batch.Batch) {
	m.batchSeconds.WithLabelValues(b.Lane.Name()).Observe(b.Compute.Seconds())
	m.batchTokens.Observe(float64(b.Tokens))
	m.batchSequences.Observe(float64(b.Sequences))
	if b.Err != nil {
		m.batchErrors.Inc()
	}
}

func (m *metrics) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		m.connections.Inc()
	case http.StateClosed, http.StateHijacked:
		m.connections.Dec()
	}
}

// modelCollector describes the live models, as they are at a scrape.
type modelCollector struct{ models *live.Models }

var modelInfo = prometheus.NewDesc("warm_model_info", "1 for each live model, with what it is in its labels.",
	[]string{"model", "revision", "mode", "architecture"}, nil)

func (c modelCollector) Describe(ch chan<- *prometheus.Desc) { ch <- modelInfo }

func (c modelCollector) Collect(ch chan<- prometheus.Metric) {
	for _, i := range c.models.List() {
		ch <- prometheus.MustNewConstMetric(modelInfo, prometheus.GaugeValue, 1, i.ID, i.Revision,
			i.Mode, i.Architecture)
	}
}
