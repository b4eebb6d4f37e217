package rl

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
)

// source is where the paper has these claims.
const source = "section 5, RL experiments"

// scale turns rewards into z-scores of the policy's answers before any step.
type scale struct{ mean, std float64 }

func newScale(r lab.Rewards) (scale, error) {
	mean, std := contest.MeanStd(r.Values())
	if !(std > 0) { // also NaN
		return scale{}, errors.New("all rewards of the policy's answers are the same")
	}
	return scale{mean, std}, nil
}

func (s scale) z(v float64) float64 { return (v - s.mean) / s.std }

// tuned are the fine-tunings by one kind of proxy with one coefficient.
type tuned struct {
	kind string
	runs []*fineTuning
	// control and own are the mean z-scores by the control and by the run's own proxy,
	// of each checkpoint and run: gains over the start, whose mean is 0. The first
	// checkpoint is the start.
	control, own [][]float64
	steps        []int // of the checkpoints
}

// last is the last checkpoint.
func (t *tuned) last() int { return len(t.steps) - 1 }

// gap is by how much each run's own reward outran the control's.
func (t *tuned) gap() []float64 { return lab.Minus(t.own[t.last()], t.control[t.last()]) }

// fall is by how much each run's control reward ended below the best that it was.
func (t *tuned) fall() []float64 {
	out := make([]float64, len(t.runs))
	for i := range out {
		best := 0.0
		for _, c := range t.control {
			best = max(best, c[i])
		}
		out[i] = best - t.control[t.last()][i]
	}
	return out
}

// overRuns estimates the mean over runs with Student's interval. Runs are few and
// differ much; what their answers are judged on does not vary besides.
func overRuns(values []float64) (eval.Estimate, error) {
	n := float64(len(values))
	if n < 2 {
		return eval.Estimate{}, fmt.Errorf("%d runs, an interval wants 2 at least", len(values))
	}
	mean, std := contest.MeanStd(values)
	half := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * std / math.Sqrt(n-1)
	return eval.Estimate{Value: mean, Low: mean - half, High: mean + half}, nil
}

// report turns measurements into findings.
type report struct {
	*measurements
	f       *lab.Findings
	control scale
	proxies map[string]scale
	values  [][]string
	matches [][]string
	each    [][]string
}

// check reports measurements that cannot be.
func (m *measurements) check() error {
	all := len(m.Unseen) * m.Judged
	if all == 0 || len(m.Runs) == 0 {
		return errors.New("nothing was measured")
	}
	fits := func(what string, j judgedAnswers) error {
		if len(j.Control) != all || len(j.Tokens) != all {
			return fmt.Errorf("%s: %d rewards by the control, %d lengths of %d answers", what,
				len(j.Control), len(j.Tokens), all)
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
		if len(r.Judged) == 0 || len(r.Judged) != len(m.Runs[0].Judged) || len(r.Steps) == 0 ||
			len(r.Steps) != len(m.Runs[0].Steps) {
			return fmt.Errorf("%s, seed %d: %d steps, %d checkpoints, unlike the first run", r.Proxy, r.Seed,
				len(r.Steps), len(r.Judged))
		}
		for _, j := range r.Judged {
			if err := fits(fmt.Sprintf("%s, seed %d, step %d", r.Proxy, r.Seed, j.Step), j); err != nil {
				return err
			}
			if len(j.Proxy) != all || j.Step < 1 || j.Step > len(r.Steps) {
				return fmt.Errorf("%s, seed %d: %d rewards of %d answers after step %d", r.Proxy, r.Seed,
					len(j.Proxy), all, j.Step)
			}
		}
	}
	return nil
}

// analyse computes the findings.
func analyse(measured []byte) (*lab.Findings, error) {
	m := &measurements{}
	if err := json.Unmarshal(measured, m); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	r := &report{measurements: m, f: &lab.Findings{}, proxies: map[string]scale{}}
	var err error
	if r.control, err = newScale(m.Start.Control); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	for _, p := range m.Proxies {
		if r.proxies[p.Name], err = newScale(p.Start); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
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

// meanOf is the mean z-score of rewards.
func (s scale) meanOf(r lab.Rewards) float64 {
	mean, _ := contest.MeanStd(r.Values())
	return s.z(mean)
}

// tunings gathers the runs of a coefficient, in the order of their kinds.
func (r *report) tunings(kl float64) ([]*tuned, error) {
	var out []*tuned
	for _, kind := range []string{contest.KindSingle, contest.KindENS, contest.KindWA} {
		t := &tuned{kind: kind, steps: []int{0}}
		for i := range r.Runs {
			if run := &r.Runs[i]; run.Kind == kind && run.KL == kl {
				t.runs = append(t.runs, run)
			}
		}
		if len(t.runs) < 2 || len(out) > 0 && len(t.runs) != len(out[0].runs) {
			return nil, fmt.Errorf("%d runs by %s with coefficient %v", len(t.runs), kind, kl)
		}
		t.control, t.own = [][]float64{make([]float64, len(t.runs))}, [][]float64{make([]float64,
			len(t.runs))}
		for k, j := range t.runs[0].Judged {
			t.steps = append(t.steps, j.Step)
			var control, own []float64
			for i, run := range t.runs {
				if at := run.Judged[k]; at.Step != j.Step || len(out) > 0 && run.Seed != out[0].runs[i].Seed {
					return nil, fmt.Errorf("%s: seed %d, checkpoint after step %d: the first run's is after step %d, or seeds differ", kind, run.Seed, at.Step, j.Step)
				}
				control = append(control, r.control.meanOf(run.Judged[k].Control))
				own = append(own, r.proxies[run.Proxy].meanOf(run.Judged[k].Proxy))
			}
			t.control, t.own = append(t.control, control), append(t.own, own)
		}
		out = append(out, t)
	}
	return out, nil
}

// coefficient adds what the runs of one coefficient show.
func (r *report) coefficient(kl float64, several bool) error {
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

// duels are the outcomes of one policy's last answers against another's to the same
// prompt, of each pair of runs with one seed. No order is involved: the control
// scores every answer by itself.
func (r *report) duels(a, b []lab.Rewards) []contest.Outcomes {
	n, prompts := r.Judged, float64(len(r.Unseen))
	p, q := make([]float64, 2*n), make([]float64, 2*n)
	for i := range n {
		p[i], q[n+i] = 1/float64(n), 1/float64(n)
	}
	out := make([]contest.Outcomes, len(a))
	for k := range a {
		x, y := a[k].Values(), b[k].Values()
		for i := range r.Unseen {
			o := contest.Duel(p, q, slices.Concat(x[i*n:][:n], y[i*n:][:n]))
			out[k].Win += o.Win / prompts
			out[k].Tie += o.Tie / prompts
			out[k].Loss += o.Loss / prompts
		}
	}
	return out
}

// at are the control's rewards for the k-th checkpoint of each run, counted from 1.
func (t *tuned) at(k int) []lab.Rewards {
	var out []lab.Rewards
	for _, r := range t.runs {
		out = append(out, r.Judged[k-1].Control)
	}
	return out
}

// match adds the outcomes of a match after a step and returns the win rate.
func (r *report) match(name string, kl float64, step int, a, b []lab.Rewards) (eval.Estimate, error) {
	results := r.duels(a, b)
	half := make([]float64, len(results))
	var mean contest.Outcomes
	for i, o := range results {
		half[i] = o.Half()
		mean.Win += o.Win / float64(len(results))
		mean.Tie += o.Tie / float64(len(results))
		mean.Loss += o.Loss / float64(len(results))
	}
	e, err := overRuns(half)
	if err != nil {
		return e, err
	}
	e.Low, e.High = max(0, e.Low), min(1, e.High)
	r.matches = append(r.matches, []string{fmt.Sprint(kl), name, fmt.Sprint(step),
		contest.Percent(mean.Win), contest.Percent(mean.Tie), contest.Percent(mean.Loss), e.Percent()})
	return e, nil
}

// contests adds the matches of WA against another kind after every checkpoint. It
// returns the win rate at the end, and all of them in words, the last first.
func (r *report) contests(wa, other *tuned, kl float64) (last eval.Estimate, words string, err error) {
	for k := 1; k <= wa.last(); k++ {
		if last, err = r.match("WA against "+other.kind, kl, wa.steps[k], wa.at(k), other.at(k)); err != nil {
			return last, "", err
		}
		words = fmt.Sprintf(", after step %d: %s %%", wa.steps[k], last.Percent()) + words
	}
	return last, fmt.Sprintf("win rate over %d runs each, judged by the control%s", len(wa.runs), words), nil
}

// verdicts compares WA with the others.
func (r *report) verdicts(single, ens, wa *tuned, where string, kl float64) error {
	add := func(claim string, seen lab.Outcome, figures string) {
		r.f.Verdicts = append(r.f.Verdicts, lab.Verdict{Claim: claim + where, Source: source, Seen: seen,
			Figures: figures})
	}
	for _, m := range []struct {
		other *tuned
		claim string
	}{
		{single, fmt.Sprintf("A policy fine-tuned by WA, M = %d, wins against one fine-tuned by a single reward model (the paper: 79.4 %%)", r.M)},
		{ens, fmt.Sprintf("A policy fine-tuned by WA wins against one fine-tuned by ENS, M = %d", r.M)},
	} {
		e, words, err := r.contests(wa, m.other, kl)
		if err != nil {
			return err
		}
		centred := eval.Estimate{Value: e.Value - 0.5, Low: e.Low - 0.5, High: e.High - 0.5}
		add(m.claim, lab.Judge(centred), words)
	}
	start := make([]lab.Rewards, len(wa.runs))
	for i := range start {
		start[i] = r.Start.Control
	}
	for _, t := range []*tuned{wa, ens, single} {
		if _, err := r.match(t.kind+" against the policy before", kl, t.steps[t.last()],
			t.at(t.last()), start); err != nil {
			return err
		}
	}
	d, err := overRuns(lab.Minus(single.gap(), wa.gap()))
	if err != nil {
		return err
	}
	add("The reward that is optimised outruns the control reward less with WA than with a single reward model", lab.Judge(d),
		fmt.Sprintf("gap at the end, single reward model − WA: %s standard deviations", contest.Deviations(d)))
	f, err := overRuns(lab.Minus(single.fall(), wa.fall()))
	if err != nil {
		return err
	}
	s, err := overRuns(single.fall())
	if err != nil {
		return err
	}
	figures := fmt.Sprintf("fall from its best, single reward model: %s standard deviations; single reward model − WA: %s",
		contest.Deviations(s), contest.Deviations(f))
	if slices.Max(single.fall()) == 0 {
		figures += "; with a single reward model it ended at its best in every run, so that there is nothing to be slower than"
	}
	add("Reward hacking is slower with WA: the control reward falls less from its best than with a single reward model",
		lab.Judge(f), figures)
	return nil
}
