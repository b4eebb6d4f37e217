package cpu

import "github.com/warmserve/warmserve/model/kernel"

// queryBlock is how many queries attention takes at a time while it is trained.
// It is fixed, so that the sums over queries have one order.
const queryBlock = 64

// attentionGrads are the tensors of an attention layer and their gradients.
//
// Shapes: q, out, dq and dout are (rows, H·D) with stride ldq; k, v, dk and dv are
// (T, K·D) with stride ldk.
type attentionGrads struct {
	Q, Out, DQ, DOut []float32
	K, V, DK, DV     []float32
	LDQ, LDK         int
	relative         *relativeGrads // nil for nothing
}

// learning is the memory of one worker for attention that is trained.
type learning struct {
	keys, keyCols, values []float32 // panels: K as columns, K as rows, V as columns
	p, dp, t              []float32 // weights, their gradient, and either transposed
	pack, out             []float32
	capped                []float32 // scores behind the soft cap
}

// dropped is forward with dropout of the attention's weights, for spans without
// prefix. numbers[i] names the query i's sequence to the dropout.
func (a *attention) dropped(s *Scratch, out []float32, ldo int, q []float32, ldq int, k, v []float32,
	ldk int, spans []Span, queries []Query, head int, drop dropout, numbers []uint64) {
	l := &s.learn
	col := head * a.D
	for i, query := range queries {
		sp := spans[query.Span]
		first, end := a.visible(sp, query)
		n := end - first
		a.packKeys(l, k[(sp.Row+first)*ldk+col:], ldk, n)
		vp := n * kernel.NR
		values := grow(&l.values, kernel.Pad(a.D)*n)
		kernel.PackCols(values, vp, 0, v[(sp.Row+first)*ldk+col:], ldk, n, a.D)
		for g := range a.H / a.K {
			h := head*(a.H/a.K) + g
			if a.relative != nil {
				a.relative.begin(&s.near, k[sp.Row*ldk+col:], ldk, n, h)
			}
			for lo := query.Lo; lo < query.Hi; lo += queryBlock {
				m := min(queryBlock, query.Hi-lo)
				r := query.Row + lo - query.Lo
				seen := a.seen(n, lo+m-first)
				p, ldp := a.weights(s, h, q[r*ldq+h*a.D:], ldq, lo, m, first, seen)
				for j := range m {
					drop.Apply(p[j*ldp:][:seen], dropRow(numbers[i], h, lo+j))
				}
				a.product(l, out[r*ldo+h*a.D:], ldo, p, ldp, values, vp, m, seen)
			}
		}
	}
}

// dropRow names one query of one head of one sequence.
func dropRow(sequence uint64, head, token int) uint64 {
	return sequence<<32 ^ uint64(head)<<22 ^ uint64(token)
}

// visible returns the positions [first, end) that some token of a query sees.
func (a *attention) visible(sp Span, q Query) (first, end int) {
	if sp.Prefix >= 0 {
		panic("nn: attention with a shared prefix cannot be trained")
	}
	end = sp.Len
	if a.Causal {
		end = q.Hi
	}
	if a.Window > 0 {
		first = max(0, q.Lo-a.Window+1)
	}
	if a.Reach > 0 {
		first, end = max(0, q.Lo-a.Reach), min(end, q.Hi+a.Reach)
	}
	return first, end
}

// seen returns how many of n keys a block of queries sees that ends before the
// key end.
func (a *attention) seen(n, end int) int {
	if a.Causal {
		return min(n, end)
	}
	return n
}

func (a *attention) packKeys(l *learning, k []float32, ldk, n int) {
	keys := grow(&l.keys, kernel.Pad(n)*a.D)
	kernel.PackRows(keys, a.D*kernel.NR, 0, k, ldk, n, a.D)
}

// weights returns the attention weights (m, n) of the tokens [lo, lo+m) for the
// keys from position first on, and their stride.
func (a *attention) weights(s *Scratch, h int, q []float32, ldq, lo, m, first, n int) ([]float32, int) {
	l, ldp := &s.learn, kernel.Stride(n)
	p := grow(&l.p, queryBlock*ldp)
	kernel.MatMul(p, ldp, q, ldq, l.keys, a.D*kernel.NR, m, a.D, (n+kernel.NR-1)/kernel.NR)
	span := kernel.Span{Hi: n}
	if a.Causal {
		span.Hi, span.HiStep = lo-first+1, 1
	}
	if a.Window > 0 {
		span.Lo, span.LoStep = lo-first-a.Window+1, 1
	}
	if a.Reach > 0 {
		span = kernel.Span{Lo: lo - first - a.Reach, LoStep: 1, Hi: lo - first + a.Reach + 1, HiStep: 1}
	}
	if a.relative != nil {
		a.relative.add(&s.near, p, ldp, q, ldq, lo, m, n, h)
	}
	if a.SoftCap > 0 {
		a.cap(p, ldp, m, n)
		copy(grow(&l.capped, queryBlock*ldp), p[:m*ldp])
	}
	kernel.SoftmaxRows(p, ldp, m, n, span, a.Scale)
	return p, ldp
}

// backward computes the gradients of one key/value head for some queries: of all
// query heads that share it. The weights are computed again from queries and
// keys. With P the weights and O the output, dV = Pᵀ·dO, dP = dO·Vᵀ,
// dS = scale·P∘(dP − rowsum(dO∘O)), dQ = dS·K, dK = dSᵀ·Q; a soft cap multiplies dS by its slope.
//
// Writes the rows of DQ that belong to the queries, and accumulates into the
// head's columns of DK and DV. drop and numbers are those of [attention.dropped].
// Source: Dao et al. 2022 (arXiv 2205.14135), algorithm 4.
func (a *attention) backward(s *Scratch, t *attentionGrads, spans []Span, queries []Query, head int,
	drop dropout, numbers []uint64) {
	l := &s.learn
	col := head * a.D
	for i, query := range queries {
		sp := spans[query.Span]
		first, end := a.visible(sp, query)
		n := end - first
		row := sp.Row + first
		a.packKeys(l, t.K[row*t.LDK+col:], t.LDK, n)
		keyCols := grow(&l.keyCols, kernel.Pad(a.D)*n)
		kernel.PackCols(keyCols, n*kernel.NR, 0, t.K[row*t.LDK+col:], t.LDK, n, a.D)
		values := grow(&l.values, kernel.Pad(n)*a.D)
		kernel.PackRows(values, a.D*kernel.NR, 0, t.V[row*t.LDK+col:], t.LDK, n, a.D)
		for g := range a.H / a.K {
			h := head*(a.H/a.K) + g
			if a.relative != nil {
				a.relative.begin(&s.near, t.K[row*t.LDK+col:], t.LDK, n, h)
				a.relative.beginBackward(&s.near, n)
			}
			for lo := query.Lo; lo < query.Hi; lo += queryBlock {
				m := min(queryBlock, query.Hi-lo)
				b := block{lo: lo, m: m, row: query.Row + lo - query.Lo, h: h, first: first,
					n: a.seen(n, lo+m-first), packed: n, key: row*t.LDK + col}
				a.block(s, t, b, drop, func(j int) uint64 { return dropRow(numbers[i], h, lo+j) })
			}
			if a.relative != nil {
				a.relative.finish(a, l, &s.near, t, row*t.LDK+col, n, h)
			}
		}
	}
}

// block is some queries of one head against the keys they see.
type block struct {
	lo, m    int // tokens of the span
	row      int // of the first in the query buffers
	h        int // query head
	first, n int // keys that the block sees
	packed   int // keys laid out
	key      int // offset of the first key in K, and of its value in V
}

func (a *attention) block(s *Scratch, t *attentionGrads, b block, drop dropout, number func(int) uint64) {
	const nr = kernel.NR
	l := &s.learn
	at := b.row*t.LDQ + b.h*a.D
	q, dout, out := t.Q[at:], t.DOut[at:], t.Out[at:]
	p, ld := a.weights(s, b.h, q, t.LDQ, b.lo, b.m, b.first, b.n)
	dp := grow(&l.dp, queryBlock*ld)
	panels := (b.n + nr - 1) / nr
	kernel.MatMul(dp, ld, dout, t.LDQ, l.values, a.D*nr, b.m, a.D, panels)
	ldt := kernel.Stride(queryBlock)
	turned := grow(&l.t, kernel.Pad(b.n)*ldt)
	if drop.P == 0 {
		kernel.Transpose(turned, ldt, p, ld, b.m, b.n)
	} else {
		dropped := grow(&l.out, b.m*ld) // the weights that met the values
		for j := range b.m {
			drop.Apply(dp[j*ld:][:b.n], number(j))
			copy(dropped[j*ld:][:b.n], p[j*ld:])
			drop.Apply(dropped[j*ld:][:b.n], number(j))
		}
		kernel.Transpose(turned, ldt, dropped, ld, b.m, b.n)
	}
	a.accumulate(l, t.DV[b.key:], t.LDK, turned, ldt, dout, t.LDQ, b.m, b.n)
	for j := range b.m {
		delta := kernel.Dot(dout[j*t.LDQ:][:a.D], out[j*t.LDQ:][:a.D])
		kernel.SoftmaxBackward(dp[j*ld:][:b.n], p[j*ld:], delta, a.Scale)
		if a.SoftCap > 0 {
			a.capBackward(dp[j*ld:][:b.n], l.capped[j*ld:])
		}
	}
	kernel.Transpose(turned, ldt, dp, ld, b.m, b.n)
	a.accumulate(l, t.DK[b.key:], t.LDK, turned, ldt, q, t.LDQ, b.m, b.n)
	a.product(l, t.DQ[at:], t.LDQ, dp, ld, l.keyCols, b.packed*nr, b.m, b.n)
	if a.relative != nil {
		a.relative.backward(a, l, &s.near, t, b, dp, ld)
	}
}

// capBackward turns the gradient of capped scores into that of the scores:
// d(c·tanh(s/c))/ds = 1 − tanh²(s/c).
func (a *attention) capBackward(ds, capped []float32) {
	inverse := a.Scale / a.SoftCap
	for i := range ds {
		t := capped[i] * inverse
		ds[i] *= 1 - t*t
	}
}

// product writes dst (m, D) = weights (m, n) · panels, through memory of its own:
// a product writes whole panels, and not into the next head.
func (a *attention) product(l *learning, dst []float32, ldd int, weights []float32, ldw int,
	panels []float32, panel, m, n int) {
	w := kernel.Pad(a.D)
	tmp := grow(&l.out, m*w)
	kernel.MatMul(tmp, w, weights, ldw, panels, panel, m, n, w/kernel.NR)
	for i := range m {
		copy(dst[i*ldd:][:a.D], tmp[i*w:])
	}
}

// accumulate adds turned (n, m) · rows (m, D) to the n rows of dst.
func (a *attention) accumulate(l *learning, dst []float32, ldd int, turned []float32, ldt int,
	rows []float32, ldr, m, n int) {
	w := kernel.Pad(a.D)
	pack := grow(&l.pack, w*queryBlock)
	kernel.PackCols(pack, queryBlock*kernel.NR, 0, rows, ldr, m, a.D)
	if a.D%kernel.NR == 0 {
		kernel.MatMulAdd(dst, ldd, turned, ldt, pack, queryBlock*kernel.NR, n, m, w/kernel.NR)
		return
	}
	tmp := grow(&l.out, n*w)
	kernel.MatMul(tmp, w, turned, ldt, pack, queryBlock*kernel.NR, n, m, w/kernel.NR)
	for i := range n {
		kernel.AddTo(dst[i*ldd:], tmp[i*w:][:a.D])
	}
}
