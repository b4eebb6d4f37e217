package optim

import (
	"fmt"
	"math"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// AdamWConfig says how AdamW changes weights.
type AdamWConfig struct {
	Beta1, Beta2 float64 // decay of the moments, in [0, 1)
	Eps          float64 // added to the root of the second moment, > 0
	Decay        float64 // weight decay, decoupled from the gradient, ≥ 0
	// DecayVectors lets the decay act on norms and biases too. Usually it acts
	// on matrices alone.
	DecayVectors bool
}

// DefaultAdamW are the usual settings.
func DefaultAdamW() AdamWConfig {
	return AdamWConfig{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decay: 0.01}
}

// AdamW is Adam with decoupled weight decay, as torch.optim.AdamW computes it:
//
//	w ← w·(1 − lr·decay)
//	m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²
//	w ← w − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)
//
// Source: Loshchilov and Hutter 2019 (arXiv 1711.05101), algorithm 2.
type AdamW struct {
	Config AdamWConfig
	// Steps is the number of steps made, t.
	Steps int

	params []nn.Param
	m, v   [][]float32
	chunks []chunk
}

// chunk is a run of elements of one parameter that a worker takes at a time.
type chunk struct{ param, lo, hi int }

const chunkLen = 1 << 15

// NewAdamW returns the optimiser of some parameters, with zero moments.
func NewAdamW(c AdamWConfig, params []nn.Param) *AdamW {
	o := &AdamW{Config: c, params: params}
	for i := range params {
		n := len(params[i].Data)
		o.m, o.v = append(o.m, make([]float32, n)), append(o.v, make([]float32, n))
	}
	o.chunks = chunks(params)
	return o
}

func chunks(params []nn.Param) []chunk {
	var out []chunk
	for i := range params {
		n := len(params[i].Data)
		for lo := 0; lo < n; lo += chunkLen {
			out = append(out, chunk{i, lo, min(n, lo+chunkLen)})
		}
	}
	return out
}

// Step changes the weights by their gradients. lr is the step's learning rate.
func (o *AdamW) Step(w *cpu.Work, lr float64) {
	o.Steps++
	c := &o.Config
	t := float64(o.Steps)
	decayed := kernel.AdamWStep{
		Keep:  float32(1 - lr*c.Decay),
		Beta1: float32(c.Beta1), Rest1: float32(1 - c.Beta1),
		Beta2: float32(c.Beta2), Rest2: float32(1 - c.Beta2),
		Eps:  float32(c.Eps),
		Root: float32(math.Sqrt(1 - math.Pow(c.Beta2, t))),
		Step: float32(lr / (1 - math.Pow(c.Beta1, t))),
	}
	whole := decayed
	whole.Keep = 1
	w.Each(len(o.chunks), 1, func(_ *cpu.Scratch, lo, hi int) {
		for _, k := range o.chunks[lo:hi] {
			p := &o.params[k.param]
			u := &decayed
			if len(p.Shape) < 2 && !c.DecayVectors {
				u = &whole
			}
			u.Apply(p.Data[k.lo:k.hi], p.Grad[k.lo:k.hi], o.m[k.param][k.lo:k.hi], o.v[k.param][k.lo:k.hi])
		}
	})
}

// State calls f for each tensor of the state, in a fixed order, with a name that
// tells moment and parameter. f may change the values: that is how a state is put
// back.
func (o *AdamW) State(f func(name string, shape []int, values []float32) error) error {
	for i := range o.params {
		p := &o.params[i]
		if err := f("m."+p.Name, p.Shape, o.m[i]); err != nil {
			return err
		}
		if err := f("v."+p.Name, p.Shape, o.v[i]); err != nil {
			return err
		}
	}
	return nil
}

// Validate reports every setting that cannot be.
func (c AdamWConfig) Validate() []error {
	var errs []error
	for _, b := range []struct {
		name string
		v    float64
	}{{"beta1", c.Beta1}, {"beta2", c.Beta2}} {
		if !(b.v >= 0 && b.v < 1) {
			errs = append(errs, fmt.Errorf("%s: %v, want a number in [0, 1)", b.name, b.v))
		}
	}
	if !(c.Eps > 0) {
		errs = append(errs, fmt.Errorf("eps: %v, want a positive number", c.Eps))
	}
	if !(c.Decay >= 0) {
		errs = append(errs, fmt.Errorf("weight_decay: %v, want 0 or more", c.Decay))
	}
	return errs
}
