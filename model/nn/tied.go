package nn

import "github.com/warmserve/warmserve/model/kernel"

// NewTied returns the output layer of a language model whose weight is the
// embedding's table: what it learns is added to the embedding's gradient. The
// embedding has been made ready for training.
func NewTied(e *Embedding) *Linear {
	l := &Linear{In: e.C, Outs: []int{e.V}}
	l.Alloc(kernel.Float32)
	l.master = &master{n: e.V, in: e.C, w: e.Data, dw: e.grad, back: make([]float32, e.V*kernel.Pad(e.C))}
	return l
}
