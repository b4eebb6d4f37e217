package model

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Places in a layer where elements are dropped.
const (
	siteEmbedding = iota
	siteAttention
	siteResidual
	siteOutput
)

// dropout returns what is dropped at a place of a layer in the current pass.
func (t *Training) dropout(layer, site int) nn.Dropout {
	d := nn.Dropout{Key: nn.Mix(nn.Mix(nn.Mix(t.drop.Seed, t.drop.Step), uint64(layer)), uint64(site))}
	switch site {
	case siteEmbedding:
		d.P = t.drop.Embedding
	case siteAttention:
		d.P = t.drop.Attention
	default:
		d.P = t.drop.Hidden
	}
	return d
}

// pick returns the rows of x that the layer's Q are: x itself, or a copy of the
// scored rows in buf.
func (t *Training) pick(s *saved, buf *[]float32, x []float32) []float32 {
	if !s.picked {
		return x
	}
	ld := t.ldc()
	out := grow(buf, len(t.batch.last)*ld)
	for i, row := range t.batch.last {
		copy(out[i*ld:][:ld], x[int(row)*ld:][:ld])
	}
	return out
}

// unpick makes dx (T, C) of the gradient of the rows in Q: dq itself unless they
// are the scored rows alone.
func (t *Training) unpick(s *saved, dx, dq []float32) {
	ld, c := t.ldc(), t.Config.Hidden
	if !s.picked {
		t.work.Rows(len(t.batch.ids), func(_ *nn.Scratch, lo, hi int) { copy(dx[lo*ld:hi*ld], dq[lo*ld:hi*ld]) })
		return
	}
	clear(dx[:len(t.batch.ids)*ld])
	t.addPicked(dx, dq, c)
}

// addPicked adds the gradients of the scored rows to those of all.
func (t *Training) addPicked(dx, dq []float32, c int) {
	ld := t.ldc()
	for i, row := range t.batch.last {
		kernel.AddTo(dx[int(row)*ld:][:c], dq[i*ld:][:c])
	}
}

// attend computes s.attn from s.q and s.kv.
func (t *Training) attend(a *nn.Attention, s *saved) {
	ldq, ldkv := t.ldq(), t.ldkv()
	keep(&s.attn, len(s.pos), ldq)
	drop := t.dropout(s.index, siteAttention)
	k, v := s.kv, s.kv[a.K*a.D:]
	t.work.Each(len(s.queries)*a.K, 1, func(w *nn.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			q := i / a.K
			if drop.P == 0 {
				a.Forward(w, s.attn, ldq, s.q, ldq, k, v, ldkv, t.batch.spans, s.queries[q:q+1], i%a.K)
			} else {
				a.Dropped(w, s.attn, ldq, s.q, ldq, k, v, ldkv, t.batch.spans, s.queries[q:q+1], i%a.K, drop, t.batch.numbers[q:q+1])
			}
		}
	})
}

// attendBackward computes room.dq and room.dkv from room.dattn.
func (t *Training) attendBackward(a *nn.Attention, s *saved) {
	ldq, ldkv, r := t.ldq(), t.ldkv(), &t.room
	dq := grow(&r.dq, len(s.pos)*ldq)
	dkv := grow(&r.dkv, len(t.batch.ids)*ldkv)
	t.work.Rows(len(t.batch.ids), func(_ *nn.Scratch, lo, hi int) { clear(dkv[lo*ldkv : hi*ldkv]) })
	kd := a.K * a.D
	g := &nn.Grads{
		Q: s.q, Out: s.attn, DQ: dq, DOut: r.dattn, LDQ: ldq,
		K: s.kv, V: s.kv[kd:], DK: dkv, DV: dkv[kd:], LDK: ldkv,
	}
	drop := t.dropout(s.index, siteAttention)
	t.work.Each(len(s.queries)*a.K, 1, func(w *nn.Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			q := i / a.K
			a.Backward(w, g, t.batch.spans, s.queries[q:q+1], i%a.K, drop, t.batch.numbers[q:q+1])
		}
	})
}

// residual adds l(x), less what is dropped, to the rows [lo, hi) of y.
func (t *Training) residual(w *nn.Scratch, l *nn.Linear, y, x []float32, ldx int, s *saved, site, lo, hi int) {
	ld, m := t.ldc(), hi-lo
	drop := t.dropout(s.index, site)
	if drop.P == 0 {
		l.Forward(&w.Gemm, y[lo*ld:], ld, x[lo*ldx:], ldx, m, kernel.Add)
		return
	}
	tmp := w.Rows(m * ld)
	l.Forward(&w.Gemm, tmp, ld, x[lo*ldx:], ldx, m, kernel.Store)
	for i := range m {
		row := tmp[i*ld:][:t.Config.Hidden]
		drop.Apply(row, s.rows[lo+i])
		kernel.AddTo(y[(lo+i)*ld:][:t.Config.Hidden], row)
	}
}

// undrop returns the gradient of l(x) of residual from that of y: dy itself, or
// a copy without what was dropped.
func (t *Training) undrop(dy []float32, s *saved, site int) []float32 {
	drop := t.dropout(s.index, site)
	if drop.P == 0 {
		return dy
	}
	n := len(s.rows) * t.ldc()
	out := grow(&t.room.masked, n)
	copy(out, dy[:n])
	drop.Rows(t.work, out, t.ldc(), t.Config.Hidden, s.rows)
	return out
}

// keep returns *buf with room for m rows of stride ld, and leaves it so.
func keep(buf *[]float32, m, ld int) []float32 {
	*buf = grow(buf, m*ld)
	return *buf
}
