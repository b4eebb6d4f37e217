package nn

import "github.com/warmserve/warmserve/model/kernel"

// low is what the backward pass of a weight needs beside the weight itself when
// its products are in bfloat16: both sides are rounded, sums, the weight and its
// gradient stay float32.
type low struct {
	back  *kernel.Panels // Wᵀ [in, n]: W as the right side of dX = dY·W
	turn  []float32      // (in, n) Wᵀ, room for Refresh
	cols  *kernel.Panels // of a block of tokens, Xᵀ [in, k]: X as the right side of dW
	turnX []float32      // (in, k) Xᵀ
}

func newLow(n, in int) *low {
	return &low{back: kernel.NewPanels(kernel.BFloat16, in, n), turn: make([]float32, in*n)}
}

func (l *low) refresh(m *master) {
	kernel.Transpose(l.turn, m.n, m.w, m.in, m.n, m.in)
	l.back.Pack(0, l.turn)
}

// lowBackward is backward with products in bfloat16.
func (m *master) lowBackward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int, x []float32, ldx, rows int) {
	l := m.low
	if dx != nil {
		e := kernel.Store
		if add {
			e = kernel.Add
		}
		w.Rows(rows, func(s *Scratch, lo, hi int) {
			p := kernel.Product{C: dx[lo*lddx:], LDC: lddx, A: dy[lo*lddy:], LDA: lddy, W: l.back, M: hi - lo, Epilogue: e}
			p.All(&s.Gemm)
		})
	}
	at := grow(&w.at, m.n*blockStride)
	for t := 0; t < rows; t += tokenBlock {
		k := min(tokenBlock, rows-t)
		if l.cols == nil || l.cols.K != k {
			l.cols = kernel.NewPanels(kernel.BFloat16, m.in, k)
		}
		turned := grow(&l.turnX, m.in*k)
		w.Each(k, 64, func(_ *Scratch, lo, hi int) {
			kernel.Transpose(at[lo:], blockStride, dy[(t+lo)*lddy:], lddy, hi-lo, m.n)
			kernel.Transpose(turned[lo:], k, x[(t+lo)*ldx:], ldx, hi-lo, m.in)
		})
		w.Each(m.in, 2*kernel.NR, func(_ *Scratch, lo, hi int) { l.cols.Pack(lo, turned[lo*k:hi*k]) })
		w.pieces(m.n, kernel.RowBlock, func(s *Scratch, lo, hi int) { m.lowGradient(s, at, k, lo, hi) })
	}
}

// lowGradient adds the products of k tokens to the rows [lo, hi) of dW and db.
func (m *master) lowGradient(s *Scratch, at []float32, k, lo, hi int) {
	rows, a := hi-lo, at[lo*blockStride:]
	p := kernel.Product{C: m.dw[lo*m.in:], LDC: m.in, A: a, LDA: blockStride, W: m.low.cols, M: rows, Epilogue: kernel.Add}
	if m.in%kernel.NR == 0 {
		p.All(&s.Gemm)
	} else { // a product writes whole panels: not into the next row
		p.LDC, p.Epilogue = kernel.Pad(m.in), kernel.Store
		p.C = grow(&s.out, rows*p.LDC)
		p.All(&s.Gemm)
		for r := range rows {
			kernel.AddTo(m.dw[(lo+r)*m.in:], p.C[r*p.LDC:][:m.in])
		}
	}
	m.sumBias(a, k, lo, hi)
}
