package nn

import "github.com/warmserve/warmserve/model/kernel"

// master is the weight of linear layers while it is trained: row-major as the
// checkpoint stores it, with its gradient, beside the panels that carry a
// gradient from the layer's output to its input. The panels of the forward pass
// are the layer's own. Refresh makes both follow the weight.
type master struct {
	n, in int
	w, dw []float32 // (n, in)
	b, db []float32 // (n), nil without bias
	back  []float32 // panels of W, [n][NR] each: W as the right side of dX = dY·W
	low   *low      // instead of back, for products in bfloat16
}

func newMaster(d kernel.DType, n, in int, bias bool) *master {
	m := &master{n: n, in: in, w: make([]float32, n*in), dw: make([]float32, n*in)}
	if d == kernel.BFloat16 {
		m.low = newLow(n, in)
	} else {
		m.back = make([]float32, n*kernel.Pad(in))
	}
	if bias {
		m.b, m.db = make([]float32, n), make([]float32, n)
	}
	return m
}

// params sets data and gradient of the parameters of the layer: weights, and
// biases when there are any, of rows that lie one behind the other.
func (m *master) params(p []Param) {
	weight, bias := 0, 0
	for i := range p {
		n := p[i].Len()
		if len(p[i].Shape) == 2 {
			p[i].Data, p[i].Grad = m.w[weight:][:n], m.dw[weight:][:n]
			weight += n
		} else {
			p[i].Data, p[i].Grad = m.b[bias:][:n], m.db[bias:][:n]
			bias += n
		}
	}
}

// refresh packs the panels of the backward pass from the weight.
func (m *master) refresh() {
	if m.low != nil {
		m.low.refresh(m)
		return
	}
	kernel.PackCols(m.back, m.n*kernel.NR, 0, m.w, m.in, m.n, m.in)
}

// backward computes dX = dY·W, dW += dYᵀ·X and db += Σ dY.
//
// Shapes: dx is (rows, Pad(in)) with stride lddx, dy is (rows, n) with stride
// lddy, x is (rows, in) with stride ldx. Reads dy and x. Writes dx, or with add
// accumulates into it; a nil dx is not wanted. Accumulates into dW and db.
func (m *master) backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int, x []float32, ldx, rows int) {
	if m.low != nil {
		m.lowBackward(w, dx, lddx, add, dy, lddy, x, ldx, rows)
		return
	}
	panels := kernel.Pad(m.in) / kernel.NR
	if dx != nil {
		w.Rows(rows, func(_ *Scratch, lo, hi int) {
			mul := kernel.MatMul
			if add {
				mul = kernel.MatMulAdd
			}
			mul(dx[lo*lddx:], lddx, dy[lo*lddy:], lddy, m.back, m.n*kernel.NR, hi-lo, m.n, panels)
		})
	}
	at := grow(&w.at, m.n*blockStride)
	xp := grow(&w.xp, panels*tokenBlock*kernel.NR)
	for t := 0; t < rows; t += tokenBlock {
		k := min(tokenBlock, rows-t)
		w.Each(k, 64, func(_ *Scratch, lo, hi int) {
			kernel.Transpose(at[lo:], blockStride, dy[(t+lo)*lddy:], lddy, hi-lo, m.n)
			kernel.PackCols(xp, tokenBlock*kernel.NR, lo, x[(t+lo)*ldx:], ldx, hi-lo, m.in)
		})
		w.pieces(m.n, kernel.RowBlock, func(s *Scratch, lo, hi int) { m.gradient(s, at, xp, k, lo, hi) })
	}
}

// gradient adds the products of k tokens to the rows [lo, hi) of dW and db.
func (m *master) gradient(s *Scratch, at, xp []float32, k, lo, hi int) {
	const nr = kernel.NR
	whole := m.in / nr
	rows := hi - lo
	a := at[lo*blockStride:]
	kernel.MatMulAdd(m.dw[lo*m.in:hi*m.in], m.in, a, blockStride, xp, tokenBlock*nr, rows, k, whole)
	if rest := m.in - whole*nr; rest > 0 { // a product writes whole panels: not into the next row
		tmp := grow(&s.out, rows*nr)
		kernel.MatMul(tmp, nr, a, blockStride, xp[whole*tokenBlock*nr:], tokenBlock*nr, rows, k, 1)
		for r := range rows {
			kernel.AddTo(m.dw[(lo+r)*m.in+whole*nr:], tmp[r*nr:][:rest])
		}
	}
	m.sumBias(a, k, lo, hi)
}

// sumBias adds the sums of k tokens to the elements [lo, hi) of db.
func (m *master) sumBias(a []float32, k, lo, hi int) {
	if m.db == nil {
		return
	}
	for r := range hi - lo {
		m.db[lo+r] += kernel.Dot(a[r*blockStride:][:k], ones[:k])
	}
}

// ones turns a dot product into a sum.
var ones = func() (o [tokenBlock]float32) {
	for i := range o {
		o[i] = 1
	}
	return o
}()
