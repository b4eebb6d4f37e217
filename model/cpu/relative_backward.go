package cpu

import "github.com/warmserve/warmserve/model/kernel"

// relativeGrads are the gradients of a relative's two projections, (R, out of the
// layer) each; nil without the term.
type relativeGrads struct {
	key, query     []float32
	ldKey, ldQuery int
}

// grads returns zeroed gradients from the pool.
func (r *relative) grads(p *pool) *relativeGrads {
	if r == nil {
		return nil
	}
	zeros := func(t *term) ([]float32, int) {
		if t.layer == nil {
			return nil, 0
		}
		ld := kernel.Stride(t.layer.Out())
		x := p.take(r.Table.V * ld)
		clear(x)
		return x, ld
	}
	g := &relativeGrads{}
	g.key, g.ldKey = zeros(&r.key)
	g.query, g.ldQuery = zeros(&r.query)
	return g
}

// beginBackward clears the gradient by distance of the n keys of a span.
func (r *relative) beginBackward(s *near, n int) {
	if r.query.layer != nil {
		clear(grow(&s.dKey, n*kernel.Stride(r.Table.V)))
	}
}

// backward spreads the gradient ds (m, n) of the scores of a block of queries over
// distances, and carries the queries' part on: with A = q·K_rᵀ, dq += dA·K_r and
// dK_r += dAᵀ·q. The keys' part waits for all blocks: see finish.
func (r *relative) backward(a *attention, s *Scratch, t *attentionGrads, b block,
	ds []float32, lds int) {
	ld := kernel.Stride(r.Table.V)
	if r.key.layer != nil {
		clear(grow(&s.near.dQry, b.m*ld))
	}
	for i := range b.m {
		row, rows := ds[i*lds:][:b.n], s.near.rows[b.lo+i:][:b.n]
		if r.key.layer != nil {
			own := s.near.dQry[i*ld:][:ld]
			for j, d := range row {
				own[rows[b.n-1-j]] += d
			}
		}
		if r.query.layer != nil {
			keys := s.near.dKey[:b.n*ld]
			for j, d := range row {
				keys[j*ld+int(rows[b.n-1-j])] += d
			}
		}
	}
	if r.key.layer != nil {
		at := b.row*t.LDQ + b.h*a.D
		r.key.carry(a, s, r, t.DQ[at:], t.LDQ, t.relative.key, t.relative.ldKey, t.Q[at:], t.LDQ,
			s.near.dQry, b.m, b.h)
	}
}

// finish carries the keys' part of a span on: with B = k·Q_rᵀ, dk += dB·Q_r and
// dQ_r += dBᵀ·k. key is the offset of the first key.
func (r *relative) finish(a *attention, s *Scratch, t *attentionGrads, key, n, h int) {
	ld := kernel.Stride(r.Table.V)
	for lo := 0; r.query.layer != nil && lo < n; lo += queryBlock {
		at := key + lo*t.LDK
		r.query.carry(a, s, r, t.DK[at:], t.LDK, t.relative.query, t.relative.ldQuery, t.K[at:],
			t.LDK, s.near.dKey[lo*ld:], min(queryBlock, n-lo), h)
	}
}

// carry takes the gradient d (m, R) of rows x times a term to both: dx and dterm.
//
// Accumulates into dx and into the head's columns of dterm.
func (t *term) carry(a *attention, s *Scratch, r *relative, dx []float32, lddx int, dterm []float32,
	lddterm int, x []float32, ldx int, d []float32, m, h int) {
	n := r.Table.V
	ld, w := kernel.Stride(n), kernel.Pad(a.D)
	tmp := grow(&s.learn.out, max(m, n)*w)
	size := w * n
	kernel.MatMul(tmp, w, d, ld, t.cols[:cap(t.cols)][h*size:][:size], n*kernel.NR, m, n, w/kernel.NR, &s.Gemm)
	for i := range m {
		kernel.AddTo(dx[i*lddx:], tmp[i*w:][:a.D])
	}
	a.accumulate(s, dterm[h*a.D:], lddterm, d, ld, x, ldx, m, n)
}

// backwardProjections carries the gradients of both projections to their weights
// and to the rows that all layers project.
func (r *relative) backwardProjections(w *Work, g *relativeGrads) {
	d, n := r.shared, r.Table.V
	if d.drows == nil {
		d.drows = make([]float32, n*d.ld)
	}
	if r.key.layer != nil {
		r.key.layer.master.backward(w, d.drows, d.ld, true, g.key, g.ldKey, d.rows, d.ld, n)
	}
	if r.query.layer != nil {
		r.query.layer.master.backward(w, d.drows, d.ld, true, g.query, g.ldQuery, d.rows, d.ld, n)
	}
}

// backwardDistances carries what all layers made of the rows to the tables.
func (w *weights) backwardDistances(work *Work) {
	for _, d := range w.distances {
		if d.drows == nil {
			continue
		}
		if d.norm != nil {
			d.norm.backward(work, d.drows, d.ld, false, d.drows, d.ld, d.read, d.ld, d.table.V, 1)
		}
		for i := range d.table.V {
			kernel.AddTo(d.table.grad[i*d.table.C:], d.drows[i*d.ld:][:d.table.C])
		}
		clear(d.drows)
	}
}
