package bestofn

import (
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
	"github.com/warmserve/warmserve/warm"
)

// source is where the paper has these claims.
const source = "section 5, best-of-N experiments"

// selector is a way to pick the best sample: by a single member, an average or an
// ensemble of m members. It has several candidates, such as each single member,
// whose results are averaged.
type selector struct {
	kind       string // of the four below
	m          int
	candidates []candidate
}

// candidate is what one judge says: its rewards for all samples, and its margins on
// the pairs of these names.
type candidate struct{ samples, valid, fresh []float64 }

func (b *proxy) candidate() candidate {
	c := candidate{samples: b.Samples.Values(), valid: b.Valid.Margins()}
	if b.Fresh != nil {
		c.fresh = b.Fresh.Margins()
	}
	return c
}

func (s *selector) String() string {
	if s.kind == contest.KindSingle {
		return "single RM (mean over members)"
	}
	return fmt.Sprintf("%s, M = %d", s.kind, s.m)
}

// selectors lists the ways of one set of proxies.
func (p *proxies) selectors(ms []int) ([]selector, error) {
	single := selector{kind: contest.KindSingle, m: 1}
	for i := range p.Members {
		single.candidates = append(single.candidates, p.Members[i].candidate())
	}
	out := []selector{single}
	for _, m := range ms {
		wa, mean, least := selector{kind: contest.KindWA, m: m}, selector{kind: contest.KindENS, m: m},
			selector{kind: contest.KindMin, m: m}
		for _, a := range p.Averages {
			if len(a.Of) != m {
				continue
			}
			wa.candidates = append(wa.candidates, a.candidate())
			for _, e := range []struct {
				to        *selector
				aggregate warm.Aggregate
			}{{&mean, warm.Mean}, {&least, warm.Min}} {
				c, err := p.ensemble(a.Of, e.aggregate)
				if err != nil {
					return nil, err
				}
				e.to.candidates = append(e.to.candidates, c)
			}
		}
		if len(wa.candidates) == 0 {
			return nil, fmt.Errorf("no average of %d members", m)
		}
		out = append(out, wa, mean, least)
	}
	return out, nil
}

// ensemble is the ensemble of some members. The mean is that of raw rewards, as the
// paper has it; for the minimum each member is z-scored on the samples, because a
// Bradley–Terry loss leaves its shift open.
func (p *proxies) ensemble(of []int, aggregate warm.Aggregate) (c candidate, err error) {
	e := warm.Ensemble{Aggregate: aggregate}
	var samples []lab.Rewards
	var valid, fresh []*lab.Scored
	for _, k := range of {
		m := &p.Members[k]
		samples, valid = append(samples, m.Samples), append(valid, m.Valid)
		if m.Fresh != nil {
			fresh = append(fresh, m.Fresh)
		}
		if aggregate != warm.Mean {
			calibration, err := warm.Calibrate(m.Samples)
			if err != nil {
				return c, err
			}
			e.Calibration = append(e.Calibration, calibration)
		}
	}
	if c.samples, err = aggregated(e, samples); err != nil {
		return c, err
	}
	if c.valid, err = pairMargins(e, valid); err != nil || fresh == nil {
		return c, err
	}
	c.fresh, err = pairMargins(e, fresh)
	return c, err
}

// aggregated are the rewards of an ensemble for texts, of the members' rewards.
func aggregated(e warm.Ensemble, members []lab.Rewards) ([]float64, error) {
	out := make([]float64, len(members[0]))
	scores := make([]float32, len(members))
	for i := range out {
		for k, m := range members {
			scores[k] = m[i]
		}
		var err error
		if out[i], _, err = e.Reward(scores); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// pairMargins are the margins of an ensemble on pairs.
func pairMargins(e warm.Ensemble, members []*lab.Scored) ([]float64, error) {
	var chosen, rejected []lab.Rewards
	for _, m := range members {
		chosen, rejected = append(chosen, m.Chosen), append(rejected, m.Rejected)
	}
	out, err := aggregated(e, chosen)
	if err != nil {
		return nil, err
	}
	less, err := aggregated(e, rejected)
	for i, v := range less {
		out[i] -= v
	}
	return out, err
}

// gains are values less their mean among the samples of their prompt, in standard
// deviations of all values: what a pick is better than a random sample.
func gains(values []float64, each int) []float64 {
	_, std := contest.MeanStd(values)
	out := make([]float64, len(values))
	for lo := 0; lo < len(values); lo += each {
		mean, _ := contest.MeanStd(values[lo : lo+each])
		for i := lo; i < lo+each; i++ {
			if std > 0 {
				out[i] = (values[i] - mean) / std
			}
		}
	}
	return out
}

// picked is what a selector's picks among n are worth, of each prompt and averaged
// over the candidates.
type picked struct {
	control []float64     // gain in control reward
	own     []float64     // gain in the selector's own reward
	tokens  []float64     // length
	odds    [][][]float64 // of each candidate and prompt, the selection
}

func (s *selector) pick(n, each int, control, tokens []float64) picked {
	prompts := len(control) / each
	p := picked{control: make([]float64, prompts), own: make([]float64, prompts),
		tokens: make([]float64, prompts)}
	share := 1 / float64(len(s.candidates))
	for _, c := range s.candidates {
		own := gains(c.samples, each)
		var odds [][]float64
		for i := range prompts {
			lo, hi := i*each, (i+1)*each
			q := selection(c.samples[lo:hi], n)
			p.control[i] += share * expected(q, control[lo:hi])
			p.own[i] += share * expected(q, own[lo:hi])
			p.tokens[i] += share * expected(q, tokens[lo:hi])
			odds = append(odds, q)
		}
		p.odds = append(p.odds, odds)
	}
	return p
}

// against returns the outcomes of a's picks against b's for each prompt, averaged
// over all pairs of candidates.
func (a picked) against(b picked, each int, control []float64) []contest.Outcomes {
	out := make([]contest.Outcomes, len(a.control))
	share := 1 / float64(len(a.odds)*len(b.odds))
	for _, p := range a.odds {
		for _, q := range b.odds {
			for i := range out {
				o := contest.Duel(p[i], q[i], control[i*each:(i+1)*each])
				out[i].Win += share * o.Win
				out[i].Tie += share * o.Tie
				out[i].Loss += share * o.Loss
			}
		}
	}
	return out
}

// check reports measurements that cannot be.
func (m *measurements) check() error {
	prompts := len(m.Unseen)
	if prompts == 0 || m.Samples < 1 || len(m.N) == 0 || len(m.Ms) == 0 || len(m.Proxies) == 0 ||
		len(m.Groups) == 0 {
		return errors.New("nothing was measured")
	}
	all := prompts * m.Samples
	if len(m.Control) != all || len(m.Tokens) != all || m.Valid == nil ||
		!fits(m.Valid, len(m.Groups)) || !fits(m.Fresh, len(m.FreshGroups)) {
		return fmt.Errorf("%d prompts of %d samples, %d rewards by the control, %d lengths, or others than of %d and %d pairs", prompts, m.Samples,
			len(m.Control), len(m.Tokens), len(m.Groups), len(m.FreshGroups))
	}
	for i, n := range m.N {
		if n < 1 || n > m.Samples {
			return fmt.Errorf("best of %d among %d samples", n, m.Samples)
		}
		if i > 0 && n <= m.N[i-1] {
			return fmt.Errorf("best of %d behind best of %d", n, m.N[i-1])
		}
	}
	for _, p := range m.Proxies {
		each := make([]proxy, 0, len(p.Members)+len(p.Averages))
		each = append(each, p.Members...)
		for _, a := range p.Averages {
			each = append(each, a.proxy)
			for _, k := range a.Of {
				if k < 0 || k >= len(p.Members) {
					return fmt.Errorf("an average of member %d of %d", k, len(p.Members))
				}
			}
		}
		for _, b := range each {
			if len(b.Samples) != all || !fits(b.Valid, len(m.Groups)) || !fits(b.Fresh, len(m.FreshGroups)) {
				return fmt.Errorf("%d rewards of %d samples, or others than of %d and %d pairs",
					len(b.Samples),
					all, len(m.Groups), len(m.FreshGroups))
			}
		}
	}
	return nil
}

// fits says whether there are rewards of so many pairs; none are as good as nil.
func fits(s *lab.Scored, pairs int) bool {
	if s == nil {
		return pairs == 0
	}
	return len(s.Chosen) == pairs && len(s.Rejected) == pairs
}

// analyse computes the findings.
var analyse = lab.Analysis(func(m *measurements) (*lab.Findings, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	r := &report{measurements: m, f: &lab.Findings{}}
	control := proxy{Samples: m.Control, Valid: m.Valid, Fresh: m.Fresh}
	learned := "gold, all debates"
	if m.Halves {
		learned = "gold, the other debates"
	}
	r.accuracy(kindControl, learned, []candidate{control.candidate()})
	for i := range m.Proxies {
		if err := r.proxies(&m.Proxies[i]); err != nil {
			return nil, err
		}
	}
	return r.finish(), nil
})
