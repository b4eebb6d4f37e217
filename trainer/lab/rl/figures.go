package rl

import (
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
)

// smooth is the number of steps whose mean a line over steps shows.
const smooth = 5

// row adds the last checkpoint of a kind to the table.
func (r *report) row(t *tuned) {
	row := []string{r.setting(t.runs[0]), t.kind, fmt.Sprint(len(t.runs))}
	for _, v := range [][]float64{t.control[t.last()], t.own[t.last()], t.gap(), t.fall()} {
		row = append(row, contest.Deviations(r.f.Estimate(overRuns(v))))
	}
	for _, of := range stepValues {
		row = append(row, fmt.Sprintf("%.2f", t.late(of.value)))
	}
	r.values = append(r.values, row)
}

// seeds adds each run to the table of runs.
func (r *report) seeds(t *tuned) {
	fall := t.fall()
	for i, run := range t.runs {
		one := tuned{runs: []*fineTuning{run}}
		row := []string{r.setting(run), t.kind, run.Proxy, fmt.Sprint(run.Seed)}
		for _, v := range []float64{t.control[t.last()][i], t.own[t.last()][i], fall[i]} {
			row = append(row, fmt.Sprintf("%+.2f", v))
		}
		for _, of := range stepValues {
			row = append(row, fmt.Sprintf("%.2f", one.late(of.value)))
		}
		r.each = append(r.each, row)
	}
}

// stepValues are what is shown of every step, besides rewards.
var stepValues = []struct {
	name, label, title string
	value              func(stepMetrics) float64
}{
	{"kl", "KL from the policy before (nats, of an answer)", "Divergence from the policy before",
		func(s stepMetrics) float64 { return s.KL }},
	{"length", "length (tokens)", "Length of the answers", func(s stepMetrics) float64 { return s.Length }},
	{"entropy", "entropy (nats, of a token)", "Entropy of the policy",
		func(s stepMetrics) float64 { return s.Entropy }},
}

// late is the mean of a value over the last steps of all runs.
func (t *tuned) late(value func(stepMetrics) float64) float64 {
	return t.around(len(t.runs[0].Steps), value)
}

// around is the mean of a value over the steps up to and including one.
func (t *tuned) around(step int, value func(stepMetrics) float64) float64 {
	sum, n := 0.0, 0
	for _, run := range t.runs {
		for _, s := range run.Steps[max(0, step-smooth):step] {
			sum += value(s)
			n++
		}
	}
	return sum / float64(n)
}

// overSteps is a value over steps: the mean over the runs, and their range.
func (t *tuned) overSteps(value func(*fineTuning, stepMetrics) float64) drawing.Series {
	s := drawing.Series{Label: t.kind}
	for step := range t.runs[0].Steps {
		mean, low, high := 0.0, 0.0, 0.0
		for i, run := range t.runs {
			one := tuned{runs: []*fineTuning{run}}
			v := one.around(step+1, func(at stepMetrics) float64 { return value(run, at) })
			mean += v / float64(len(t.runs))
			if i == 0 || v < low {
				low = v
			}
			if i == 0 || v > high {
				high = v
			}
		}
		s.X, s.Y, s.Low, s.High = append(s.X, float64(step+1)), append(s.Y, mean), append(s.Low, low),
			append(s.High, high)
	}
	return s
}

// overCheckpoints is a value of checkpoints, with the interval over runs.
func (r *report) overCheckpoints(label string, x []float64, values [][]float64) drawing.Series {
	s := drawing.Series{Label: label}
	for i, v := range values {
		s.Put(x[i], r.f.Estimate(overRuns(v)), 1)
	}
	return s
}

// places are the steps of the checkpoints, and their mean KL: that of the answers which judge
// them or, where that was not measured, of those that were learned from.
func (t *tuned) places() (steps, kls []float64) {
	steps, kls = make([]float64, len(t.steps)), make([]float64, len(t.steps))
	for k, step := range t.steps {
		steps[k] = float64(step)
		switch {
		case t.kl != nil:
			kls[k], _ = contest.MeanStd(t.kl[k])
		case step > 0:
			kls[k] = t.around(step, func(s stepMetrics) float64 { return s.KL })
		}
	}
	return steps, kls
}

// figures draws the runs of one way.
func (r *report) figures(all []*tuned, suffix string, w way) {
	learned := ""
	if w.algorithm != "" {
		learned = ", " + strings.ToUpper(string(w.algorithm))
	}
	runs := fmt.Sprintf("%s, M = %d%s, KL coefficient %g, %d runs each (seeds 1 to %d)",
		contest.Labels(r.Swapped), r.M, learned, w.kl, len(all[0].runs), len(all[0].runs))
	judged := fmt.Sprintf("%s. Checkpoints judged on %d prompts, %d answers each; mean over runs; bands: Student's 95 %% over runs.", runs, len(r.Unseen), r.Judged)
	trained := fmt.Sprintf("%s. Means over %d steps' answers and the runs; bands: range over the runs.", runs, smooth)
	control := drawing.Figure{Name: "control" + suffix,
		Title: "Control reward of the fine-tuned policy", X: drawing.Axis{Label: "step"},
		Y: drawing.Axis{Label: "gain in control reward (standard deviations)"}, Caption: judged}
	own := drawing.Figure{Name: "own" + suffix, Title: "Reward that is optimised",
		X: drawing.Axis{Label: "step"},
		Y: drawing.Axis{Label: "gain in the proxy's reward (standard deviations)"}, Caption: judged}
	pareto := drawing.Figure{Name: "control-over-kl" + suffix, Title: "Control reward over divergence",
		X: drawing.Axis{Label: "KL from the policy before (nats, of an answer)"},
		Y: drawing.Axis{Label: "gain in control reward (standard deviations)"}, Caption: judged}
	seen := drawing.Figure{Name: "control-steps" + suffix,
		Title: "Control reward of the answers that were learned from", X: drawing.Axis{Label: "step"},
		Y: drawing.Axis{Label: "control reward (z-score of the policy before)"}, Caption: trained}
	second := control
	second.Name, second.Title = "second"+suffix, "Reward of the fine-tuned policy by the second control"
	second.Y.Label = "gain in the second control's reward (standard deviations)"
	for _, t := range all {
		steps, kls := t.places()
		type line struct {
			f      *drawing.Figure
			x      []float64
			values [][]float64
		}
		lines := []line{{&control, steps, t.control}, {&own, steps, t.own}, {&pareto, kls, t.control}}
		if t.second != nil {
			lines = append(lines, line{&second, steps, t.second})
		}
		for _, d := range lines {
			d.f.Series = append(d.f.Series, r.overCheckpoints(t.kind, d.x, d.values))
		}
		seen.Series = append(seen.Series,
			t.overSteps(func(_ *fineTuning, s stepMetrics) float64 { return r.control.z(s.Control) }))
	}
	r.f.Figures = append(r.f.Figures, control, own, pareto)
	if !r.Unwatched {
		r.f.Figures = append(r.f.Figures, seen)
	}
	if len(second.Series) > 0 {
		r.f.Figures = append(r.f.Figures, second)
	}
	for _, of := range stepValues {
		f := drawing.Figure{Name: of.name + suffix, Title: of.title, X: drawing.Axis{Label: "step"},
			Y: drawing.Axis{Label: of.label}, Caption: trained}
		for _, t := range all {
			f.Series = append(f.Series,
				t.overSteps(func(_ *fineTuning, s stepMetrics) float64 { return of.value(s) }))
		}
		r.f.Figures = append(r.f.Figures, f)
	}
}

// finish adds tables and notes.
func (r *report) finish() *lab.Findings {
	way := "KL coefficient"
	if r.Runs[0].Algorithm != "" {
		way = "algorithm, KL coefficient"
	}
	tail := []string{"KL (nats)", "tokens", "entropy (nats)"}
	r.f.Tables = []lab.Table{
		{Name: "final", Title: "The fine-tuned policies: gains over the policy before, in standard deviations",
			Columns: append([]string{way, "proxy", "runs", "control", "its own", "gap",
				"fall of control from its best"}, tail...), Rows: r.values},
		{Name: "wins", Title: "Wins, ties and losses in percent, judged by the control; the win rate counts a tie as half",
			Columns: []string{way, "match", "after step", "wins", "ties", "losses", "win rate"},
			Rows:    r.matches},
		{Name: "runs", Title: "Each run", Columns: append([]string{way, "proxy", "of",
			"seed", "control", "its own", "fall"}, tail...), Rows: r.each},
	}
	r.f.Notes = []string{
		fmt.Sprintf("Proxies learned from %s. Rewards came from a running server; the policy's own are z-scored on its answers before the first step, and so are the control's.", contest.Labels(r.Swapped)),
		"Intervals are Student's over the runs, compared seed by seed: a kind's runs differ in seed and, for single reward models, in the member. Members, average and control are one draw each.",
		"The control scores each answer by itself, so that no order can matter. It is a reward model from the same base: what it shares with the proxies it cannot see.",
	}
	if r.Apart {
		r.f.Notes[2] = "The control scores each answer by itself, so that no order can matter. It is a reward model of another base than the proxies': what all reward models of such pairs share it cannot see."
	}
	if r.equal != nil {
		r.f.Tables = append(r.f.Tables,
			lab.Table{Name: "equal-kl", Title: "Win rate of WA against the best single reward model at equal KL (%)",
				Columns: []string{way, "judged by", "KL (nats), mean over seeds", "win rate"}, Rows: r.equal},
			lab.Table{Name: "hacking", Title: "Where the control reward begins to fall while the optimised one rises",
				Columns: []string{way, "proxy", "of", "seed", "begins"}, Rows: r.onsets})
		r.f.Notes = append(r.f.Notes, "KL is that of the answers which are judged, from the policy before the first step. At equal KL a run is the mixture of the two checkpoints between which it first passed that KL.")
	}
	if r.Valid != nil {
		r.f.Notes = append(r.f.Notes, r.Valid.note(r.Best, r.f))
	}
	return r.f
}

// note says how accurate the judges are.
func (v *valid) note(best string, f *lab.Findings) string {
	accuracy := func(s lab.Scored) string { return f.Estimate(lab.Accuracy(s.Margins(), v.Groups)).Percent() }
	note := fmt.Sprintf("The single reward model is %s, the most accurate of %d on %d pairs of the proxies' debates with arguments that none learned from: %s %%; the control there: %s %%",
		best, len(v.Members), len(v.Groups), accuracy(v.Members[v.best()]), accuracy(v.Control))
	if v.Second != nil {
		note += fmt.Sprintf("; the second control, which learned from ETHICS: %s %%", accuracy(*v.Second))
	}
	return note + "."
}
