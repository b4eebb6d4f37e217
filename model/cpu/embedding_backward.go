package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (e *embedding) allocTraining(kernel.DType) {
	e.alloc(kernel.Float32)
	e.grad = make([]float32, e.V*e.C)
}

func (e *embedding) bind(p []nn.Param) { p[0].Data, p[0].Grad = e.data, e.grad }

func (e *embedding) refresh() {}

// lookup writes the row of each id, or with add adds it.
//
// Shapes: y is (len(ids), C) with stride ldy.
func (e *embedding) lookup(w *Work, y []float32, ldy int, ids []int32, add bool) {
	w.Each(len(ids), 128, func(_ *Scratch, lo, hi int) {
		for i, id := range ids[lo:hi] {
			row, to := e.data[int(id)*e.C:][:e.C], y[(lo+i)*ldy:]
			if add {
				kernel.AddTo(to[:e.C], row)
			} else {
				copy(to, row)
			}
		}
	})
}

// backward accumulates the gradient of each looked-up row, in the order of ids.
// Workers share the columns, so that equal ids need no order among workers.
//
// Shapes: dy is (len(ids), C) with stride lddy.
func (e *embedding) backward(w *Work, dy []float32, lddy int, ids []int32) {
	if e.fixed {
		return
	}
	w.Each(e.C, max(16, (e.C+w.Workers()-1)/w.Workers()), func(_ *Scratch, lo, hi int) {
		for i, id := range ids {
			kernel.AddTo(e.grad[int(id)*e.C+lo:][:hi-lo], dy[i*lddy+lo:][:hi-lo])
		}
	})
}
