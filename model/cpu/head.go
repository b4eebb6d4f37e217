package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// scoreHead is the linear layer from a hidden state to one reward, in float32.
type scoreHead struct {
	*nn.ScoreHead
	w []float32 // (C)
	b [1]float32

	dw []float32 // (C), nil when the layer serves
	db [1]float32
}

func (h *scoreHead) alloc(kernel.DType) { h.w = make([]float32, h.C) }

func (h *scoreHead) bytes() int { return 4 * (len(h.w) + 1) }

func (h *scoreHead) store(i, _ int, values []float32) {
	if i == 0 {
		copy(h.w, values)
	} else {
		copy(h.b[:], values)
	}
}

// score returns the reward of one hidden state.
func (h *scoreHead) score(x []float32) float32 { return kernel.Dot(h.w, x) + h.b[0] }
