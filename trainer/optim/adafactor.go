package optim

import (
	"math"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// AdafactorConfig says how Adafactor changes weights.
type AdafactorConfig struct {
	// DecayPower is γ of β₂ = 1 − t^−γ, in (0, 1]; usually 0.8.
	DecayPower float64
	// Eps is added to squared gradients, > 0; usually 1e-30.
	Eps float64
	// Clip is the largest root mean square of an update, > 0; usually 1.
	Clip float64
	// Decay is the decoupled weight decay of matrices, ≥ 0.
	Decay float64
}

// DefaultAdafactor are the usual settings.
func DefaultAdafactor() AdafactorConfig {
	return AdafactorConfig{DecayPower: 0.8, Eps: 1e-30, Clip: 1}
}

// Adafactor keeps of a matrix's second moments the sums of rows and columns
// alone, and no first moment: its state is a fraction of AdamW's.
//
//	R ← β₂R + (1−β₂)·mean over columns of g²,  C ← β₂C + (1−β₂)·mean over rows
//	V = R·C / mean(R),  u = g/√V,  w ← w·(1 − lr·decay) − lr·u / max(1, RMS(u)/clip)
//
// The learning rate is absolute: it is not scaled by the size of the weights.
// Source: Shazeer and Stern 2018 (arXiv 1804.04235), algorithm 4 without relative
// step sizes; transformers Adafactor with scale_parameter and relative_step off.
type Adafactor struct {
	Config AdafactorConfig
	Steps  int

	params []nn.Param
	rows   [][]float32 // of a matrix, (rows); of a vector the whole second moment
	cols   [][]float32 // of a matrix, (columns); nil for a vector
	update []float32   // of the longest parameter
}

// NewAdafactor returns the optimiser of some parameters.
func NewAdafactor(c AdafactorConfig, params []nn.Param) *Adafactor {
	o := &Adafactor{Config: c, params: params}
	longest := 0
	for i := range params {
		p := &params[i]
		longest = max(longest, len(p.Data))
		if !factored(p) {
			o.rows, o.cols = append(o.rows, make([]float32, len(p.Data))), append(o.cols, nil)
			continue
		}
		o.rows, o.cols = append(o.rows, make([]float32, p.Shape[0])), append(o.cols,
			make([]float32, p.Shape[1]))
	}
	o.update = make([]float32, longest)
	return o
}

func factored(p *nn.Param) bool { return len(p.Shape) == 2 }

// Step changes the weights by their gradients.
func (o *Adafactor) Step(w *cpu.Work, lr float64) {
	o.Steps++
	rest := float32(math.Pow(float64(o.Steps), -o.Config.DecayPower))
	for i := range o.params {
		p := &o.params[i]
		u := o.update[:len(p.Data)]
		if factored(p) {
			o.matrix(w, p, u, o.rows[i], o.cols[i], rest)
		} else {
			o.vector(p, u, o.rows[i], rest)
		}
		// The sum of squares has one order: rows of one length, then rows.
		square, n := 0.0, p.RowLen()
		for at := 0; at < len(u); at += n {
			square += float64(kernel.Dot(u[at:at+n], u[at:at+n]))
		}
		size := math.Sqrt(square / float64(len(u)))
		step, keep := float32(lr/max(1, size/o.Config.Clip)), float32(1)
		if factored(p) {
			keep = float32(1 - lr*o.Config.Decay)
		}
		w.Each(len(u), chunkLen, func(_ *cpu.Scratch, lo, hi int) {
			for j, v := range u[lo:hi] {
				p.Data[lo+j] = keep*p.Data[lo+j] - step*v
			}
		})
	}
}

// matrix writes the update of a matrix, before clipping.
func (o *Adafactor) matrix(w *cpu.Work, p *nn.Param, u, rows, cols []float32, rest float32) {
	n, m := p.Shape[0], p.Shape[1]
	eps := float32(o.Config.Eps)
	w.Each(n, 64, func(_ *cpu.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			g := p.Grad[i*m:][:m]
			mean := kernel.Dot(g, g)/float32(m) + eps
			rows[i] += rest * (mean - rows[i])
		}
	})
	w.Each(m, 64, func(_ *cpu.Scratch, lo, hi int) { // workers share columns: each sum has one order
		sum := make([]float32, hi-lo)
		for i := range n {
			for j, g := range p.Grad[i*m+lo : i*m+hi] {
				sum[j] += g * g
			}
		}
		for j, s := range sum {
			cols[lo+j] += rest * (s/float32(n) + eps - cols[lo+j])
		}
	})
	mean := 0.0
	for _, r := range rows {
		mean += float64(r) / float64(n)
	}
	right := make([]float32, m)
	for j, c := range cols {
		right[j] = float32(1 / math.Sqrt(float64(c)))
	}
	w.Each(n, 64, func(_ *cpu.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			left := float32(math.Sqrt(mean / float64(rows[i])))
			for j, g := range p.Grad[i*m:][:m] {
				u[i*m+j] = g * left * right[j]
			}
		}
	})
}

// vector writes the update of a vector, before clipping.
func (o *Adafactor) vector(p *nn.Param, u, v []float32, rest float32) {
	eps := float32(o.Config.Eps)
	for j, g := range p.Grad {
		v[j] += rest * (g*g + eps - v[j])
		u[j] = float32(float64(g) / math.Sqrt(float64(v[j])))
	}
}

// State calls f for each tensor of the state, as AdamW's does.
func (o *Adafactor) State(f func(name string, shape []int, values []float32) error) error {
	for i := range o.params {
		p := &o.params[i]
		if err := f("r."+p.Name, []int{len(o.rows[i])}, o.rows[i]); err != nil {
			return err
		}
		if o.cols[i] == nil {
			continue
		}
		if err := f("c."+p.Name, []int{len(o.cols[i])}, o.cols[i]); err != nil {
			return err
		}
	}
	return nil
}
