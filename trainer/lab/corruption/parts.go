package corruption

import (
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
	"github.com/warmserve/warmserve/trainer/lab/methods"
	"github.com/warmserve/warmserve/warm"
)

// Names of parts.
const (
	partRight = "right"
	partWrong = "wrong"
)

// divide makes the parts that a condition is judged by.
func (c *condition) divide(tests []lab.Test) error {
	if len(c.Results) != len(tests) {
		return fmt.Errorf("%s: %d results, want %d", c.Name, len(c.Results), len(tests))
	}
	calibration, err := methods.Calibrate(c.Results[1].Members) // of testValid
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	var right []int
	for i := range tests[0].Clusters {
		if _, wrong := slices.BinarySearch(c.Wrong, i); !wrong {
			right = append(right, i)
		}
	}
	out := []methods.Part{{Name: partRight, Title: "training pairs with right labels: accuracy",
		Index: right}}
	if len(c.Wrong) > 0 {
		out = append(out, methods.Part{Name: partWrong,
			Title: "training pairs with wrong labels: memorised, that is ranked as labelled", Index: c.Wrong,
			Swapped: true})
	}
	for i, t := range tests[1:] {
		title := map[string]string{testValid: "in distribution: accuracy",
			testNear: "unseen debates: accuracy",
			testFar:  "ETHICS, utilitarianism, another kind of preference: accuracy"}[t.Name]
		out = append(out, methods.Part{Name: t.Name, Title: title, Test: i + 1})
	}
	for i := range out {
		p := &out[i]
		p.Clusters, p.Calibration = tests[p.Test].Clusters, calibration
		if p.Index != nil {
			if p.Index[len(p.Index)-1] >= len(p.Clusters) {
				return fmt.Errorf("%s: wrong pair %d of %d", c.Name, p.Index[len(p.Index)-1],
					len(p.Clusters))
			}
			p.Clusters = nil
			for _, at := range out[i].Index {
				p.Clusters = append(p.Clusters, tests[0].Clusters[at])
			}
		}
		r, n := &c.Results[p.Test], len(tests[p.Test].Clusters)
		if err := r.Check(n); err != nil {
			return fmt.Errorf("%s: %s: %w", c.Name, p.Name, err)
		}
		if len(r.EMA) != n {
			return fmt.Errorf("%s: %s: %d margins of the moving average, want %d", c.Name,
				p.Name, len(r.EMA), n)
		}
	}
	c.parts = out
	return nil
}

// part returns the part of a name.
func (c *condition) part(name string) (methods.Part, bool) {
	i := slices.IndexFunc(c.parts, func(p methods.Part) bool { return p.Name == name })
	if i < 0 {
		return methods.Part{}, false
	}
	return c.parts[i], true
}

// mean estimates how far a method is right.
func (c *condition) mean(p methods.Part, k methods.Method) (eval.Estimate, error) {
	v, err := k.Values(&c.Results[p.Test], p)
	if err != nil {
		return eval.Estimate{}, err
	}
	return lab.Mean(v, p.Clusters)
}

// against estimates how much more right one method is than another.
func (c *condition) against(p methods.Part, a, b methods.Method) (eval.Estimate, error) {
	x, err := a.Values(&c.Results[p.Test], p)
	if err != nil {
		return eval.Estimate{}, err
	}
	y, err := b.Values(&c.Results[p.Test], p)
	if err != nil {
		return eval.Estimate{}, err
	}
	return lab.Mean(lab.Minus(x, y), p.Clusters)
}

// bySize estimates, for each number of members, WA − ENS (mean) averaged over the
// sets of members of that size.
func (c *condition) bySize(p methods.Part) (drawing.Series, error) {
	r := &c.Results[p.Test]
	differences := map[int][][]float64{1: {make([]float64, len(p.Clusters))}} // a model is its own average
	for _, a := range r.Averages {
		margins, err := methods.EnsembleMargins(r.Members, a.Members, warm.Ensemble{})
		if err != nil {
			return drawing.Series{}, err
		}
		m := len(a.Members)
		differences[m] = append(differences[m], lab.Minus(p.Right(a.Margins.Values()), p.Right(margins)))
	}
	s := drawing.Series{Label: c.Name}
	for m := 1; m <= len(r.Members); m++ {
		if differences[m] == nil {
			continue
		}
		e, err := lab.Mean(lab.Averaged(differences[m]), p.Clusters)
		if err != nil {
			return s, err
		}
		s.Put(float64(m), e, 100)
	}
	return s, nil
}

// focus is the corrupted condition nearest to the paper's share of a quarter.
func (m *measurements) focus() *condition {
	var best *condition
	for i := range m.Conditions {
		c := &m.Conditions[i]
		if c.Share > 0 && (best == nil || math.Abs(c.Share-0.25) < math.Abs(best.Share-0.25)) {
			best = c
		}
	}
	return best
}
