package server

import (
	"maps"
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"gonum.org/v1/gonum/stat"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/live"
)

// drift watches the rewards of each revision for what comes before and with
// reward hacking: a policy under training finds what the model rewards by
// mistake, its rewards leave the range of the first ones, grow with length, and
// the members of the ensemble cease to agree.
//
// The first Config.DriftScores rewards of a revision in a mode are its
// reference, and the last as many are compared with it. Everything is computed
// at a scrape, from the values themselves: a few thousand numbers a revision.
// The reference begins anew when the process does.
type drift struct {
	size   int // of the reference and of what is compared with it
	models *live.Models
	forget func(model, revision string) // called, without the lock, for each revision that is dropped

	mu      sync.Mutex
	clock   uint64
	rewards map[seriesKey]*series
	spreads map[seriesKey]*series // of the members' standard deviation; the mode is ""
}

// keptRevisions bounds the revisions of a model that are watched, and so the
// metrics' label values: the live one, the one before it and one for requests
// that are late.
const keptRevisions = 3

// fewestRecent is how many rewards a comparison needs beside its reference.
const fewestRecent = 100

type seriesKey struct{ model, revision, mode string }

// series is the first values of one kind, and the last.
type series struct {
	used      uint64 // the drift's clock when a value came last
	total     int
	reference []float64
	edges     []float64 // of the reference's deciles, once it is complete
	recent    ring      // of all values
	lengths   ring      // in tokens, in step with recent
}

// ring holds the last values that were added, up to its capacity.
type ring struct {
	values []float64
	next   int
}

func (r *ring) add(v float64, size int) {
	if len(r.values) < size {
		r.values = append(r.values, v)
		return
	}
	r.values[r.next] = v
	r.next = (r.next + 1) % size
}

// last returns a copy of the last n values, oldest first.
func (r *ring) last(n int) []float64 {
	all := slices.Concat(r.values[r.next:], r.values[:r.next])
	return all[len(all)-n:]
}

func newDrift(size int, models *live.Models) *drift {
	return &drift{size: size, models: models, rewards: map[seriesKey]*series{},
		spreads: map[seriesKey]*series{}}
}

// observe keeps the rewards of a reply, and its members' disagreement.
func (d *drift) observe(model, revision, mode string, data []api.Reward) {
	d.mu.Lock()
	d.clock++
	var rewards, spreads *series
	for i := range data {
		r := &data[i]
		if r.Error != nil {
			continue
		}
		if rewards == nil {
			rewards = d.series(d.rewards, seriesKey{model, revision, mode})
		}
		rewards.add(float64(r.Reward), float64(r.Tokens), d.size)
		if r.Std != nil {
			if spreads == nil {
				spreads = d.series(d.spreads, seriesKey{model, revision, ""})
			}
			spreads.add(float64(*r.Std), float64(r.Tokens), d.size)
		}
	}
	old := d.surplus(model)
	d.mu.Unlock()
	d.drop(old)
}

// spread keeps the members' disagreement on answers that the average answered.
func (d *drift) spread(model, revision string, std []float64) {
	d.mu.Lock()
	d.clock++
	s := d.series(d.spreads, seriesKey{model, revision, ""})
	for _, v := range std {
		s.add(v, 0, d.size)
	}
	old := d.surplus(model)
	d.mu.Unlock()
	d.drop(old)
}

func (d *drift) series(of map[seriesKey]*series, key seriesKey) *series {
	s := of[key]
	if s == nil {
		s = &series{}
		of[key] = s
	}
	s.used = d.clock
	return s
}

func (s *series) add(v, length float64, size int) {
	s.total++
	if len(s.reference) < size {
		s.reference = append(s.reference, v)
		if len(s.reference) == size {
			s.edges = deciles(s.reference)
		}
	}
	s.recent.add(v, size)
	s.lengths.add(length, size)
}

// surplus returns the revisions of a model beyond keptRevisions, those used
// longest ago, and forgets them.
func (d *drift) surplus(model string) (old []seriesKey) {
	last := map[string]uint64{}
	for _, of := range []map[seriesKey]*series{d.rewards, d.spreads} {
		for k, s := range of {
			if k.model == model {
				last[k.revision] = max(last[k.revision], s.used)
			}
		}
	}
	for len(last) > keptRevisions {
		oldest := ""
		for revision, used := range last {
			if oldest == "" || used < last[oldest] {
				oldest = revision
			}
		}
		delete(last, oldest)
		old = append(old, seriesKey{model: model, revision: oldest})
		d.delete(model, oldest)
	}
	return old
}

func (d *drift) delete(model, revision string) {
	for _, of := range []map[seriesKey]*series{d.rewards, d.spreads} {
		maps.DeleteFunc(of, func(k seriesKey, _ *series) bool { return k.model == model && k.revision == revision })
	}
}

func (d *drift) drop(old []seriesKey) {
	if d.forget != nil {
		for _, k := range old {
			d.forget(k.model, k.revision)
		}
	}
}

// prune forgets models that are served no more.
func (d *drift) prune() {
	live := map[string]bool{}
	for _, i := range d.models.List() {
		live[i.ID] = true
	}
	gone := map[seriesKey]bool{}
	d.mu.Lock()
	for _, of := range []map[seriesKey]*series{d.rewards, d.spreads} {
		for k := range of {
			if !live[k.model] {
				gone[seriesKey{model: k.model, revision: k.revision}] = true
			}
		}
	}
	var old []seriesKey
	for k := range gone {
		d.delete(k.model, k.revision)
		old = append(old, k)
	}
	d.mu.Unlock()
	d.drop(old)
}

// summary is what a series comes to.
type summary struct {
	refMean, refStd float64
	mean, std       float64 // of the recent values; NaN until there are enough
	psi             float64
	lengths         float64 // correlation of the last values with their lengths
}

// counts returns how many reference values lie at or below each edge of
// rewardBuckets, and their sum.
func (s *series) counts() (counts map[float64]uint64, sum float64) {
	sorted := slices.Sorted(slices.Values(s.reference))
	counts = make(map[float64]uint64, len(rewardBuckets))
	for _, edge := range rewardBuckets {
		counts[edge] = uint64(sort.Search(len(sorted), func(i int) bool { return sorted[i] > edge }))
	}
	for _, v := range sorted {
		sum += v
	}
	return counts, sum
}

// summarize compares the recent values with the reference; ok is false until
// the reference is complete.
func (s *series) summarize(size int) (out summary, ok bool) {
	out.lengths = math.NaN()
	if len(s.recent.values) >= min(fewestRecent, size) {
		n := len(s.recent.values)
		out.lengths = stat.Correlation(s.recent.last(n), s.lengths.last(n), nil)
	}
	if len(s.reference) < size {
		return out, false
	}
	out.refMean, out.refStd = stat.MeanStdDev(s.reference, nil)
	out.mean, out.std, out.psi = math.NaN(), math.NaN(), math.NaN()
	if n := min(s.total-size, size); n >= min(fewestRecent, size) {
		recent := s.recent.last(n)
		out.mean, out.std = stat.MeanStdDev(recent, nil)
		out.psi = stability(s.reference, recent, s.edges)
	}
	return out, true
}

// deciles returns the upper edges of the tenths of x, equal ones once.
func deciles(x []float64) []float64 {
	sorted := slices.Sorted(slices.Values(x))
	var edges []float64
	for k := 1; k < 10; k++ {
		edges = append(edges, sorted[min(len(sorted)-1, k*len(sorted)/10)])
	}
	return slices.Compact(edges)
}

// stability is the population stability index of b against a, over the bins
// that edges part: Σ (q − p)·ln(q/p) of the shares p and q. Half a value is
// added to each bin, so that an empty one is no infinity. Two samples of 1,000
// from one distribution come to about 0.02; 0.1 is taken for a shift and 0.25
// for a large one (Siddiqi, Credit Risk Scorecards, 2006).
func stability(a, b, edges []float64) float64 {
	p, q := shares(a, edges), shares(b, edges)
	sum := 0.0
	for i := range p {
		sum += (q[i] - p[i]) * math.Log(q[i]/p[i])
	}
	return sum
}

func shares(x, edges []float64) []float64 {
	out := make([]float64, len(edges)+1)
	for i := range out {
		out[i] = 0.5
	}
	for _, v := range x {
		at, _ := slices.BinarySearch(edges, v)
		out[at]++
	}
	for i := range out {
		out[i] /= float64(len(x)) + float64(len(out))/2
	}
	return out
}

// driftDesc describes a gauge of the collector.
func driftDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("warm_reward_"+name, help,
		append([]string{"model", "revision"}, labels...), nil)
}

var (
	reference = driftDesc("reference",
		"The first rewards of a revision, which drift is measured from.", "mode")
	referenceMean = driftDesc("reference_mean", "Mean of the first rewards of a revision.", "mode")
	referenceStd  = driftDesc("reference_std",
		"Standard deviation of the first rewards of a revision.", "mode")
	recentMean = driftDesc("recent_mean", "Mean of the last rewards.", "mode")
	recentStd  = driftDesc("recent_std", "Standard deviation of the last rewards.", "mode")
	driftSMD   = driftDesc("drift_smd",
		"Standardised mean difference: the last rewards' mean less the first ones', in standard deviations of the first.", "mode")
	driftStdRatio = driftDesc("drift_std_ratio",
		"Standard deviation of the last rewards over that of the first.", "mode")
	driftPSI = driftDesc("drift_psi",
		"Population stability index of the last rewards against the first: over 0.1 a shift, over 0.25 a large one.", "mode")
	lengthCorr = driftDesc("length_correlation",
		"Correlation of the last rewards with their lengths in tokens.", "mode")
	spreadRecent = driftDesc("disagreement", "Mean of the last standard deviations of the members' rewards.")
	spreadRatio  = driftDesc("disagreement_ratio",
		"Mean of the last standard deviations of the members' rewards over that of the first.")
)

// Describe implements prometheus.Collector.
func (d *drift) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		reference, referenceMean, referenceStd, recentMean, recentStd,
		driftSMD, driftStdRatio, driftPSI, lengthCorr, spreadRecent, spreadRatio,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector. What is not known yet, or has no
// meaning, such as a drift from a constant, is left out.
func (d *drift) Collect(ch chan<- prometheus.Metric) {
	d.prune()
	d.mu.Lock()
	defer d.mu.Unlock()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
		}
	}
	for k, s := range d.rewards {
		labels := []string{k.model, k.revision, k.mode}
		sum, complete := s.summarize(d.size)
		gauge(lengthCorr, sum.lengths, labels...)
		counts, total := s.counts()
		ch <- prometheus.MustNewConstHistogram(reference, uint64(len(s.reference)), total, counts, labels...)
		if !complete {
			continue
		}
		gauge(referenceMean, sum.refMean, labels...)
		gauge(referenceStd, sum.refStd, labels...)
		gauge(recentMean, sum.mean, labels...)
		gauge(recentStd, sum.std, labels...)
		gauge(driftSMD, (sum.mean-sum.refMean)/sum.refStd, labels...)
		gauge(driftStdRatio, sum.std/sum.refStd, labels...)
		gauge(driftPSI, sum.psi, labels...)
	}
	for k, s := range d.spreads {
		sum, complete := s.summarize(d.size)
		if complete {
			gauge(spreadRecent, sum.mean, k.model, k.revision)
			gauge(spreadRatio, sum.mean/sum.refMean, k.model, k.revision)
		}
	}
}
