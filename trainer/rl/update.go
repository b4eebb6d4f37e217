package rl

import (
	"fmt"
	"math"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/lm"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/state"
)

// example is an answer behind its prompt as the model learns from it.
func (e *experience) example(i int) model.Text {
	a := &e.answers[i]
	prompt := e.asked[a.Prompt].ids
	ids := append(append([]int32(nil), prompt...), a.IDs[:len(a.IDs)-1]...)
	targets := make([]int32, len(ids))
	for j := range targets {
		targets[j] = model.NoTarget
	}
	copy(targets[len(prompt)-1:], a.IDs)
	return model.Text{IDs: ids, Targets: targets}
}

// terms are what a token adds to the loss and to the averages.
type terms struct {
	loss, entropy float64
	clipped       bool
}

// update changes the weights by a batch, as often as it is used.
func (r *run) update(e *experience, line *Metrics) error {
	c := &r.config
	texts := make([]model.Text, len(e.answers))
	all := make([][]terms, len(e.answers))
	for i := range texts {
		texts[i] = e.example(i)
		all[i] = make([]terms, len(e.answers[i].IDs))
	}
	weights := c.Weighting.weights(e.answers)
	o := objective{ratio: c.Ratio, entropy: c.Entropy}
	if c.KLIn == InLoss {
		o.kl = c.KL
	}
	s := c.sampling()
	for epoch := range c.Epochs {
		update := r.about.Step*c.Epochs + epoch
		total := c.Steps * c.Epochs
		line.LR = c.LR * c.Schedule.Factor(update, int(c.Warmup*float64(total)), total)
		r.learner.ZeroGrads()
		for at := 0; at < len(texts); {
			n := lm.Part(texts[at:], c.TokenBudget)
			err := r.m.Likelihood(texts[at:at+n], s.temperature(), model.Pass{First: at},
				func(text, token int, logp, entropy float64) (float64, float64) {
					i := at + text
					a := &e.answers[i]
					j := token - (len(e.asked[a.Prompt].ids) - 1)
					loss, dlogp, clipped := o.token(logp, a.LogProbs[j], e.reference[i][j], e.advantage[i])
					all[i][j] = terms{weights[i] * (loss - o.entropy*entropy), entropy, clipped}
					return weights[i] * dlogp, -weights[i] * o.entropy
				})
			if err != nil {
				return err
			}
			at += n
		}
		line.sum(all, epoch == 0)
		if r.lora != nil {
			r.lora.Project()
		}
		line.Norm = optim.Clip(r.m.Work(), r.learner.Params(), c.Clip)
		if bad := line.Loss + line.Norm; math.IsNaN(bad) || math.IsInf(bad, 0) {
			return fmt.Errorf("step %d: loss %v, gradient norm %v: %w", r.about.Step+1, line.Loss,
				line.Norm, state.ErrNotFinite)
		}
		r.opt.Step(r.m.Work(), line.LR)
		r.learner.Refresh()
	}
	return nil
}

// sum adds up the tokens of an update, in order. The entropy is that of the policy
// that answered, before the first.
func (m *Metrics) sum(all [][]terms, first bool) {
	m.Loss, m.Clipped = 0, 0
	entropy, tokens := 0.0, 0
	for _, answer := range all {
		for _, t := range answer {
			m.Loss += t.loss
			entropy += t.entropy
			if t.clipped {
				m.Clipped++
			}
			tokens++
		}
	}
	m.Clipped /= float64(tokens)
	if first {
		m.Entropy = entropy / float64(tokens)
	}
}
