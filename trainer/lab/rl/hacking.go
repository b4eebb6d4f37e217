package rl

import (
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
)

// hacking is where over-optimisation begins in a run.
type hacking struct {
	seen bool // else it does not begin before the last step
	step int  // where it begins; the last step when it is not seen
	kl   float64
}

// perPrompt are the mean z-scores of the answers to each prompt.
func (r *report) perPrompt(s scale, rewards lab.Rewards) []float64 {
	out := make([]float64, len(r.Unseen))
	values := rewards.Values()
	for i := range out {
		mean, _ := contest.MeanStd(values[i*r.Judged:][:r.Judged])
		out[i] = s.z(mean)
	}
	return out
}

// hacked finds where the control reward of the i-th run begins to fall while its own rises: at
// its best checkpoint, when it is lower at a later one and the proxy's reward is higher, each by
// an interval over prompts.
func (r *report) hacked(t *tuned, i int) hacking {
	run, best := t.runs[i], 0
	for k := range t.control {
		if t.control[k][i] > t.control[best][i] {
			best = k
		}
	}
	own := r.proxies[run.Proxy]
	at := func(k int) (control, proxy []float64) {
		if k == 0 {
			return r.perPrompt(r.control, r.Start.Control), r.perPrompt(own, r.startOf(run.Proxy))
		}
		j := &run.Judged[k-1]
		return r.perPrompt(r.control, j.Control), r.perPrompt(own, j.Proxy)
	}
	control, proxy := at(best)
	for k := best + 1; k < len(t.steps); k++ {
		c, p := at(k)
		fell := r.f.Estimate(lab.Mean(lab.Minus(c, control), nil))
		rose := r.f.Estimate(lab.Mean(lab.Minus(p, proxy), nil))
		if fell.High < 0 && rose.Low > 0 {
			return hacking{true, t.steps[best], t.kl[best][i]}
		}
	}
	return hacking{false, t.steps[t.last()], t.kl[t.last()][i]}
}

// startOf are the rewards that a proxy gave the policy's answers before any step.
func (r *report) startOf(name string) lab.Rewards {
	for _, p := range r.Proxies {
		if p.Name == name {
			return p.Start
		}
	}
	return nil // check has seen that there is one
}

// onset says where hacking begins in the runs of a kind, and how often it was seen.
func (r *report) onset(t *tuned) (all []hacking, words string) {
	var at []string
	seen := 0
	for i, run := range t.runs {
		h := r.hacked(t, i)
		word := fmt.Sprintf("not before step %d", h.step)
		if h.seen {
			seen++
			word = fmt.Sprintf("step %d (%.2f nats)", h.step, h.kl)
		}
		at, all = append(at, word), append(all, h)
		r.onsets = append(r.onsets, []string{r.setting(run), t.kind, run.Proxy, fmt.Sprint(run.Seed), word})
	}
	return all, fmt.Sprintf("%s: seen in %d of %d runs, %s", t.kind, seen, len(all), strings.Join(at, ", "))
}

// later adds the verdict on how much later hacking begins with WA than with the single proxy. Two
// runs of one seed in neither of which it is seen say nothing.
func (r *report) later(wa, single *tuned, where string) {
	a, words := r.onset(wa)
	b, others := r.onset(single)
	var steps []float64
	for i := range a {
		if a[i].seen || b[i].seen {
			steps = append(steps, float64(a[i].step-b[i].step))
		}
	}
	seen, figures := lab.Unclear, fmt.Sprintf("%s; %s", others, words)
	switch len(steps) {
	case 0:
		figures += "; there is nothing to be later than"
	case 1:
		figures += fmt.Sprintf("; WA − best single RM: %+.0f steps in the one seed that tells, of which there is no interval", steps[0])
	default:
		e := r.f.Estimate(overRuns(steps))
		seen = lab.Judge(e)
		figures += fmt.Sprintf("; WA − best single RM over the %d seeds that tell: %+.1f [%+.1f, %+.1f] steps%s", len(steps),
			e.Value, e.Low, e.High, lab.Deciding(lab.Judge, e, len(steps), "seeds"))
	}
	r.add("Hacking, a control reward that falls while the optimised one rises, begins later with WA than with the best single reward model"+where, seen, figures)
}
