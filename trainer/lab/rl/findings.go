package rl

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
	"github.com/warmserve/warmserve/trainer/rl"
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
	// second are those by the second control, and kl the mean KL of the answers; nil where
	// none was measured.
	second, kl [][]float64
	steps      []int // of the checkpoints
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
	second  scale
	proxies map[string]scale
	values  [][]string
	matches [][]string
	each    [][]string
	equal   [][]string
	onsets  [][]string
}

// add adds a verdict.
func (r *report) add(claim string, seen lab.Outcome, figures string) {
	r.f.Verdicts = append(r.f.Verdicts, lab.Verdict{Claim: claim, Source: source, Seen: seen, Figures: figures})
}

// setting is how a run learned, in a table's cell: the algorithm, where there are several, and
// the coefficient.
func (r *report) setting(run *fineTuning) string {
	if run.Algorithm == "" {
		return fmt.Sprint(run.KL)
	}
	return fmt.Sprintf("%s, %v", run.Algorithm, run.KL)
}

// analyse computes the findings.
var analyse = lab.Analysis(func(m *measurements) (*lab.Findings, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	r := &report{measurements: m, f: &lab.Findings{}, proxies: map[string]scale{}}
	var err error
	if r.control, err = newScale(m.Start.Control); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if len(m.Start.Second) > 0 {
		if r.second, err = newScale(m.Start.Second); err != nil {
			return nil, fmt.Errorf("second control: %w", err)
		}
	}
	for _, p := range m.Proxies {
		if r.proxies[p.Name], err = newScale(p.Start); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	ways := m.ways()
	for i := range ways {
		if err := r.way(ways[i], ways); err != nil {
			return nil, err
		}
	}
	return r.finish(), nil
})

// way is how a run learns: runs of one way are compared with each other.
type way struct {
	algorithm rl.Algorithm
	kl        float64
}

func (r *fineTuning) way() way { return way{r.Algorithm, r.KL} }

// ways are those of the runs, each once.
func (m *measurements) ways() (out []way) {
	for i := range m.Runs {
		if w := m.Runs[i].way(); !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// names are what tells a way from the others: the end of a figure's name, and of a claim.
func (w way) names(all []way) (suffix, where string) {
	differ := func(of func(way) string) bool {
		return slices.ContainsFunc(all, func(o way) bool { return of(o) != of(w) })
	}
	if differ(func(w way) string { return string(w.algorithm) }) {
		suffix, where = fmt.Sprintf("-%s", w.algorithm), "; "+strings.ToUpper(string(w.algorithm))
	}
	if differ(func(w way) string { return fmt.Sprint(w.kl) }) {
		suffix, where = suffix+fmt.Sprintf("-kl%g", w.kl), where+fmt.Sprintf("; KL coefficient %g", w.kl)
	}
	return suffix, where
}

// meanOf is the mean z-score of rewards.
func (s scale) meanOf(r lab.Rewards) float64 {
	mean, _ := contest.MeanStd(r.Values())
	return s.z(mean)
}

// tunings gathers the runs of one way, in the order of their kinds. Of ENS there may be none.
func (r *report) tunings(w way) ([]*tuned, error) {
	var out []*tuned
	ens := slices.ContainsFunc(r.Proxies, func(p proxy) bool { return p.Name == "ens" })
	for _, kind := range []string{contest.KindSingle, contest.KindENS, contest.KindWA} {
		if kind == contest.KindENS && !ens {
			continue
		}
		t := &tuned{kind: kind, steps: []int{0}}
		for i := range r.Runs {
			if run := &r.Runs[i]; run.Kind == kind && run.way() == w {
				t.runs = append(t.runs, run)
			}
		}
		if len(t.runs) < 2 || len(out) > 0 && len(t.runs) != len(out[0].runs) {
			return nil, fmt.Errorf("%d runs by %s with coefficient %v", len(t.runs), kind, w.kl)
		}
		start := make([]float64, len(t.runs))
		t.control, t.own, t.second, t.kl = [][]float64{start}, [][]float64{start}, [][]float64{start}, [][]float64{start}
		for k, j := range t.runs[0].Judged {
			t.steps = append(t.steps, j.Step)
			var control, own, second, kl []float64
			for i, run := range t.runs {
				if at := run.Judged[k]; at.Step != j.Step || len(out) > 0 && run.Seed != out[0].runs[i].Seed {
					return nil, fmt.Errorf("%s: seed %d, checkpoint after step %d: the first run's is after step %d, or seeds differ", kind, run.Seed, at.Step, j.Step)
				}
				control = append(control, r.control.meanOf(run.Judged[k].Control))
				own = append(own, r.proxies[run.Proxy].meanOf(run.Judged[k].Proxy))
				second = append(second, r.second.meanOf(run.Judged[k].Second))
				mean, _ := contest.MeanStd(run.Judged[k].KL.Values())
				kl = append(kl, mean)
			}
			t.control, t.own = append(t.control, control), append(t.own, own)
			t.second, t.kl = append(t.second, second), append(t.kl, kl)
		}
		if len(r.Start.Second) == 0 {
			t.second = nil
		}
		if len(t.runs[0].Judged[0].KL) == 0 {
			t.kl = nil
		}
		out = append(out, t)
	}
	return out, nil
}

// way adds what the runs of one way show.
func (r *report) way(w way, ways []way) error {
	all, err := r.tunings(w)
	if err != nil {
		return err
	}
	for _, t := range all {
		r.row(t)
		r.seeds(t)
	}
	suffix, where := w.names(ways)
	r.figures(all, suffix, w)
	single, wa := all[0], all[len(all)-1]
	r.verdicts(single, all[1:len(all)-1], wa, where)
	if wa.kl == nil {
		return nil
	}
	if err := r.equalKL(wa, single, where); err != nil {
		return err
	}
	r.later(wa, single, where)
	return nil
}

// duels are the outcomes of one policy's last answers against another's to the same
// prompt, of each pair of runs with one seed. No order is involved: the control
// scores every answer by itself.
func (r *report) duels(a, b []lab.Rewards) []contest.Outcomes {
	n := r.Judged
	p, q := make([]float64, 2*n), make([]float64, 2*n)
	for i := range n {
		p[i], q[n+i] = 1/float64(n), 1/float64(n)
	}
	out := make([]contest.Outcomes, len(a))
	for k := range a {
		x, y := a[k].Values(), b[k].Values()
		for i := range r.Unseen {
			o := contest.Duel(p, q, slices.Concat(x[i*n:][:n], y[i*n:][:n]))
			out[k].Add(o, len(r.Unseen))
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
func (r *report) match(name string, t *tuned, step int, a, b []lab.Rewards) eval.Estimate {
	rates, percent := contest.Sum(r.duels(a, b))
	e := bounded(r.f.Estimate(overRuns(rates)))
	r.matches = append(r.matches, slices.Concat([]string{r.setting(t.runs[0]), name, fmt.Sprint(step)}, percent,
		[]string{e.Percent()}))
	return e
}

// contests adds the matches of WA against another kind after every checkpoint. It
// returns the win rate at the end, and all of them in words, the last first.
func (r *report) contests(wa, other *tuned) (last eval.Estimate, words string) {
	for k := 1; k <= wa.last(); k++ {
		last = r.match("WA against "+other.kind, wa, wa.steps[k], wa.at(k), other.at(k))
		words = fmt.Sprintf(", after step %d: %s %%", wa.steps[k], last.Percent()) + words
	}
	return last, fmt.Sprintf("win rate over %d runs each, judged by the control%s", len(wa.runs), words)
}

// verdicts compares WA with the single proxy and the ensembles, of which there may be none.
func (r *report) verdicts(single *tuned, ensembles []*tuned, wa *tuned, where string) {
	add := func(claim string, e eval.Estimate, figures string) {
		r.f.Judge(lab.Verdict{Claim: claim + where, Source: source, Figures: figures}, lab.Judge, e, len(wa.runs), "seeds")
	}
	wins := func(other *tuned, claim string) {
		e, words := r.contests(wa, other)
		centred := eval.Estimate{Value: e.Value - 0.5, Low: e.Low - 0.5, High: e.High - 0.5}
		add(claim, centred, words)
	}
	wins(single, fmt.Sprintf("A policy fine-tuned by WA, M = %d, wins against one fine-tuned by a single reward model (the paper: 79.4 %%)", r.M))
	for _, ens := range ensembles {
		wins(ens, fmt.Sprintf("A policy fine-tuned by WA wins against one fine-tuned by ENS, M = %d", r.M))
	}
	start := make([]lab.Rewards, len(wa.runs))
	for i := range start {
		start[i] = r.Start.Control
	}
	for _, t := range slices.Concat([]*tuned{wa}, ensembles, []*tuned{single}) {
		r.match(t.kind+" against the policy before", t, t.steps[t.last()], t.at(t.last()), start)
	}
	d := r.f.Estimate(overRuns(lab.Minus(single.gap(), wa.gap())))
	add("The reward that is optimised outruns the control reward less with WA than with a single reward model", d,
		fmt.Sprintf("gap at the end, single reward model − WA: %s standard deviations", contest.Deviations(d)))
	f, s := r.f.Estimate(overRuns(lab.Minus(single.fall(), wa.fall()))), r.f.Estimate(overRuns(single.fall()))
	figures := fmt.Sprintf("fall from its best, single reward model: %s standard deviations; single reward model − WA: %s",
		contest.Deviations(s), contest.Deviations(f))
	if slices.Max(single.fall()) == 0 {
		figures += "; with a single reward model it ended at its best in every run, so that there is nothing to be slower than"
	}
	add("Reward hacking is slower with WA: the control reward falls less from its best than with a single reward model",
		f, figures)
}
