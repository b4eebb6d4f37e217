package nn

import "github.com/warmserve/warmserve/model/kernel"

// AllocTraining implements [Trainable].
func (h *ScoreHead) AllocTraining(kernel.DType) {
	h.Alloc(kernel.Float32)
	h.dw = make([]float32, h.C)
}

// Learned implements [Trainable].
func (h *ScoreHead) Learned(p []Param) {
	learned(&p[0], h.W, h.dw)
	if h.bias {
		learned(&p[1], h.B[:], h.db[:])
	}
}

// Refresh implements [Trainable].
func (h *ScoreHead) Refresh() {}

// Backward computes dx = dscore·w for each score and accumulates dw and db.
//
// Shapes: dx and x are (len(dscore), C) with strides lddx and ldx. Writes dx.
func (h *ScoreHead) Backward(dx []float32, lddx int, dscore []float32, x []float32, ldx int) {
	for i, d := range dscore {
		row := dx[i*lddx:][:h.C]
		clear(row)
		kernel.AddScaled(row, d, h.W)
		kernel.AddScaled(h.dw, d, x[i*ldx:][:h.C])
		h.db[0] += d
	}
}
