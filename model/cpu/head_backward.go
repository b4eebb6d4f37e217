package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (h *scoreHead) allocTraining(kernel.DType) {
	h.alloc(kernel.Float32)
	h.dw = make([]float32, h.C)
}

func (h *scoreHead) bind(p []nn.Param) {
	p[0].Data, p[0].Grad = h.w, h.dw
	if h.Bias {
		p[1].Data, p[1].Grad = h.b[:], h.db[:]
	}
}

func (h *scoreHead) refresh() {}

// backward computes dx = dscore·w for each score and accumulates dw and db.
//
// Shapes: dx and x are (len(dscore), C) with strides lddx and ldx. Writes dx.
func (h *scoreHead) backward(dx []float32, lddx int, dscore []float32, x []float32, ldx int) {
	for i, d := range dscore {
		row := dx[i*lddx:][:h.C]
		clear(row)
		kernel.AddScaled(row, d, h.w)
		kernel.AddScaled(h.dw, d, x[i*ldx:][:h.C])
		h.db[0] += d
	}
}
