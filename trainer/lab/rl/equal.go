package rl

import (
	"fmt"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
)

// mixture is a policy between two checkpoints, counted from 0, the start: an answer is of the
// first with probability 1 − weight, of the second with weight.
type mixture struct {
	first, second int
	weight        float64
}

// passing is the mixture at which a run first passed a KL: the mean KL of its answers is that.
// kls are those of the checkpoints; that of the start, the first, is 0.
func passing(kls []float64, kl float64) (mixture, bool) {
	for k := 1; k < len(kls); k++ {
		if before, after := kls[k-1], kls[k]; before <= kl && kl <= after && before < after {
			return mixture{k - 1, k, (kl - before) / (after - before)}, true
		}
	}
	return mixture{}, false
}

// klsOf are the KL of the i-th run's checkpoints.
func (t *tuned) klsOf(i int) []float64 {
	out := make([]float64, len(t.kl))
	for k := range t.kl {
		out[k] = t.kl[k][i]
	}
	return out
}

// judge is one that compares answers: a control.
type judge struct {
	name  string
	start lab.Rewards
	of    func(j *judgedAnswers) lab.Rewards
}

// judges are the controls that measured.
func (r *report) judges() []judge {
	out := []judge{{"the control", r.Start.Control, func(j *judgedAnswers) lab.Rewards { return j.Control }}}
	if len(r.Start.Second) > 0 {
		out = append(out, judge{"a second control, from other data", r.Start.Second,
			func(j *judgedAnswers) lab.Rewards { return j.Second }})
	}
	return out
}

// answers are a judge's rewards for the answers of both checkpoints of a mixture to one prompt,
// and their probabilities.
func (r *report) answers(by judge, run *fineTuning, m mixture, prompt int) (rewards, odds []float64) {
	n := r.Judged
	for _, part := range []struct {
		at    int
		share float64
	}{{m.first, 1 - m.weight}, {m.second, m.weight}} {
		all := by.start
		if part.at > 0 {
			all = by.of(&run.Judged[part.at-1])
		}
		for _, v := range all[prompt*n:][:n] {
			rewards, odds = append(rewards, float64(v)), append(odds, part.share/float64(n))
		}
	}
	return rewards, odds
}

// duel is the share of prompts that a's policy wins against b's, a tie being half.
func (r *report) duel(by judge, a *fineTuning, at mixture, b *fineTuning, bt mixture) float64 {
	won := 0.0
	for i := range r.Unseen {
		x, p := r.answers(by, a, at, i)
		y, q := r.answers(by, b, bt, i)
		none := make([]float64, len(x))
		o := contest.Duel(append(p, none...), append(none, q...), append(x, y...))
		won += o.Half() / float64(len(r.Unseen))
	}
	return won
}

// atEqualKL are the win rates of WA against the single proxy, run by run, at a share of the
// largest KL that both reached, and the mean of these KL.
func (r *report) atEqualKL(by judge, wa, single *tuned, share float64) (rates []float64, mean float64, err error) {
	for i := range wa.runs {
		x, y := wa.klsOf(i), single.klsOf(i)
		kl := share * min(largest(x), largest(y))
		a, ok := passing(x, kl)
		b, also := passing(y, kl)
		if !ok || !also {
			return nil, 0, fmt.Errorf("seed %d: a run left the policy before it by %.3g nats at most", wa.runs[i].Seed, kl)
		}
		rates = append(rates, r.duel(by, wa.runs[i], a, single.runs[i], b))
		mean += kl / float64(len(wa.runs))
	}
	return rates, mean, nil
}

// largest of the KL; not below 0.
func largest(kls []float64) (most float64) {
	for _, v := range kls {
		most = max(most, v)
	}
	return most
}

// equalKL adds the verdicts on win rates at equal KL, of each judge. The largest KL that both
// runs of a seed reached decides; half of it is shown beside.
func (r *report) equalKL(wa, single *tuned, where string) error {
	for i, by := range r.judges() {
		claim := fmt.Sprintf("At equal KL a policy fine-tuned by WA, M = %d, wins against one fine-tuned by the best single reward model, judged by %s", r.M, by.name)
		if i == 0 {
			claim += " (the paper: 79.4 %)"
		}
		whole, kl, err := r.rateAt(by, wa, single, 1)
		if err != nil {
			r.add(claim+where, lab.Unclear, "at no KL: "+err.Error())
			continue
		}
		half, halfKL, err := r.rateAt(by, wa, single, 0.5)
		if err != nil {
			return err
		}
		centred := eval.Estimate{Value: whole.Value - 0.5, Low: whole.Low - 0.5, High: whole.High - 0.5}
		r.add(claim+where, lab.Judge(centred), fmt.Sprintf("win rate over %d runs each, at a KL of %.2f nats: %s %%, at %.2f nats: %s %%%s", len(wa.runs),
			kl, bounded(whole).Percent(), halfKL, bounded(half).Percent(), lab.Deciding(lab.Judge, centred, len(wa.runs), "seeds")))
	}
	return nil
}

// rateAt estimates a win rate at a share of the largest KL, and adds it to the table.
func (r *report) rateAt(by judge, wa, single *tuned, share float64) (e eval.Estimate, kl float64, err error) {
	rates, kl, err := r.atEqualKL(by, wa, single, share)
	if err != nil {
		return e, 0, err
	}
	if e, err = overRuns(rates); err != nil {
		return e, 0, err
	}
	r.equal = append(r.equal, []string{r.setting(wa.runs[0]), by.name, fmt.Sprintf("%.2f", kl), bounded(e).Percent()})
	return e, kl, nil
}

// bounded is the estimate of a share, whose interval ends at 0 and 1.
func bounded(e eval.Estimate) eval.Estimate {
	e.Low, e.High = max(0, e.Low), min(1, e.High)
	return e
}
