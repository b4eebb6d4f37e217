package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// transposed is a layer whose first parameter, its weight, the checkpoint stores
// as [in, out]: what is stored and what learns is in that order, and turned for
// the layer inside.
type transposed struct {
	layer
	n, in int // the weight inside is (n, in)

	params []nn.Param // of the layer inside, while training
	w, dw  []float32  // (in, n)
}

// newTransposed returns the layer of a module that is stored so.
func newTransposed(m nn.Module, inside layer) (*transposed, bool) {
	switch m := m.(type) {
	case *nn.Linear:
		if m.Transposed {
			return &transposed{layer: inside, n: m.Out(), in: m.In}, true
		}
	case *nn.FusedQKV:
		if m.Q.Transposed {
			return &transposed{layer: inside, n: m.Rows(), in: m.Q.In}, true
		}
	}
	return nil, false
}

// store takes a weight as a whole: see pieceRows.
func (t *transposed) store(i, row int, values []float32) {
	if i > 0 {
		t.layer.store(i, row, values)
		return
	}
	turned := make([]float32, len(values))
	kernel.Transpose(turned, t.in, values, t.n, t.in, t.n)
	t.layer.store(0, 0, turned)
}

func (t *transposed) allocTraining(d kernel.DType) {
	t.layer.allocTraining(d)
	t.w, t.dw = make([]float32, t.in*t.n), make([]float32, t.in*t.n)
}

func (t *transposed) bind(p []nn.Param) {
	t.layer.bind(p)
	t.params = append(t.params[:0], p...)
	p[0].Data, p[0].Grad = t.w, t.dw
}

func (t *transposed) refresh() {
	kernel.Transpose(t.params[0].Data, t.in, t.w, t.n, t.in, t.n)
	t.layer.refresh()
}

func (t *transposed) collect() {
	if c, ok := t.layer.(collector); ok {
		c.collect()
	}
	inside := t.params[0].Grad
	turned := make([]float32, len(inside))
	kernel.Transpose(turned, t.n, inside, t.in, t.n, t.in)
	move(t.dw, turned)
	clear(inside)
}
