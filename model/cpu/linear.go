package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// linear is y = x·Wᵀ + b.
type linear struct {
	*nn.Linear
	w *kernel.Panels
	b []float32 // (Pad(N)), nil when the layer has none

	master *master // nil when the layer serves
}

func (l *linear) alloc(d kernel.DType) {
	l.w = kernel.NewPanels(l.format(d), l.Out(), l.In)
	if l.Bias {
		l.b = make([]float32, kernel.Pad(l.Out()))
	}
}

// format returns the number format of the layer in a model of another.
func (l *linear) format(d kernel.DType) kernel.DType {
	if l.Exact {
		return kernel.Float32
	}
	return d
}

func (l *linear) memory() [][]byte { return append(l.w.Memory(), kernel.Bytes(l.b)) }

func (l *linear) store(i, row int, values []float32) {
	kinds := 1
	if l.Bias {
		kinds = 2
	}
	for _, n := range l.Outs[:i/kinds] { // stacked before it
		row += n
	}
	if i%kinds == 0 {
		l.w.Pack(row, values)
	} else {
		copy(l.b[row:], values)
	}
}

// forward computes y = epilogue(x·Wᵀ + b) for m rows.
//
// Shapes: x is (m, in) with stride ldx; y is (m, Pad(out)) with stride ldy.
// Aliasing: y must not overlap x. Accumulates into y with kernel.Add.
func (l *linear) forward(s *kernel.Scratch, y []float32, ldy int, x []float32, ldx, m int,
	e kernel.Epilogue) {
	p := kernel.Product{C: y, LDC: ldy, A: x, LDA: ldx, W: l.w, Bias: l.b, M: m, Epilogue: e}
	p.All(s)
}
