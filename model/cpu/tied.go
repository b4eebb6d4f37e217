package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// newTied returns the output layer of a language model whose weight is the
// embedding's table: what it learns is added to the embedding's gradient. The
// embedding has been made ready for training.
func newTied(e *embedding) *linear {
	l := &linear{Linear: &nn.Linear{In: e.C, Outs: []int{e.V}}}
	l.alloc(kernel.Float32)
	l.master = &master{n: e.V, in: e.C, w: e.data, dw: e.grad, back: make([]float32, e.V*kernel.Pad(e.C))}
	return l
}
