package cpu

import (
	"fmt"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// learns says whether a head can be trained: a linear one, or one with layers
// before it that learn, whose one output is the reward.
func learns(n *nn.Network) error {
	h := n.Head
	if h == nil {
		return nil
	}
	for _, l := range h.Layers {
		if _, ok := l.Layer.(*nn.BatchNorm); ok {
			return fmt.Errorf("cpu: training: the score head of %s has a batch norm, %s, which this trainer does not learn: start from a head without one", n.Name, l.Names[0])
		}
	}
	if h.Readout == nil && h.Outputs() == 1 && len(h.Branches) == 1 {
		return nil
	}
	return fmt.Errorf("cpu: training: the reward of %s is made of %d outputs, which this trainer does not learn: start from a head with one output", n.Name, h.Outputs())
}

func (h *scoreHead) allocTraining(kernel.DType) {
	h.alloc(kernel.Float32)
	h.dw, h.db = make([]float32, len(h.w)), make([]float32, len(h.b))
}

func (h *scoreHead) bind(p []nn.Param) {
	p[0].Data, p[0].Grad = h.w, h.dw
	if h.Bias {
		p[1].Data, p[1].Grad = h.b, h.db
	}
}

func (h *scoreHead) refresh() {}

// backward computes dx = Σ dscore·w of the outputs of each row and accumulates dw
// and db.
//
// Shapes: dscore is (m, N); dx and x are (m, C) with strides lddx and ldx. Writes dx.
func (h *scoreHead) backward(dx []float32, lddx int, dscore []float32, x []float32, ldx int) {
	for i := range len(dscore) / h.N {
		row := dx[i*lddx:][:h.C]
		clear(row)
		for j, d := range dscore[i*h.N:][:h.N] {
			kernel.AddScaled(row, d, h.w[j*h.C:][:h.C])
			kernel.AddScaled(h.dw[j*h.C:][:h.C], d, x[i*ldx:][:h.C])
			h.db[j] += d
		}
	}
}
