package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (n *rmsNorm) allocTraining(kernel.DType) {
	n.alloc(kernel.Float32)
	n.learned, n.dw = make([]float32, n.C), make([]float32, n.C)
}

func (n *rmsNorm) bind(p []nn.Param) { p[0].Data, p[0].Grad = n.learned, n.dw }

func (n *rmsNorm) refresh() { n.store(0, 0, n.learned) }

func (n *rmsNorm) backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int,
	x []float32, ldx, m, groups int) {
	w.sums(n.dw, n.C, m, func(dw []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			for g := range groups {
				at := g * n.C
				kernel.RMSNormBackward(dx[i*lddx+at:], dw, dy[i*lddy+at:], x[i*ldx+at:][:n.C], n.w,
					n.Eps, add)
			}
		}
	})
}

func (n *layerNorm) allocTraining(kernel.DType) {
	n.alloc(kernel.Float32)
	both := make([]float32, 2*n.C) // db behind dw, so that both are summed at once
	n.dw, n.db = both[:n.C], both[n.C:]
}

func (n *layerNorm) bind(p []nn.Param) {
	p[0].Data, p[0].Grad = n.w, n.dw
	if !n.NoBias {
		p[1].Data, p[1].Grad = n.b, n.db
	}
}

func (n *layerNorm) refresh() {}

func (n *layerNorm) backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int,
	x []float32, ldx, m, groups int) {
	both := n.dw[: 2*n.C : 2*n.C] // db lies behind dw
	w.sums(both, 2*n.C, m, func(sum []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			for g := range groups {
				at := g * n.C
				kernel.LayerNormBackward(dx[i*lddx+at:], sum[:n.C], sum[n.C:], dy[i*lddy+at:],
					x[i*ldx+at:][:n.C], n.w, n.Eps, add)
			}
		}
	})
}
