package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/eval"
)

// rlSource is where the paper has these claims.
const rlSource = "section 5, RL experiments"

// scale turns rewards into z-scores of the policy's answers before any step.
type scale struct{ mean, std float64 }

func newScale(r Rewards) (scale, error) {
	mean, std := meanStd(r.Values())
	if !(std > 0) { // also NaN
		return scale{}, errors.New("all rewards of the policy's answers are the same")
	}
	return scale{mean, std}, nil
}

func (s scale) z(v float64) float64 { return (v - s.mean) / s.std }

// tuned are the fine-tunings by one kind of proxy with one coefficient.
type tuned struct {
	kind string
	runs []*rlRun
	// control and own are gains over the start in the control's and the proxies' own
	// rewards, of each checkpoint and prompt, averaged over answers and runs, in
	// standard deviations. The first checkpoint is the start, where all are 0.
	control, own [][]float64
	steps        []int // of the checkpoints
}

// gap is by how much the own reward outran the control's, of each prompt at the
// last checkpoint.
func (t *tuned) gap() []float64 {
	k := len(t.steps) - 1
	out := make([]float64, len(t.control[k]))
	for i := range out {
		out[i] = t.own[k][i] - t.control[k][i]
	}
	return out
}

// fall is by how much the mean control gain of some prompts ends below the best
// that it was.
func (t *tuned) fall(prompts []int) float64 {
	best, last := 0.0, 0.0
	for k := range t.steps {
		last = 0
		for _, i := range prompts {
			last += t.control[k][i] / float64(len(prompts))
		}
		if k == 0 || last > best {
			best = last
		}
	}
	return best - last
}

// rlReport turns measurements into findings.
type rlReport struct {
	*rlMeasured
	f       *Findings
	control scale
	proxies map[string]scale
	start   map[string][]float64 // z-scores before any step of each prompt, by proxy; "" is the control
	values  [][]string
	matches [][]string
	each    [][]string
}

// check reports measurements that cannot be.
func (m *rlMeasured) check() error {
	all := len(m.Unseen) * m.Judged
	if all == 0 || len(m.Runs) == 0 {
		return errors.New("nothing was measured")
	}
	fits := func(what string, j rlJudged) error {
		if len(j.Control) != all || len(j.Tokens) != all {
			return fmt.Errorf("%s: %d rewards by the control, %d lengths of %d answers", what, len(j.Control), len(j.Tokens), all)
		}
		return nil
	}
	if err := fits("start", m.Start); err != nil {
		return err
	}
	named := map[string]bool{}
	for _, p := range m.Proxies {
		if named[p.Name] = true; len(p.Start) != all {
			return fmt.Errorf("%s: %d rewards of %d answers", p.Name, len(p.Start), all)
		}
	}
	for _, r := range m.Runs {
		if !named[r.Proxy] {
			return fmt.Errorf("proxy %s has not judged the start", r.Proxy)
		}
		if len(r.Judged) == 0 || len(r.Judged) != len(m.Runs[0].Judged) || len(r.Steps) == 0 || len(r.Steps) != len(m.Runs[0].Steps) {
			return fmt.Errorf("%s, seed %d: %d steps, %d checkpoints, unlike the first run", r.Proxy, r.Seed, len(r.Steps), len(r.Judged))
		}
		for _, j := range r.Judged {
			if err := fits(fmt.Sprintf("%s, seed %d, step %d", r.Proxy, r.Seed, j.Step), j); err != nil {
				return err
			}
			if len(j.Proxy) != all || j.Step < 1 || j.Step > len(r.Steps) {
				return fmt.Errorf("%s, seed %d: %d rewards of %d answers after step %d", r.Proxy, r.Seed, len(j.Proxy), all, j.Step)
			}
		}
	}
	return nil
}

// analyseRL computes the findings.
func analyseRL(measured []byte) (*Findings, error) {
	m := &rlMeasured{}
	if err := json.Unmarshal(measured, m); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	r := &rlReport{rlMeasured: m, f: &Findings{}, proxies: map[string]scale{}, start: map[string][]float64{}}
	var err error
	if r.control, err = newScale(m.Start.Control); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	r.start[""] = r.perPrompt(m.Start.Control, r.control)
	for _, p := range m.Proxies {
		if r.proxies[p.Name], err = newScale(p.Start); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		r.start[p.Name] = r.perPrompt(p.Start, r.proxies[p.Name])
	}
	var coefficients []float64
	for _, run := range m.Runs {
		if !slices.Contains(coefficients, run.KL) {
			coefficients = append(coefficients, run.KL)
		}
	}
	for _, kl := range coefficients {
		if err := r.coefficient(kl, len(coefficients) > 1); err != nil {
			return nil, err
		}
	}
	return r.finish(), nil
}

// perPrompt are the mean z-scores of each prompt's answers.
func (r *rlReport) perPrompt(rewards Rewards, s scale) []float64 {
	out := make([]float64, len(r.Unseen))
	for i, v := range rewards {
		out[i/r.Judged] += s.z(float64(v)) / float64(r.Judged)
	}
	return out
}

// tunings gathers the runs of a coefficient, in the order of their kinds.
func (r *rlReport) tunings(kl float64) ([]*tuned, error) {
	var out []*tuned
	for _, kind := range []string{kindSingle, kindENS, kindWA} {
		t := &tuned{kind: kind, steps: []int{0}, control: [][]float64{make([]float64, len(r.Unseen))}, own: [][]float64{make([]float64, len(r.Unseen))}}
		for i := range r.Runs {
			if run := &r.Runs[i]; run.Kind == kind && run.KL == kl {
				t.runs = append(t.runs, run)
			}
		}
		if len(t.runs) == 0 {
			return nil, fmt.Errorf("no run by %s with coefficient %v", kind, kl)
		}
		for k, j := range t.runs[0].Judged {
			t.steps = append(t.steps, j.Step)
			control, own := make([]float64, len(r.Unseen)), make([]float64, len(r.Unseen))
			for _, run := range t.runs {
				if run.Judged[k].Step != j.Step {
					return nil, fmt.Errorf("%s: checkpoints after steps %d and %d", kind, j.Step, run.Judged[k].Step)
				}
				c := r.perPrompt(run.Judged[k].Control, r.control)
				o := r.perPrompt(run.Judged[k].Proxy, r.proxies[run.Proxy])
				for i := range control {
					control[i] += (c[i] - r.start[""][i]) / float64(len(t.runs))
					own[i] += (o[i] - r.start[run.Proxy][i]) / float64(len(t.runs))
				}
			}
			t.control, t.own = append(t.control, control), append(t.own, own)
		}
		out = append(out, t)
	}
	return out, nil
}

// coefficient adds what the runs of one coefficient show.
func (r *rlReport) coefficient(kl float64, several bool) error {
	all, err := r.tunings(kl)
	if err != nil {
		return err
	}
	for _, t := range all {
		if err := r.row(t, kl); err != nil {
			return err
		}
		r.seeds(t, kl)
	}
	suffix, where := "", ""
	if several {
		suffix, where = fmt.Sprintf("-kl%g", kl), fmt.Sprintf("; KL coefficient %g", kl)
	}
	if err := r.figures(all, suffix, kl); err != nil {
		return err
	}
	return r.verdicts(all[0], all[1], all[2], where, kl)
}

// duels are the outcomes of one policy's last answers against another's, of each
// prompt and pair of runs with one seed. No order is involved: the control scores
// every answer by itself.
func (r *rlReport) duels(a, b []Rewards) (out []outcomes, prompts []string) {
	n := r.Judged
	p, q := make([]float64, 2*n), make([]float64, 2*n)
	for i := range n {
		p[i], q[n+i] = 1/float64(n), 1/float64(n)
	}
	for k := range a {
		x, y := a[k].Values(), b[k].Values()
		for i := range r.Unseen {
			out = append(out, duel(p, q, slices.Concat(x[i*n:][:n], y[i*n:][:n])))
			prompts = append(prompts, fmt.Sprint(i))
		}
	}
	return out, prompts
}

// last are the control's rewards for the last checkpoint of each run.
func (t *tuned) last() []Rewards {
	var out []Rewards
	for _, r := range t.runs {
		out = append(out, r.Judged[len(r.Judged)-1].Control)
	}
	return out
}

// match adds the outcomes of a match and returns the win rate.
func (r *rlReport) match(name string, kl float64, a, b []Rewards) (Estimate, error) {
	if len(a) != len(b) {
		return Estimate{}, fmt.Errorf("%s: %d and %d runs", name, len(a), len(b))
	}
	results, prompts := r.duels(a, b)
	half := make([]float64, len(results))
	var mean outcomes
	for i, o := range results {
		half[i] = o.half()
		mean.win += o.win / float64(len(results))
		mean.tie += o.tie / float64(len(results))
		mean.loss += o.loss / float64(len(results))
	}
	e, err := Mean(half, prompts)
	if err == nil {
		r.matches = append(r.matches, []string{fmt.Sprint(kl), name, percent(mean.win), percent(mean.tie), percent(mean.loss), e.Percent()})
	}
	return e, err
}

// verdicts compares WA with the others.
func (r *rlReport) verdicts(single, ens, wa *tuned, where string, kl float64) error {
	start := make([]Rewards, len(wa.runs))
	for i := range start {
		start[i] = r.Start.Control
	}
	add := func(claim string, seen Outcome, figures string) {
		r.f.Verdicts = append(r.f.Verdicts, Verdict{Claim: claim + where, Source: rlSource, Seen: seen, Figures: figures})
	}
	for _, m := range []struct {
		name  string
		a, b  []Rewards
		claim string
	}{
		{"WA against single RM", wa.last(), single.last(), fmt.Sprintf("A policy fine-tuned by WA, M = %d, wins against one fine-tuned by a single reward model (the paper: 79.4 %%)", r.M)},
		{"WA against ENS", wa.last(), ens.last(), fmt.Sprintf("A policy fine-tuned by WA wins against one fine-tuned by ENS, M = %d", r.M)},
		{"WA against the policy before", wa.last(), start, ""},
		{"ENS against the policy before", ens.last(), start, ""},
		{"single RM against the policy before", single.last(), start, ""},
	} {
		e, err := r.match(m.name, kl, m.a, m.b)
		if err != nil {
			return err
		}
		if m.claim != "" {
			centred := Estimate{e.Value - 0.5, e.Low - 0.5, e.High - 0.5}
			add(m.claim, centred.Judge(), fmt.Sprintf("win rate %s %%, judged by the control", e.Percent()))
		}
	}
	difference := single.gap()
	for i, g := range wa.gap() {
		difference[i] -= g
	}
	d, err := Mean(difference, nil)
	if err != nil {
		return err
	}
	add("The reward that is optimised outruns the control reward less with WA than with a single reward model", d.Judge(),
		fmt.Sprintf("the gap at the end is smaller by %s standard deviations", deviations(d)))
	f, err := r.statistic(func(prompts []int) float64 { return single.fall(prompts) - wa.fall(prompts) })
	if err != nil {
		return err
	}
	s, err := r.statistic(single.fall)
	if err != nil {
		return err
	}
	add("Reward hacking is slower with WA: the control reward falls less from its best than with a single reward model", f.Judge(),
		fmt.Sprintf("it falls by %s standard deviations with a single reward model, and by %s less with WA", deviations(s), deviations(f)))
	return nil
}

// statistic estimates a statistic of prompts.
func (r *rlReport) statistic(f func(prompts []int) float64) (Estimate, error) {
	all := make([]int, len(r.Unseen))
	for i := range all {
		all[i] = i
	}
	in, err := eval.Bootstrap(len(all), f, eval.Resampling{Resamples: resamples, Seed: 1})
	return Estimate{f(all), in.Low, in.High}, err
}
