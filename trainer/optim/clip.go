package optim

import (
	"math"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Norm returns the Euclidean norm of all gradients. The squares are summed in
// chunks of a fixed size, and the chunks in order.
func Norm(w *cpu.Work, params []nn.Param) float64 {
	ks := chunks(params)
	sums := make([]float64, len(ks))
	w.Each(len(ks), 1, func(_ *cpu.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			g := params[ks[i].param].Grad[ks[i].lo:ks[i].hi]
			sums[i] = float64(kernel.Dot(g, g))
		}
	})
	sum := 0.0
	for _, s := range sums {
		sum += s
	}
	return math.Sqrt(sum)
}

// Clip scales the gradients down so that their norm is at most limit, and returns
// the norm before. A limit of 0 clips nothing. A norm that is not finite is left
// alone: the caller looks at it.
// Source: Pascanu et al. 2013 (arXiv 1211.5063), algorithm 1.
func Clip(w *cpu.Work, params []nn.Param, limit float64) float64 {
	norm := Norm(w, params)
	if limit <= 0 || !(norm > limit) || math.IsInf(norm, 0) {
		return norm
	}
	scale := float32(limit / norm)
	w.Each(len(params), 1, func(_ *cpu.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			for j := range params[i].Grad {
				params[i].Grad[j] *= scale
			}
		}
	})
	return norm
}
