package lab

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/warm"
)

// method is a way to turn members into one judge.
type method struct {
	name string
	// values are, for each pair of a part, how far the method is right there, in
	// [0, 1].
	values func(r *methods, p part) ([]float64, error)
}

// part is what a method is judged by: pairs of a test.
type part struct {
	name, title string
	test        int
	// index are the test's pairs that count; nil for all.
	index []int
	// swapped counts a pair as fit when it is ranked against gold.
	swapped  bool
	clusters []string
	// calibration are the members' rewards on the validation pairs.
	calibration []warm.Calibration
}

// right is 1 for each pair of the part that margins rank as the part asks.
func (p *part) right(margins []float64) []float64 {
	if p.index != nil {
		chosen := make([]float64, len(p.index))
		for i, at := range p.index {
			chosen[i] = margins[at]
		}
		margins = chosen
	} else {
		margins = slices.Clone(margins)
	}
	if p.swapped {
		for i := range margins {
			margins[i] = -margins[i]
		}
	}
	return wins(margins)
}

// ensembled are the margins of an ensemble of some of the members.
func ensembled(members []Scored, places []int, e warm.Ensemble) ([]float64, error) {
	some := pick(members, places)
	if e.Calibration != nil {
		e.Calibration = pick(e.Calibration, places)
	}
	n := len(some[0].Chosen)
	out := make([]float64, n)
	scores := make([]float32, len(some))
	for i := range n {
		var both [2]float64
		for side := range both {
			for k := range some {
				scores[k] = some[k].Chosen[i]
				if side == 1 {
					scores[k] = some[k].Rejected[i]
				}
			}
			var err error
			if both[side], _, err = e.Reward(scores); err != nil {
				return nil, fmt.Errorf("pair %d: %w", i, err)
			}
		}
		out[i] = both[0] - both[1]
	}
	return out, nil
}

// everyone are the places of all of m members.
func everyone(m int) []int { return orders(m, 1, 0)[0] }

// single is the mean over the members, each alone.
func single(r *methods, p part) ([]float64, error) {
	var sum []float64
	for i := range r.Members {
		v := p.right(r.Members[i].Margins())
		if sum == nil {
			sum = make([]float64, len(v))
		}
		for j := range v {
			sum[j] += v[j] / float64(len(r.Members))
		}
	}
	return sum, nil
}

// average is the weight average of all members.
func average(r *methods, p part) ([]float64, error) {
	for _, a := range r.Averages {
		if len(a.Members) == len(r.Members) {
			return p.right(a.Margins.Values()), nil
		}
	}
	return nil, fmt.Errorf("no average of all %d members", len(r.Members))
}

// ensemble is an ensemble of all members, each z-scored first when it is
// calibrated.
func ensemble(a warm.Aggregate, lambda float64, calibrated bool) func(*methods, part) ([]float64, error) {
	return func(r *methods, p part) ([]float64, error) {
		e := warm.Ensemble{Aggregate: a, Lambda: lambda}
		if calibrated {
			e.Calibration = p.calibration
		}
		margins, err := ensembled(r.Members, everyone(len(r.Members)), e)
		if err != nil {
			return nil, err
		}
		return p.right(margins), nil
	}
}

// The methods that verdicts compare.
var (
	methodSingle = method{"member alone, mean", single}
	methodEMA    = method{"moving average of one run", func(r *methods, p part) ([]float64, error) { return p.right(r.EMA.Values()), nil }}
	methodWA     = method{"WA", average}
	methodENS    = method{"ENS mean", ensemble(warm.Mean, 0, false)}
)

// allMethods are the rows of the tables. z: members z-scored on the validation
// pairs first.
var allMethods = []method{methodSingle, methodEMA, methodWA, methodENS,
	{"ENS mean, z", ensemble(warm.Mean, 0, true)},
	{"ENS median, z", ensemble(warm.Median, 0, true)},
	{"ENS min, z", ensemble(warm.Min, 0, true)},
	{"ENS mean − std, z", ensemble(warm.MeanMinusStd, 1, true)},
	{"ENS mean − var, z", ensemble(warm.MeanMinusVar, 1, true)},
}

// Names of parts.
const (
	partRight = "right"
	partWrong = "wrong"
)

// parts are what a condition is judged by.
func (c *condition) parts(tests []test) ([]part, error) {
	if len(c.Results) != len(tests) {
		return nil, fmt.Errorf("%s: %d results, want %d", c.Name, len(c.Results), len(tests))
	}
	var calibration []warm.Calibration
	for i := range c.Results[slices.IndexFunc(tests, func(t test) bool { return t.Name == testValid })].Members {
		valid := &c.Results[1].Members[i]
		one, err := warm.Calibrate(slices.Concat(valid.Chosen, valid.Rejected))
		if err != nil {
			return nil, fmt.Errorf("%s: member %d: %w", c.Name, i+1, err)
		}
		calibration = append(calibration, one)
	}
	var right []int
	for i := range tests[0].Clusters {
		if _, wrong := slices.BinarySearch(c.Wrong, i); !wrong {
			right = append(right, i)
		}
	}
	out := []part{{name: partRight, title: "training pairs with right labels: accuracy", index: right}}
	if len(c.Wrong) > 0 {
		out = append(out, part{name: partWrong, title: "training pairs with wrong labels: memorised, that is ranked as labelled", index: c.Wrong, swapped: true})
	}
	for i, t := range tests[1:] {
		title := map[string]string{testValid: "in distribution: accuracy", testNear: "unseen debates: accuracy", testFar: "ETHICS, utilitarianism, another kind of preference: accuracy"}[t.Name]
		out = append(out, part{name: t.Name, title: title, test: i + 1})
	}
	for i := range out {
		p := &out[i]
		p.clusters, p.calibration = tests[p.test].Clusters, calibration
		if p.index != nil {
			if p.index[len(p.index)-1] >= len(p.clusters) {
				return nil, fmt.Errorf("%s: wrong pair %d of %d", c.Name, p.index[len(p.index)-1], len(p.clusters))
			}
			p.clusters = nil
			for _, at := range out[i].index {
				p.clusters = append(p.clusters, tests[0].Clusters[at])
			}
		}
		r, n := &c.Results[p.test], len(tests[p.test].Clusters)
		if err := r.check(n); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.Name, p.name, err)
		}
		if len(r.EMA) != n {
			return nil, fmt.Errorf("%s: %s: %d margins of the moving average, want %d", c.Name, p.name, len(r.EMA), n)
		}
	}
	return out, nil
}

// check reports scores that do not fit n pairs.
func (r *methods) check(n int) error {
	for i, s := range r.Members {
		if len(s.Chosen) != n || len(s.Rejected) != n {
			return fmt.Errorf("member %d: %d and %d rewards, want %d", i+1, len(s.Chosen), len(s.Rejected), n)
		}
	}
	for _, a := range r.Averages {
		if len(a.Margins) != n || len(a.Members) == 0 || slices.Max(a.Members) >= len(r.Members) || slices.Min(a.Members) < 0 {
			return fmt.Errorf("average of %v: %d margins, want %d of %d members", a.Members, len(a.Margins), n, len(r.Members))
		}
	}
	if len(r.Members) == 0 {
		return errors.New("no members")
	}
	return nil
}

// find returns the part of a name.
func find(parts []part, name string) (part, bool) {
	i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
	if i < 0 {
		return part{}, false
	}
	return parts[i], true
}

// against estimates how much more right one method is than another.
func (c *condition) against(p part, a, b method) (Estimate, error) {
	x, err := a.values(&c.Results[p.test], p)
	if err != nil {
		return Estimate{}, err
	}
	y, err := b.values(&c.Results[p.test], p)
	if err != nil {
		return Estimate{}, err
	}
	for i := range x {
		x[i] -= y[i]
	}
	return Mean(x, p.clusters)
}

// bySize estimates, for each number of members, WA − ENS (mean) averaged over the
// sets of members of that size.
func (c *condition) bySize(p part) (Series, error) {
	r := &c.Results[p.test]
	differences := map[int][]float64{1: make([]float64, len(p.clusters))} // a model is its own average
	number := map[int]float64{1: 1}
	for _, a := range r.Averages {
		margins, err := ensembled(r.Members, a.Members, warm.Ensemble{})
		if err != nil {
			return Series{}, err
		}
		m := len(a.Members)
		if differences[m] == nil {
			differences[m] = make([]float64, len(p.clusters))
		}
		ens := p.right(margins)
		for i, w := range p.right(a.Margins.Values()) {
			differences[m][i] += w - ens[i]
		}
		number[m]++
	}
	s := Series{Label: c.Name}
	for m := 1; m <= len(r.Members); m++ {
		if differences[m] == nil {
			continue
		}
		for i := range differences[m] {
			differences[m][i] /= number[m]
		}
		e, err := Mean(differences[m], p.clusters)
		if err != nil {
			return s, err
		}
		s.X, s.Y = append(s.X, float64(m)), append(s.Y, e.Value)
		s.Low, s.High = append(s.Low, e.Low), append(s.High, e.High)
	}
	return s.scaled(100), nil
}

// about tells an equality: seen when the difference lies within the tolerance,
// contradicted when it lies outside of it.
func about(difference Estimate) Outcome {
	switch {
	case difference.Low >= -tolerance && difference.High <= tolerance:
		return Seen
	case difference.Low > tolerance || difference.High < -tolerance:
		return Contradicted
	}
	return Unclear
}

// focus is the corrupted condition nearest to the paper's share of a quarter.
func (m *corruptionMeasured) focus() *condition {
	var best *condition
	for i := range m.Conditions {
		c := &m.Conditions[i]
		if c.Share > 0 && (best == nil || math.Abs(c.Share-0.25) < math.Abs(best.Share-0.25)) {
			best = c
		}
	}
	return best
}
