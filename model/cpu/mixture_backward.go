package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
)

// routed is a mixture's forward pass, as its backward pass needs it.
type routed struct {
	routes
	gu, h    []float32 // (entries, 2·F), (entries, F): gate and up of each, and what they make
	ldg, ldh int
	pieces   []entries
}

// entries are some of one expert's.
type entries struct{ expert, lo, hi int }

// layOut prepares memory for the entries of m rows, which are grouped.
func (r *routed) layOut(x *mixture, m int) {
	r.ldg, r.ldh = kernel.Stride(2*kernel.Pad(x.widest)), kernel.Stride(x.widest)
	n := m * x.Taken()
	r.gu, r.h = keep(&r.gu, n, r.ldg), keep(&r.h, n, r.ldh)
	r.pieces = r.pieces[:0]
	for e := range x.experts {
		for lo, end := int(r.first[e]), int(r.first[e+1]); lo < end; lo += kernel.RowBlock {
			r.pieces = append(r.pieces, entries{e, lo, min(end, lo+kernel.RowBlock)})
		}
	}
}

// each calls f for all pieces, in parallel.
func (r *routed) each(w *Work, f func(s *Scratch, p entries)) {
	w.Each(len(r.pieces), 1, func(s *Scratch, lo, hi int) {
		for _, p := range r.pieces[lo:hi] {
			f(s, p)
		}
	})
}

// route is the forward pass of a mixture, with the bits of [mixture.forward].
func (t *Training) route(p *tape, k *passed, i int) {
	op, r := &p.steps[i], &k.routed[i]
	mix, n, c := op.mixture, k.rows(p.p, op.Out).n, t.net.Hidden
	x, ld := k.value(p, op.X)
	from, _ := k.value(p, op.Y)
	y := k.keep(p.p, op.Out)
	r.reserve(mix, n)
	t.work.Rows(n, func(w *Scratch, lo, hi int) { mix.choose(&w.Gemm, &r.routes, x, ld, lo, hi) })
	r.group(mix, n)
	r.layOut(mix, n)
	out := t.pool.take(n * mix.Taken() * ld)
	r.each(t.work, func(w *Scratch, p entries) {
		e, m := &mix.experts[p.expert], p.hi-p.lo
		rows := w.Rows(m * ld)
		r.gather(rows, ld, x, ld, c, p.lo, p.hi)
		e.gated.saved(&w.Gemm, r.h[p.lo*r.ldh:], r.ldh, r.gu[p.lo*r.ldg:], r.ldg, rows, ld, m)
		e.down.forward(&w.Gemm, out[p.lo*ld:], ld, r.h[p.lo*r.ldh:], r.ldh, m, kernel.Store)
	})
	drop, numbers := t.dropout(k.index, op.Op), k.rows(p.p, op.Out).numbers
	t.work.Rows(n, func(w *Scratch, lo, hi int) {
		for row := lo; row < hi; row++ {
			to := y[row*ld:][:c]
			copy(to, from[row*ld:])
			if drop.P > 0 {
				to = w.Rows(c)
				clear(to)
			}
			for _, at := range r.of(mix, row) {
				kernel.AddScaled(to, r.weights[at], out[int(at)*ld:][:c])
			}
			if drop.P > 0 {
				drop.Apply(to, 0, numbers[row])
				kernel.AddTo(y[row*ld:][:c], to)
			}
		}
	})
	t.pool.give(out)
}

// of returns the entries of a row, in the order of its experts.
func (r *routes) of(x *mixture, row int) []int32 { return r.at[row*x.Taken():][:x.Taken()] }

// route is the backward pass of a mixture. An entry's gradient is its share of the
// output's, through its expert; that of its share is what its expert's output has
// in common with the output's gradient, and goes through the router.
func (r *reverse) route(op *step, i int, dy []float32, ld, n int) {
	r.flush()
	t, mix, k, c := r.t, op.mixture, &r.k.routed[i], r.t.net.Hidden
	x, _ := r.k.value(r.p, op.X)
	dout := r.dropped(op, dy, ld, n)
	all := n * mix.Taken()
	shares := t.pool.take(all)                                                    // of each entry
	xs, dxs, dys := t.pool.take(all*ld), t.pool.take(all*ld), t.pool.take(all*ld) // (entries, C)
	dgu, dh := t.pool.take(all*k.ldg), t.pool.take(all*k.ldh)
	k.each(t.work, func(w *Scratch, p entries) {
		e, m := &mix.experts[p.expert], p.hi-p.lo
		f := e.gated.F
		k.gather(xs[p.lo*ld:], ld, x, ld, c, p.lo, p.hi)
		k.gather(dys[p.lo*ld:], ld, dout, ld, c, p.lo, p.hi)
		e.down.master.backwardInput(w, dh[p.lo*k.ldh:], k.ldh, false, dys[p.lo*ld:], ld, m)
		for j := p.lo; j < p.hi; j++ {
			shares[j] = kernel.Dot(dh[j*k.ldh:][:f], k.h[j*k.ldh:][:f])
			scale(dh[j*k.ldh:][:f], k.weights[j])
			scale(dys[j*ld:][:c], k.weights[j])
		}
		e.gated.backwardInput(w, dxs[p.lo*ld:], ld, false, dgu[p.lo*k.ldg:], dh[p.lo*k.ldh:], k.ldh,
			k.gu[p.lo*k.ldg:], k.ldg, m)
	})
	for j := range mix.experts {
		e, lo := &mix.experts[j], int(k.first[j])
		if m := int(k.first[j+1]) - lo; m > 0 {
			e.down.master.backwardWeight(t.work, dys[lo*ld:], ld, k.h[lo*k.ldh:], k.ldh, m)
			e.gated.master.backwardWeight(t.work, dgu[lo*k.ldg:], k.ldg, xs[lo*ld:], ld, m)
		}
	}
	dx, _, add := r.grad(op.X)
	ldl := kernel.Stride(mix.router.Out())
	dlogits := t.pool.take(n * ldl)
	t.work.Rows(n, func(w *Scratch, lo, hi int) {
		for row := lo; row < hi; row++ {
			k.backward(mix, dlogits[row*ldl:], shares, row)
		}
		mix.router.master.backwardInput(w, dx[lo*ld:], ld, add, dlogits[lo*ldl:], ldl, hi-lo)
		for row := lo; row < hi; row++ {
			for _, at := range k.of(mix, row) {
				kernel.AddTo(dx[row*ld:][:c], dxs[int(at)*ld:][:c])
			}
		}
	})
	mix.router.master.backwardWeight(t.work, dlogits, ldl, x, ld, n)
	t.pool.giveAll(shares, xs, dxs, dys, dgu, dh, dlogits)
	r.join(op.Y, dy, ld)
}

// backward computes the gradient of a row's logits from that of its shares, which
// are given by entries.
func (r *routes) backward(x *mixture, dlogits, dshares []float32, row int) {
	n, ld := x.Chosen(), kernel.Stride(x.router.Out())
	p, of, at := r.probs[row*ld:], r.taken[row*x.Taken():], r.of(x, row)
	mean := float32(0)
	for _, a := range at[:x.Top] {
		mean += r.weights[a] * dshares[a]
	}
	for e := range dlogits[:n] {
		dlogits[e] = 0
		if !x.Normalized { // else the shares are the softmax of the taken logits alone
			dlogits[e] = -p[e] * mean
		}
	}
	for j, a := range at[:x.Top] {
		dlogits[of[j]] += r.weights[a] * dshares[a]
		if x.Normalized {
			dlogits[of[j]] -= r.weights[a] * mean
		}
	}
	if x.Shared {
		dlogits[n] = p[n] * (1 - p[n]) * dshares[at[x.Top]]
	}
}
