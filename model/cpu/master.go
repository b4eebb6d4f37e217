package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

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
	fixed bool      // it does not learn: no gradient of it is wanted
}

func newMaster(d kernel.DType, n, in int, bias bool) *master {
	m := newWeight(n, in, bias)
	if d == kernel.BFloat16 {
		m.low = newLow(n, in)
	} else {
		m.back = make([]float32, n*kernel.Pad(in))
	}
	return m
}

// newWeight returns a master without panels.
func newWeight(n, in int, bias bool) *master {
	m := &master{n: n, in: in, w: make([]float32, n*in), dw: make([]float32, n*in)}
	if bias {
		m.b, m.db = make([]float32, n), make([]float32, n)
	}
	return m
}

// params sets data and gradient of the parameters of the layer: weights, and
// biases when there are any, of rows that lie one behind the other.
func (m *master) params(p []nn.Param) {
	weight, bias := 0, 0
	for i := range p {
		n := p[i].Len()
		if len(p[i].Shape) > 1 {
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
// Aliasing: dx must overlap neither dy nor x.
func (m *master) backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int,
	x []float32, ldx, rows int) {
	if dx != nil {
		w.Rows(rows, func(s *Scratch, lo, hi int) {
			m.backwardInput(s, dx[lo*lddx:], lddx, add, dy[lo*lddy:], lddy, hi-lo)
		})
	}
	m.backwardWeight(w, dy, lddy, x, ldx, rows)
}

// backwardInput is the part of backward that computes dX, for some rows by one
// worker.
func (m *master) backwardInput(s *Scratch, dx []float32, lddx int, add bool, dy []float32, lddy, rows int) {
	if m.low != nil {
		m.low.backwardInput(s, dx, lddx, add, dy, lddy, rows)
		return
	}
	mul := kernel.MatMul
	if add {
		mul = kernel.MatMulAdd
	}
	mul(dx, lddx, dy, lddy, m.back, m.n*kernel.NR, rows, m.n, kernel.Pad(m.in)/kernel.NR, &s.Gemm)
}

// packBlock is how many tokens a worker lays out at a time. It is even, because
// a step of bfloat16 has two.
const packBlock = 64

// backwardWeight is the part of backward that accumulates into dW and db. While
// a block of tokens is multiplied the next is laid out: workers that find no more
// of the one take of the other.
func (m *master) backwardWeight(w *Work, dy []float32, lddy int, x []float32, ldx, rows int) {
	if m.fixed {
		return
	}
	both := [2]sides{w.sides(0, m), w.sides(1, m)}
	pack := func(t, lo, hi int) {
		o := &both[t/tokenBlock%2]
		kernel.Transpose(o.at[lo:], blockStride, dy[(t+lo)*lddy:], lddy, hi-lo, m.n)
		if m.low != nil {
			kernel.PackColsBF16(o.low, lowPanel, lo, x[(t+lo)*ldx:], ldx, hi-lo, m.in)
		} else {
			kernel.PackCols(o.xp, tokenPanel, lo, x[(t+lo)*ldx:], ldx, hi-lo, m.in)
		}
	}
	w.Each(min(tokenBlock, rows), packBlock, func(_ *Scratch, lo, hi int) { pack(0, lo, hi) })
	count := w.count(m.n, kernel.RowBlock)
	for t := 0; t < rows; t += tokenBlock {
		k, next := min(tokenBlock, rows-t), min(tokenBlock, max(0, rows-t-tokenBlock))
		o := &both[t/tokenBlock%2]
		w.Each(count+(next+packBlock-1)/packBlock, 1, func(s *Scratch, lo, hi int) {
			for i := lo; i < hi; i++ {
				if j := (i - count) * packBlock; j >= 0 {
					pack(t+tokenBlock, j, min(next, j+packBlock))
				} else {
					m.gradient(s, o, k, i*m.n/count, (i+1)*m.n/count)
				}
			}
		})
	}
}

// gradient adds the products of k tokens to the rows [lo, hi) of dW and db.
func (m *master) gradient(s *Scratch, o *sides, k, lo, hi int) {
	a := o.at[lo*blockStride:]
	m.addProduct(s, lo, hi, func(c []float32, ldc, panel, n int, add bool) {
		switch {
		case m.low != nil && add:
			kernel.MatMulAddBF16(c, ldc, a, blockStride, o.low[panel*lowPanel:], lowPanel, hi-lo, k,
				n, &s.Gemm)
		case m.low != nil:
			kernel.MatMulBF16(c, ldc, a, blockStride, o.low[panel*lowPanel:], lowPanel, hi-lo, k, n, &s.Gemm)
		case add:
			kernel.MatMulAdd(c, ldc, a, blockStride, o.xp[panel*tokenPanel:], tokenPanel, hi-lo, k, n, &s.Gemm)
		default:
			kernel.MatMul(c, ldc, a, blockStride, o.xp[panel*tokenPanel:], tokenPanel, hi-lo, k, n, &s.Gemm)
		}
	})
	m.sumBias(a, k, lo, hi)
}

// addProduct adds to the rows [lo, hi) of dW what mul computes: n panels of them
// from one on, added to c or written.
func (m *master) addProduct(s *Scratch, lo, hi int, mul func(c []float32, ldc, panel, n int, add bool)) {
	const nr = kernel.NR
	whole := m.in / nr
	if whole > 0 {
		mul(m.dw[lo*m.in:hi*m.in], m.in, 0, whole, true)
	}
	if rest := m.in - whole*nr; rest > 0 { // a product writes whole panels: not into the next row
		tmp := grow(&s.out, (hi-lo)*nr)
		mul(tmp, nr, whole, 1, false)
		for r := range hi - lo {
			kernel.AddTo(m.dw[(lo+r)*m.in+whole*nr:], tmp[r*nr:][:rest])
		}
	}
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
