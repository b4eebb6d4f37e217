package rm

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/nn"
)

// probeDecay is the weight of the probed head's squared norm in the loss, in
// units of the mean squared feature difference over the number of features: it
// keeps the head finite where the features separate all pairs.
const probeDecay = 1e-2

// probe sets the score head by logistic regression on the frozen backbone's
// features of the first n training pairs in the order of the first epoch.
// Source: Kumar et al. 2022 (arXiv 2202.10054); WARM, section 4.1.
func (r *run) probe(ctx context.Context) error {
	n := min(r.config.Probe, len(r.data.train))
	order := r.order.Epoch(0)[:n]
	diffs, labels := make([][]float64, 0, n), make([]float64, 0, n)
	for at := 0; at < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := r.part(order[at:])
		at += len(batch)
		seqs, _ := r.lay(batch)
		if err := r.t.Forward(r.scores(len(seqs)), seqs, model.Pass{}); err != nil {
			return err
		}
		for i, b := range batch {
			x := &r.data.train[b]
			chosen, rejected := r.t.Features(2*i), r.t.Features(2*i+1)
			d := make([]float64, len(chosen))
			for j := range d {
				d[j] = float64(chosen[j]) - float64(rejected[j])
			}
			diffs, labels = append(diffs, d), append(labels, x.Label)
		}
	}
	w, err := logistic(diffs, labels)
	if err != nil {
		return fmt.Errorf("probing: %w", err)
	}
	head := r.head()
	for j, v := range w {
		head.Data[j] = float32(v)
	}
	r.t.Refresh()
	return nil
}

// head returns the weight of the score head.
func (r *run) head() *nn.Param {
	params, name := r.t.Params(), r.base.parsed.HeadParameter()
	for i := range params {
		if p := &params[i]; p.Name == name {
			return p
		}
	}
	panic("rm: the model has no score head")
}

// logistic minimises the mean loss of a linear score of differences, and some of
// its squared norm.
func logistic(diffs [][]float64, labels []float64) ([]float64, error) {
	n, c := float64(len(diffs)), len(diffs[0])
	square := 0.0
	for _, d := range diffs {
		square += floats.Dot(d, d) / n
	}
	if square == 0 {
		return nil, fmt.Errorf("the features of chosen and rejected answers are all equal")
	}
	decay := probeDecay * square / float64(c)
	loss := func(grad, w []float64) float64 {
		sum := 0.5 * decay * floats.Dot(w, w)
		if grad != nil {
			floats.ScaleTo(grad, decay, w)
		}
		for i, d := range diffs {
			m := floats.Dot(w, d)
			soft := max(-m, 0) + math.Log1p(math.Exp(-math.Abs(m))) // −log σ(m)
			sum += (soft + (1-labels[i])*m) / n
			if grad != nil {
				floats.AddScaled(grad, (1/(1+math.Exp(-m))-labels[i])/n, d)
			}
		}
		return sum
	}
	problem := optimize.Problem{
		Func: func(w []float64) float64 { return loss(nil, w) },
		Grad: func(grad, w []float64) { loss(grad, w) },
	}
	settings := &optimize.Settings{GradientThreshold: 1e-6, MajorIterations: 300}
	result, err := optimize.Minimize(problem, make([]float64, c), settings, &optimize.LBFGS{})
	if err != nil && (result == nil || result.Status != optimize.IterationLimit) {
		return nil, err
	}
	return result.X, nil
}
