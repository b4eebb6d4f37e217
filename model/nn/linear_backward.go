package nn

import "github.com/warmserve/warmserve/model/kernel"

// AllocTraining implements [Trainable].
func (l *Linear) AllocTraining(d kernel.DType) {
	l.Alloc(d)
	l.master = newMaster(d, l.Out(), l.In, l.bias)
}

// Learned implements [Trainable].
func (l *Linear) Learned(p []Param) { l.master.params(p) }

// Refresh implements [Trainable].
func (l *Linear) Refresh() {
	l.W.Pack(0, l.master.w)
	copy(l.Bias, l.master.b)
	l.master.refresh()
}

// Backward computes the gradients of y = x·Wᵀ + b: dx = dy·W, and accumulates
// dW += dyᵀ·x and db += Σ dy.
//
// Shapes: dx is (m, Pad(in)) with stride lddx, dy is (m, out) with stride lddy,
// x is (m, in) with stride ldx. Writes dx, or with add accumulates into it.
// Aliasing: dx must overlap neither dy nor x.
func (l *Linear) Backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int, x []float32, ldx, m int) {
	l.master.backward(w, dx, lddx, add, dy, lddy, x, ldx, m)
}

// BackwardInput is the part of Backward that computes dx, for some rows by one
// worker.
func (l *Linear) BackwardInput(s *Scratch, dx []float32, lddx int, add bool, dy []float32, lddy, m int) {
	l.master.backwardInput(s, dx, lddx, add, dy, lddy, m)
}

// BackwardWeight is the part of Backward that accumulates into dW and db.
func (l *Linear) BackwardWeight(w *Work, dy []float32, lddy int, x []float32, ldx, m int) {
	l.master.backwardWeight(w, dy, lddy, x, ldx, m)
}
