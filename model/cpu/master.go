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
	pack := func(i int) { // the i-th packBlock tokens
		t, at := i*packBlock, i*packBlock%tokenBlock
		o, n := &both[t/tokenBlock%2], min(packBlock, rows-t)
		if m.low != nil {
			kernel.Transpose(o.at[at:], blockStride, dy[t*lddy:], lddy, n, m.n)
			kernel.PackColsBF16(o.low, lowPanel, at, x[t*ldx:], ldx, n, m.in)
		} else {
			kernel.PackCols(o.xp, tokenPanel, at, x[t*ldx:], ldx, n, m.in)
		}
	}
	// packs returns how many packBlocks the block of tokens from t on has.
	packs := func(t int) int { return (min(tokenBlock, max(0, rows-t)) + packBlock - 1) / packBlock }
	w.Each(packs(0), 1, func(_ *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			pack(i)
		}
	})
	groups := (m.n + kernel.LeftRows - 1) / kernel.LeftRows
	count := min(groups, w.count(m.n, kernel.LeftBlock))
	for t := 0; t < rows; t += tokenBlock {
		k, next := min(tokenBlock, rows-t), t+tokenBlock
		o := &both[t/tokenBlock%2]
		w.Each(count+packs(next), 1, func(s *Scratch, lo, hi int) {
			for i := lo; i < hi; i++ {
				if i >= count {
					pack(next/packBlock + i - count)
				} else {
					lo, hi := i*groups/count*kernel.LeftRows, min(m.n, (i+1)*groups/count*kernel.LeftRows)
					m.gradient(s, o, dy[t*lddy:], lddy, k, lo, hi)
				}
			}
		})
	}
}

// gradient adds the products of k tokens to the rows [lo, hi) of dW and db, lo a multiple
// of kernel.LeftRows.
func (m *master) gradient(s *Scratch, o *sides, dy []float32, lddy, k, lo, hi int) {
	const nr = kernel.NR
	var left []float32
	if m.low == nil {
		left = grow(&s.learn.left, (hi-lo+kernel.LeftRows-1)/kernel.LeftRows*tokenGroup)
		kernel.PackLeft(left, tokenGroup, 0, dy[lo:], lddy, k, hi-lo)
	}
	switch {
	case m.db == nil:
	case m.low != nil:
		for r := lo; r < hi; r++ {
			m.db[r] += kernel.Dot(o.at[r*blockStride:][:k], ones[:k])
		}
	default:
		sumLeft(s, m.db[lo:hi], left, k)
	}
	add := func(c []float32, ldc, panel, n int) {
		if m.low != nil {
			kernel.MatMulAddBF16(c, ldc, o.at[lo*blockStride:], blockStride, o.low[panel*lowPanel:], lowPanel,
				hi-lo, k, n, &s.Gemm)
		} else {
			kernel.MatMulAddT(c, ldc, left, kernel.LeftRows, tokenGroup, o.xp[panel*tokenPanel:], tokenPanel,
				hi-lo, k, n, &s.Gemm)
		}
	}
	whole := m.in / nr
	if whole > 0 {
		add(m.dw[lo*m.in:hi*m.in], m.in, 0, whole)
	}
	if rest := m.in - whole*nr; rest > 0 { // a product adds to whole panels: not to the next row
		tmp := grow(&s.out, (hi-lo)*nr)
		clear(tmp)
		add(tmp, nr, whole, 1)
		for r := range hi - lo {
			kernel.AddTo(m.dw[(lo+r)*m.in+whole*nr:], tmp[r*nr:][:rest])
		}
	}
}

// sumLeft adds to db the sums over k tokens of the groups of dY in left.
func sumLeft(s *Scratch, db, left []float32, k int) {
	const lr, rows = kernel.LeftRows, 64
	sum := grow(&s.out, rows*lr)
	for ; len(db) > 0; left = left[tokenGroup:] {
		clear(sum)
		for t := 0; t < k; t += rows {
			n := min(rows, k-t) * lr
			kernel.AddTo(sum[:n], left[t*lr:][:n])
		}
		for half := rows / 2 * lr; half >= lr; half /= 2 {
			kernel.AddTo(sum[:half], sum[half:][:half])
		}
		n := min(lr, len(db))
		kernel.AddTo(db[:n], sum[:n])
		db = db[n:]
	}
}

// ones turns a dot product into a sum.
var ones = func() (o [tokenBlock]float32) {
	for i := range o {
		o[i] = 1
	}
	return o
}()
