package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/warmserve/warmserve/warm"
)

// bonSource is where the paper has these claims.
const bonSource = "section 5, best-of-N experiments"

// selector is a way to pick the best sample: by a single member, an average or an
// ensemble of m members. It has several candidates, such as each single member,
// whose results are averaged.
type selector struct {
	kind string // of the four below
	m    int
	// rewards of each candidate for all samples.
	rewards [][]float64
	// valid are the margins of each candidate on UKP.Valid.
	valid [][]float64
}

// The kinds of selectors.
const (
	kindSingle = "single RM"
	kindWA     = "WA"
	kindENS    = "ENS (mean)"
	kindMin    = "ENS (min)"
)

func (s *selector) String() string {
	if s.kind == kindSingle {
		return "single RM (mean over members)"
	}
	return fmt.Sprintf("%s, M = %d", s.kind, s.m)
}

// selectors lists the ways of one set of proxies.
func (p *bonProxies) selectors(ms []int) ([]selector, error) {
	single := selector{kind: kindSingle, m: 1}
	for _, member := range p.Members {
		single.add(member.Samples.Values(), member.Valid.Margins())
	}
	out := []selector{single}
	for _, m := range ms {
		wa, mean, least := selector{kind: kindWA, m: m}, selector{kind: kindENS, m: m}, selector{kind: kindMin, m: m}
		for _, a := range p.Averages {
			if len(a.Of) != m {
				continue
			}
			wa.add(a.Samples.Values(), a.Valid.Margins())
			for _, e := range []struct {
				to        *selector
				aggregate warm.Aggregate
			}{{&mean, warm.Mean}, {&least, warm.Min}} {
				samples, margins, err := p.ensemble(a.Of, e.aggregate)
				if err != nil {
					return nil, err
				}
				e.to.add(samples, margins)
			}
		}
		if len(wa.rewards) == 0 {
			return nil, fmt.Errorf("no average of %d members", m)
		}
		out = append(out, wa, mean, least)
	}
	return out, nil
}

func (s *selector) add(rewards, valid []float64) {
	s.rewards, s.valid = append(s.rewards, rewards), append(s.valid, valid)
}

// ensemble returns the rewards of an ensemble for all samples and its margins on
// UKP.Valid. The mean is that of raw rewards, as the paper has it; for the minimum
// each member is z-scored on the samples, because a Bradley–Terry loss leaves its
// shift open.
func (p *bonProxies) ensemble(of []int, aggregate warm.Aggregate) (samples, margins []float64, err error) {
	e := warm.Ensemble{Aggregate: aggregate}
	var all, chosen, rejected []Rewards
	for _, k := range of {
		member := p.Members[k]
		all, chosen, rejected = append(all, member.Samples), append(chosen, member.Valid.Chosen), append(rejected, member.Valid.Rejected)
		if aggregate == warm.Mean {
			continue
		}
		c, err := warm.Calibrate(member.Samples)
		if err != nil {
			return nil, nil, err
		}
		e.Calibration = append(e.Calibration, c)
	}
	var sides [3][]float64
	for i, members := range [][]Rewards{all, chosen, rejected} {
		scores := make([]float32, len(of))
		for j := range members[0] {
			for k := range scores {
				scores[k] = members[k][j]
			}
			r, _, err := e.Reward(scores)
			if err != nil {
				return nil, nil, err
			}
			sides[i] = append(sides[i], r)
		}
	}
	for i, c := range sides[1] {
		margins = append(margins, c-sides[2][i])
	}
	return sides[0], margins, nil
}

// gains are values less their mean among the samples of their prompt, in standard
// deviations of all values: what a pick is better than a random sample.
func gains(values []float64, each int) []float64 {
	_, std := meanStd(values)
	out := make([]float64, len(values))
	for lo := 0; lo < len(values); lo += each {
		mean, _ := meanStd(values[lo : lo+each])
		for i := lo; i < lo+each; i++ {
			if std > 0 {
				out[i] = (values[i] - mean) / std
			}
		}
	}
	return out
}

// meanStd returns the mean and the population's standard deviation.
func meanStd(values []float64) (mean, std float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		std += (v - mean) * (v - mean) / float64(len(values))
	}
	return mean, math.Sqrt(std)
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
	p := picked{control: make([]float64, prompts), own: make([]float64, prompts), tokens: make([]float64, prompts)}
	share := 1 / float64(len(s.rewards))
	for _, rewards := range s.rewards {
		own := gains(rewards, each)
		var odds [][]float64
		for i := range prompts {
			lo, hi := i*each, (i+1)*each
			q := selection(rewards[lo:hi], n)
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
func (a picked) against(b picked, each int, control []float64) []outcomes {
	out := make([]outcomes, len(a.control))
	share := 1 / float64(len(a.odds)*len(b.odds))
	for _, p := range a.odds {
		for _, q := range b.odds {
			for i := range out {
				o := duel(p[i], q[i], control[i*each:(i+1)*each])
				out[i].win += share * o.win
				out[i].tie += share * o.tie
				out[i].loss += share * o.loss
			}
		}
	}
	return out
}

// check reports measurements that cannot be.
func (m *bonMeasured) check() error {
	prompts := len(m.Unseen)
	if prompts == 0 || m.Samples < 1 || len(m.N) == 0 || len(m.Ms) == 0 || len(m.Proxies) == 0 {
		return errors.New("nothing was measured")
	}
	all := prompts * m.Samples
	if len(m.Control) != all || len(m.Tokens) != all || m.Valid == nil || len(m.Valid.Chosen) != len(m.Groups) {
		return fmt.Errorf("%d prompts of %d samples, %d rewards by the control, %d lengths", prompts, m.Samples, len(m.Control), len(m.Tokens))
	}
	for _, n := range m.N {
		if n < 1 || n > m.Samples {
			return fmt.Errorf("best of %d among %d samples", n, m.Samples)
		}
	}
	for _, p := range m.Proxies {
		each := make([]bonProxy, 0, len(p.Members)+len(p.Averages))
		each = append(each, p.Members...)
		for _, a := range p.Averages {
			each = append(each, a.bonProxy)
			for _, k := range a.Of {
				if k < 0 || k >= len(p.Members) {
					return fmt.Errorf("an average of member %d of %d", k, len(p.Members))
				}
			}
		}
		for _, b := range each {
			if len(b.Samples) != all || b.Valid == nil || len(b.Valid.Chosen) != len(m.Groups) || len(b.Valid.Rejected) != len(m.Groups) {
				return fmt.Errorf("%d rewards of %d samples", len(b.Samples), all)
			}
		}
	}
	return nil
}

// analyseBestOfN computes the findings.
func analyseBestOfN(measured []byte) (*Findings, error) {
	m := &bonMeasured{}
	if err := json.Unmarshal(measured, m); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	r := &bonReport{bonMeasured: m, f: &Findings{}}
	if err := r.accuracy(kindControl, "gold, all debates", selector{valid: [][]float64{m.Valid.Margins()}}); err != nil {
		return nil, err
	}
	for i := range m.Proxies {
		if err := r.proxies(&m.Proxies[i]); err != nil {
			return nil, err
		}
	}
	return r.finish(), nil
}
