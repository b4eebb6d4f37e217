package nn

import (
	"fmt"

	"github.com/warmserve/warmserve/model/kernel"
)

// Linear is y = x·Wᵀ + b. Its rows may be stacked from several tensors of the
// checkpoint (keys over values).
type Linear struct {
	In   int
	Outs []int // rows of each stacked tensor
	bias bool

	W    *kernel.Panels
	Bias []float32 // (Pad(N)), nil when the layer has none

	master *master // nil when the layer serves
}

// NewLinear returns a layer from in to the sum of outs.
func NewLinear(in int, bias bool, outs ...int) Linear {
	return Linear{In: in, Outs: outs, bias: bias}
}

// Out returns the width of the output, N.
func (l *Linear) Out() int {
	n := 0
	for _, o := range l.Outs {
		n += o
	}
	return n
}

// Alloc implements [Module].
func (l *Linear) Alloc(d kernel.DType) {
	l.W = kernel.NewPanels(d, l.Out(), l.In)
	if l.bias {
		l.Bias = make([]float32, kernel.Pad(l.Out()))
	}
}

// Bytes implements [Module].
func (l *Linear) Bytes() int { return l.W.Bytes() + 4*len(l.Bias) }

// Params names one weight (and bias) for each stacked tensor.
func (l *Linear) Params(names []string) []Param {
	if len(names) != len(l.Outs) {
		panic(fmt.Sprintf("nn: Linear: %d names %v for %d stacked tensors", len(names), names, len(l.Outs)))
	}
	var out []Param
	first := 0
	for i, n := range names {
		at := first
		out = append(out, Param{
			Name: n + ".weight", Shape: []int{l.Outs[i], l.In},
			Store: func(row int, values []float32) { l.W.Pack(at+row, values) },
		})
		if l.bias {
			out = append(out, vector(n+".bias", l.Outs[i], func() []float32 { return l.Bias[at:] }))
		}
		first += l.Outs[i]
	}
	return out
}

// Forward computes y = epilogue(x·Wᵀ + b) for m rows.
//
// Shapes: x is (m, in) with stride ldx; y is (m, Pad(out)) with stride ldy.
// Aliasing: y must not overlap x. Accumulates into y with kernel.Add.
func (l *Linear) Forward(s *kernel.Scratch, y []float32, ldy int, x []float32, ldx, m int, e kernel.Epilogue) {
	p := kernel.Product{C: y, LDC: ldy, A: x, LDA: ldx, W: l.W, Bias: l.Bias, M: m, Epilogue: e}
	p.All(s)
}
