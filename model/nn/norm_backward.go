package nn

import "github.com/warmserve/warmserve/model/kernel"

// AllocTraining implements [Trainable].
func (n *RMSNorm) AllocTraining(kernel.DType) {
	n.Alloc(kernel.Float32)
	n.dw = make([]float32, n.C)
}

// Learned implements [Trainable].
func (n *RMSNorm) Learned(p []Param) { learned(&p[0], n.W, n.dw) }

// Refresh implements [Trainable].
func (n *RMSNorm) Refresh() {}

// Backward implements [Normalization].
func (n *RMSNorm) Backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int, x []float32, ldx, m, groups int) {
	w.sums(n.dw, n.C, m, func(dw []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			for g := range groups {
				at := g * n.C
				kernel.RMSNormBackward(dx[i*lddx+at:], dw, dy[i*lddy+at:], x[i*ldx+at:][:n.C], n.W, n.Eps, add)
			}
		}
	})
}

// AllocTraining implements [Trainable].
func (n *LayerNorm) AllocTraining(kernel.DType) {
	n.Alloc(kernel.Float32)
	both := make([]float32, 2*n.C) // db behind dw, so that both are summed at once
	n.dw, n.db = both[:n.C], both[n.C:]
}

// Learned implements [Trainable].
func (n *LayerNorm) Learned(p []Param) {
	learned(&p[0], n.W, n.dw)
	learned(&p[1], n.B, n.db)
}

// Refresh implements [Trainable].
func (n *LayerNorm) Refresh() {}

// Backward implements [Normalization].
func (n *LayerNorm) Backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int, x []float32, ldx, m, groups int) {
	both := n.dw[: 2*n.C : 2*n.C] // db lies behind dw
	w.sums(both, 2*n.C, m, func(sum []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			for g := range groups {
				at := g * n.C
				kernel.LayerNormBackward(dx[i*lddx+at:], sum[:n.C], sum[n.C:], dy[i*lddy+at:], x[i*ldx+at:][:n.C], n.W, n.Eps, add)
			}
		}
	})
}
