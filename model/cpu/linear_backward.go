package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (l *linear) allocTraining(d kernel.DType) {
	l.alloc(d)
	l.master = newMaster(l.format(d), l.Out(), l.In, l.Bias)
}

func (l *linear) bind(p []nn.Param) { l.master.params(p) }

func (l *linear) refresh() {
	l.w.Pack(0, l.master.w)
	copy(l.b, l.master.b)
	l.master.refresh()
}

// backward computes the gradients of y = x·Wᵀ + b: dx = dy·W, and accumulates
// dW += dyᵀ·x and db += Σ dy.
//
// Shapes: dx is (m, Pad(in)) with stride lddx, dy is (m, out) with stride lddy,
// x is (m, in) with stride ldx. Writes dx, or with add accumulates into it.
// Aliasing: dx must overlap neither dy nor x.
func (l *linear) backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int,
	x []float32, ldx, m int) {
	l.master.backward(w, dx, lddx, add, dy, lddy, x, ldx, m)
}

// backwardInput is the part of backward that computes dx, for some rows by one
// worker.
func (l *linear) backwardInput(s *Scratch, dx []float32, lddx int, add bool, dy []float32, lddy, m int) {
	l.master.backwardInput(s, dx, lddx, add, dy, lddy, m)
}

// backwardWeight is the part of backward that accumulates into dW and db.
func (l *linear) backwardWeight(w *Work, dy []float32, lddy int, x []float32, ldx, m int) {
	l.master.backwardWeight(w, dy, lddy, x, ldx, m)
}
