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
	// DKBefore and DVBefore take what a query adds to the gradients of keys and values
	// in front of its span, a row for each that it sees: several spans may share those,
	// and several workers compute their queries. See [attentionGrads.join].
	DKBefore, DVBefore []float32
	relative           *relativeGrads // nil for nothing
}

// learning is the memory of one worker for attention that is trained.
type learning struct {
	keys, keyCols, values []float32 // panels: K as columns, K as rows, V as columns
	p, dp, met            []float32 // weights, their gradient, and what is left of them after dropout
	pack, out             []float32
	left                  []float32 // rows of a weight's gradient, see master.gradient
	capped                []float32 // scores behind the soft cap
}

// dropped is forward of one query with dropout of the attention's weights. numbers
// name the rows of queries to the dropout, which drops the same keys of a query
// however its sequence is divided into spans.
func (a *attention) dropped(s *Scratch, out []float32, ldo int, q []float32, ldq int, k, v []float32,
	ldk int, spans []Span, query Query, head int, drop dropout, numbers []uint64) {
	l := &s.learn
	col := head * a.D
	sp := spans[query.Span]
	first, end := a.visible(sp, query)
	n := end - first
	vp := n * kernel.NR
	keys, values := grow(&l.keys, kernel.Pad(n)*a.D), grow(&l.values, kernel.Pad(a.D)*n)
	eachPart(spans, sp, first, end, func(at, row, m int) {
		kernel.PackRows(keys, a.D*kernel.NR, at, k[row*ldk+col:], ldk, m, a.D)
		kernel.PackCols(values, vp, at, v[row*ldk+col:], ldk, m, a.D)
	})
	for g := range a.H / a.K {
		h := head*(a.H/a.K) + g
		if a.relative != nil {
			a.relative.begin(s, k[sp.Row*ldk+col:], ldk, n, h)
		}
		for lo := query.Lo; lo < query.Hi; lo += queryBlock {
			m := min(queryBlock, query.Hi-lo)
			r, pos := query.Row+lo-query.Lo, sp.Pos+lo
			seen := a.seen(n, pos+m-first)
			p, ldp := a.weights(s, h, q[r*ldq+h*a.D:], ldq, pos, m, first, seen)
			for j := range m {
				drop.Apply(p[j*ldp:][:seen], first, dropRow(numbers[r+j], h))
			}
			a.product(s, out[r*ldo+h*a.D:], ldo, p, ldp, values, vp, m, seen)
		}
	}
}

// dropRow names a head's part of a row of queries.
func dropRow(row uint64, head int) uint64 { return row ^ uint64(head)<<22 }

// eachPart calls f for the parts of the positions [first, end) of a span's sequence, in their
// order: m rows from row on are the positions from first+at on.
func eachPart(spans []Span, sp Span, first, end int, f func(at, row, m int)) {
	if sp.Prefix >= 0 && first < sp.Pos {
		eachPart(spans, spans[sp.Prefix], first, min(end, sp.Pos), f)
	}
	if lo, hi := max(first, sp.Pos), min(end, sp.Pos+sp.Len); lo < hi {
		f(lo-first, sp.Row+lo-sp.Pos, hi-lo)
	}
}

// seen returns how many of n keys a block of queries sees that ends before the
// key end.
func (a *attention) seen(n, end int) int {
	if a.Causal {
		return min(n, end)
	}
	return n
}

// weights returns the attention weights (m, n) of the tokens at the positions
// [lo, lo+m) for the keys from position first on, and their stride.
func (a *attention) weights(s *Scratch, h int, q []float32, ldq, lo, m, first, n int) ([]float32, int) {
	l, ldp := &s.learn, kernel.Stride(n)
	p := grow(&l.p, queryBlock*ldp)
	kernel.MatMul(p, ldp, q, ldq, l.keys, a.D*kernel.NR, m, a.D, (n+kernel.NR-1)/kernel.NR, &s.Gemm)
	if a.relative != nil {
		a.relative.add(s, p, ldp, q, ldq, lo, m, n, h)
	}
	if a.SoftCap > 0 {
		a.cap(p, ldp, m, n)
		copy(grow(&l.capped, queryBlock*ldp), p[:m*ldp])
	}
	kernel.SoftmaxRows(p, ldp, m, n, a.span(lo-first, n), a.Scale)
	return p, ldp
}

// backward computes the gradients of one key/value head for some queries: of all
// query heads that share it. The weights are computed again from queries and
// keys. With P the weights and O the output, dV = Pᵀ·dO, dP = dO·Vᵀ,
// dS = scale·P∘(dP − rowsum(dO∘O)), dQ = dS·K, dK = dSᵀ·Q; a soft cap multiplies dS by its slope.
//
// Writes the rows of DQ that belong to the query, and accumulates into the head's
// columns of DK and DV in the query's span; what belongs to keys in front of it is
// written to DKBefore and DVBefore, from the row before on. drop and numbers are
// those of [attention.dropped].
// Source: Dao et al. 2022 (arXiv 2205.14135), algorithm 4.
func (a *attention) backward(s *Scratch, t *attentionGrads, spans []Span, query Query, head int,
	drop dropout, numbers []uint64, before int) {
	l := &s.learn
	col := head * a.D
	sp := spans[query.Span]
	first, end := a.visible(sp, query)
	n := end - first
	keys, values := grow(&l.keys, kernel.Pad(n)*a.D), grow(&l.values, kernel.Pad(n)*a.D)
	keyCols := grow(&l.keyCols, kernel.Pad(a.D)*n)
	eachPart(spans, sp, first, end, func(at, row, m int) {
		kernel.PackRows(keys, a.D*kernel.NR, at, t.K[row*t.LDK+col:], t.LDK, m, a.D)
		kernel.PackCols(keyCols, n*kernel.NR, at, t.K[row*t.LDK+col:], t.LDK, m, a.D)
		kernel.PackRows(values, a.D*kernel.NR, at, t.V[row*t.LDK+col:], t.LDK, m, a.D)
	})
	b := block{first: first, packed: n, shared: max(0, sp.Pos-first),
		key: (sp.Row+max(0, first-sp.Pos))*t.LDK + col, before: before*t.LDK + col}
	for i := range b.shared {
		clear(t.DKBefore[b.before+i*t.LDK:][:a.D])
		clear(t.DVBefore[b.before+i*t.LDK:][:a.D])
	}
	for g := range a.H / a.K {
		b.h = head*(a.H/a.K) + g
		if a.relative != nil {
			a.relative.begin(s, t.K[b.key:], t.LDK, n, b.h)
			a.relative.beginBackward(&s.near, n)
		}
		for lo := query.Lo; lo < query.Hi; lo += queryBlock {
			b.m, b.lo, b.row = min(queryBlock, query.Hi-lo), sp.Pos+lo, query.Row+lo-query.Lo
			b.n = a.seen(n, b.lo+b.m-first)
			a.block(s, t, b, drop, numbers)
		}
		if a.relative != nil {
			a.relative.finish(a, s, t, b.key, n, b.h)
		}
	}
}

// before returns how many keys each query sees in front of its span, those of the queries before
// it added up, and their number.
func (a *attention) before(spans []Span, queries []Query) (at []int, rows int) {
	for _, q := range queries {
		at = append(at, rows)
		first, _ := a.visible(spans[q.Span], q)
		rows += max(0, spans[q.Span].Pos-first)
	}
	return at, rows
}

// join adds what queries left in DKBefore and DVBefore to the keys' and values' gradients, in
// the order of the queries. Workers share the heads, whose columns are apart.
func (t *attentionGrads) join(w *Work, a *attention, spans []Span, queries []Query, before []int) {
	w.Each(2*a.K, 1, func(_ *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			to, from, col := t.DK, t.DKBefore, i*a.D
			if i >= a.K {
				to, from, col = t.DV, t.DVBefore, (i-a.K)*a.D
			}
			for j, q := range queries {
				sp := spans[q.Span]
				first, _ := a.visible(sp, q)
				if first >= sp.Pos {
					continue
				}
				eachPart(spans, spans[sp.Prefix], first, sp.Pos, func(at, row, m int) {
					for r := range m {
						kernel.AddTo(to[(row+r)*t.LDK+col:][:a.D], from[(before[j]+at+r)*t.LDK+col:][:a.D])
					}
				})
			}
		}
	})
}

// block is some queries of one head against the keys they see.
type block struct {
	lo, m    int // positions
	row      int // of the first in the query buffers
	h        int // query head
	first, n int // keys that the block sees
	packed   int // keys laid out
	shared   int // of them in front of the span
	key      int // offset of the first key of the span in K, and of its value in V
	before   int // offset of the first key in front of it in DKBefore
}

func (a *attention) block(s *Scratch, t *attentionGrads, b block, drop dropout, numbers []uint64) {
	const nr = kernel.NR
	l := &s.learn
	at := b.row*t.LDQ + b.h*a.D
	q, dout, out := t.Q[at:], t.DOut[at:], t.Out[at:]
	p, ld := a.weights(s, b.h, q, t.LDQ, b.lo, b.m, b.first, b.n)
	dp := grow(&l.dp, queryBlock*ld)
	panels := (b.n + nr - 1) / nr
	kernel.MatMul(dp, ld, dout, t.LDQ, l.values, a.D*nr, b.m, a.D, panels, &s.Gemm)
	met := p // the weights that met the values
	if drop.P > 0 {
		met = grow(&l.met, b.m*ld)
		for j := range b.m {
			number := dropRow(numbers[b.row+j], b.h)
			drop.Apply(dp[j*ld:][:b.n], b.first, number)
			copy(met[j*ld:][:b.n], p[j*ld:])
			drop.Apply(met[j*ld:][:b.n], b.first, number)
		}
	}
	a.byKey(s, t.DV, t.DVBefore, t.LDK, met, ld, dout, t.LDQ, b)
	for j := range b.m {
		delta := kernel.Dot(dout[j*t.LDQ:][:a.D], out[j*t.LDQ:][:a.D])
		kernel.SoftmaxBackward(dp[j*ld:][:b.n], p[j*ld:], delta, a.Scale)
		if a.SoftCap > 0 {
			a.capBackward(dp[j*ld:][:b.n], l.capped[j*ld:])
		}
	}
	a.byKey(s, t.DK, t.DKBefore, t.LDK, dp, ld, q, t.LDQ, b)
	a.product(s, t.DQ[at:], t.LDQ, dp, ld, l.keyCols, b.packed*nr, b.m, b.n)
	if a.relative != nil {
		a.relative.backward(a, s, t, b, dp, ld)
	}
}

// byKey adds pᵀ (n, m) · rows (m, D) to the rows of a block's keys: those in front of the
// span, and the span's.
func (a *attention) byKey(s *Scratch, own, before []float32, ldd int, p []float32, ldp int,
	rows []float32, ldr int, b block) {
	shared := min(b.shared, b.n)
	if shared > 0 {
		a.accumulate(s, before[b.before:], ldd, p, ldp, rows, ldr, b.m, shared)
	}
	if b.n > shared {
		a.accumulate(s, own[b.key:], ldd, p[shared:], ldp, rows, ldr, b.m, b.n-shared)
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
func (a *attention) product(s *Scratch, dst []float32, ldd int, weights []float32, ldw int,
	panels []float32, panel, m, n int) {
	w := kernel.Pad(a.D)
	tmp := grow(&s.learn.out, m*w)
	kernel.MatMul(tmp, w, weights, ldw, panels, panel, m, n, w/kernel.NR, &s.Gemm)
	for i := range m {
		copy(dst[i*ldd:][:a.D], tmp[i*w:])
	}
}

// accumulate adds pᵀ (n, m) · rows (m, D) to the n rows of dst.
func (a *attention) accumulate(s *Scratch, dst []float32, ldd int, p []float32, ldp int,
	rows []float32, ldr, m, n int) {
	w := kernel.Pad(a.D)
	pack := grow(&s.learn.pack, w*queryBlock)
	kernel.PackCols(pack, queryBlock*kernel.NR, 0, rows, ldr, m, a.D)
	if a.D%kernel.NR == 0 {
		kernel.MatMulAddT(dst, ldd, p, ldp, kernel.LeftRows, pack, queryBlock*kernel.NR, n, m, w/kernel.NR, &s.Gemm)
		return
	}
	tmp := grow(&s.learn.out, n*w)
	clear(tmp)
	kernel.MatMulAddT(tmp, w, p, ldp, kernel.LeftRows, pack, queryBlock*kernel.NR, n, m, w/kernel.NR, &s.Gemm)
	for i := range n {
		kernel.AddTo(dst[i*ldd:], tmp[i*w:][:a.D])
	}
}
