package cpu

import "github.com/warmserve/warmserve/model/kernel"

// low is what the backward pass of a weight needs beside the weight itself when
// its products are in bfloat16: both sides are rounded, sums, the weight and its
// gradient stay float32.
type low struct {
	back *kernel.Panels // Wᵀ [in, n]: W as the right side of dX = dY·W
	turn []float32      // (in, n) Wᵀ, room for Refresh
}

func newLow(n, in int) *low {
	return &low{back: kernel.NewPanels(kernel.BFloat16, in, n), turn: make([]float32, in*n)}
}

func (l *low) refresh(m *master) {
	kernel.Transpose(l.turn, m.n, m.w, m.in, m.n, m.in)
	l.back.Pack(0, l.turn)
}

// backwardInput is that of the master, with products in bfloat16.
func (l *low) backwardInput(s *Scratch, dx []float32, lddx int, add bool, dy []float32, lddy, rows int) {
	e := kernel.Store
	if add {
		e = kernel.Add
	}
	p := kernel.Product{C: dx, LDC: lddx, A: dy, LDA: lddy, W: l.back, M: rows, Epilogue: e}
	p.All(&s.Gemm)
}
