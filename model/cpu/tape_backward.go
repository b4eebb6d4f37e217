package cpu

import (
	"slices"
	"unsafe"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// A reverse is a backward pass of one tape. Gradients of inputs are computed a
// block of rows at a time, as many operations as possible one behind the
// other; those of weights follow, which need all rows.
type reverse struct {
	t     *Training
	p     *tape
	k     *passed
	grads [][]float32 // of values; nil where nothing has come yet
	spare [][]float32 // memory that is given back when the pending work is done

	n       int // rows of the pending work
	rows    []rowWork
	weights []weightWork
}

// rowWork computes rows of a gradient.
type rowWork struct {
	writes []float32
	do     func(w *Scratch, lo, hi int)
}

// weightWork accumulates the gradient of a weight from that of its output.
type weightWork struct {
	reads []float32
	do    func()
}

// same says whether two gradients share their memory.
func same(a, b []float32) bool { return unsafe.SliceData(a) == unsafe.SliceData(b) }

// backwardTape carries the gradient of what a tape returned back to what it was
// given, accumulates those of its weights, and gives the memory of dy back.
func (t *Training) backwardTape(p *tape, k *passed, dy []float32) []float32 {
	r := &reverse{t: t, p: p, k: k, grads: make([][]float32, p.p.Values())}
	r.grads[p.base[p.p.Out]] = dy
	for i := len(p.p.Ops) - 1; i >= 0; i-- {
		r.op(i)
	}
	r.flush()
	if p.p.In == nn.NoValue {
		return nil
	}
	return r.grads[p.p.In]
}

// flush does the pending work.
func (r *reverse) flush() {
	if len(r.rows) > 0 {
		r.t.work.Rows(r.n, func(w *Scratch, lo, hi int) {
			for _, x := range r.rows {
				x.do(w, lo, hi)
			}
		})
	}
	for _, x := range r.weights {
		x.do()
	}
	for _, x := range r.spare {
		r.t.pool.give(x)
	}
	r.rows, r.weights, r.spare = r.rows[:0], r.weights[:0], r.spare[:0]
}

// each adds work on n rows that writes a gradient. A weight that waits for what
// that gradient's memory holds now goes first.
func (r *reverse) each(n int, writes []float32, do func(w *Scratch, lo, hi int)) {
	if len(r.rows) > 0 && r.n != n {
		r.flush()
	}
	waits := func(x weightWork) bool { return same(x.reads, writes) }
	if slices.ContainsFunc(r.weights, waits) {
		if slices.ContainsFunc(r.rows, func(x rowWork) bool { return same(x.writes, writes) }) {
			r.flush()
		}
		for _, x := range r.weights {
			if waits(x) {
				x.do()
			}
		}
		r.weights = slices.DeleteFunc(r.weights, waits)
	}
	r.n = n
	r.rows = append(r.rows, rowWork{writes, do})
}

// grad returns the gradient of a value, which is to be written, or with add to
// be added to, and its stride.
func (r *reverse) grad(v nn.Value) (d []float32, ld int, add bool) {
	b := r.p.base[v]
	ld = kernel.Stride(r.p.p.Width(v))
	if r.grads[b] != nil {
		return r.grads[b], ld, true
	}
	r.grads[b] = r.t.pool.take(r.k.rows(r.p.p, b).n * ld)
	return r.grads[b], ld, false
}

// join adds the gradient d to that of a value: where there is none yet d becomes it.
func (r *reverse) join(v nn.Value, d []float32, ld int) {
	b := r.p.base[v]
	if r.grads[b] == nil {
		r.grads[b] = d
		return
	}
	to, n := r.grads[b], r.p.p.Width(v)
	r.each(r.k.rows(r.p.p, b).n, to, func(_ *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			kernel.AddTo(to[i*ld:][:n], d[i*ld:][:n])
		}
	})
	r.spare = append(r.spare, d)
}

// op carries the gradient of the i-th operation's result to its operands.
func (r *reverse) op(i int) {
	p, k, t := r.p.p, r.k, r.t
	op := &r.p.steps[i]
	dy, n := r.grads[r.p.base[op.Out]], k.rows(p, op.Out).n
	if dy == nil {
		return // nothing reads it
	}
	ldy := kernel.Stride(p.Width(op.Out))
	switch op.Kind {
	case nn.Normalize:
		r.norm(op, i, dy, ldy, n)
	case nn.Rotate: // in place
		pos := k.rows(p, op.Out).pos
		r.each(n, dy, func(w *Scratch, lo, hi int) {
			op.rope.backward(w, dy[lo*ldy:], ldy, op.Heads, op.Attention.D, pos.slice(lo, hi))
		})
	case nn.Scale: // in place
		width := p.Width(op.Out)
		r.each(n, dy, func(_ *Scratch, lo, hi int) {
			for i := lo; i < hi; i++ {
				scale(dy[i*ldy:][:width], op.Factor)
			}
		})
	case nn.Activate: // in place
		y, width := k.values[r.p.base[op.Out]], p.Width(op.Out)
		r.each(n, dy, func(_ *Scratch, lo, hi int) {
			for i := lo; i < hi; i++ {
				activateBackward(dy[i*ldy:][:width], y[i*ldy:][:width], op.Op.Act)
			}
		})
	case nn.Multiply:
		if op.act != kernel.Store {
			before := k.before[i]
			r.each(n, dy, func(_ *Scratch, lo, hi int) {
				d := dy[lo*ldy:]
				kernel.ActivateBackward(d, ldy, d, ldy, before[lo*ldy:], ldy, hi-lo, op.linear.Out(), op.act)
			})
		}
		r.linear(op, dy, ldy, n)
		r.spare = append(r.spare, dy)
	case nn.MultiplyGated:
		r.gated(op, i, dy, ldy, n)
	case nn.MultiplyAdd, nn.Sum:
		r.branch(op, dy, ldy, n)
	case nn.Route:
		r.route(op, i, dy, ldy, n)
	case nn.Wanted:
		r.wanted(op, dy, ldy)
	case nn.Neighbours:
		r.flush()
		dx, lddx, add := r.grad(op.X)
		t.work.Rows(k.all.n, func(_ *Scratch, lo, hi int) {
			neighboursBackward(dx, lddx, add, dy, ldy, p.Width(op.X), op.Kernel, k.all.pos.pos, lo, hi)
		})
		t.pool.give(dy)
	case nn.Attend:
		r.flush()
		r.attention(op, dy, ldy)
		t.pool.give(dy)
	case nn.Lookup:
		r.flush()
		op.table.backward(t.work, dy, ldy, t.batch.by(op.Of))
		if op.Y == nn.NoValue {
			t.pool.give(dy)
		}
	}
}

func (r *reverse) norm(op *step, i int, dy []float32, ldy, n int) {
	r.flush()
	if op.Heads > 0 { // in place
		op.norm.backward(r.t.work, dy, ldy, false, dy, ldy, r.k.before[i], ldy, n, op.Heads)
		return
	}
	x, ldx := r.k.value(r.p, op.X)
	b := r.p.base[op.X]
	if r.grads[b] == nil {
		r.grads[b] = dy
		op.norm.backward(r.t.work, dy, ldy, false, dy, ldy, x, ldx, n, 1)
		return
	}
	op.norm.backward(r.t.work, r.grads[b], ldx, true, dy, ldy, x, ldx, n, 1)
	r.t.pool.give(dy)
}

// linear is the backward of a product without what its result goes through.
func (r *reverse) linear(op *step, dy []float32, ldy, n int) {
	x, ldx := r.k.value(r.p, op.X)
	dx, lddx, add := r.grad(op.X)
	r.each(n, dx, func(w *Scratch, lo, hi int) {
		op.linear.master.backwardInput(w, dx[lo*lddx:], lddx, add, dy[lo*ldy:], ldy, hi-lo)
	})
	r.weights = append(r.weights,
		weightWork{dy, func() { op.linear.master.backwardWeight(r.t.work, dy, ldy, x, ldx, n) }})
}

func (r *reverse) gated(op *step, i int, dh []float32, ldh, n int) {
	ldg := gatedStride(op.Op)
	x, ldx := r.k.value(r.p, op.X)
	dx, lddx, add := r.grad(op.X)
	dgu, before := r.t.pool.take(n*ldg), r.k.before[i]
	r.each(n, dx, func(w *Scratch, lo, hi int) {
		op.gated.backwardInput(w, dx[lo*lddx:], lddx, add, dgu[lo*ldg:], dh[lo*ldh:], ldh,
			before[lo*ldg:], ldg, hi-lo)
	})
	r.weights = append(r.weights,
		weightWork{dgu, func() { op.gated.master.backwardWeight(r.t.work, dgu, ldg, x, ldx, n) }})
	r.spare = append(r.spare, dgu, dh)
}

// branch is the backward of what joins the residual stream.
func (r *reverse) branch(op *step, dy []float32, ldy, n int) {
	dout := r.dropped(op, dy, ldy, n)
	if op.Kind == nn.MultiplyAdd {
		r.linear(op, dout, ldy, n)
	} else {
		dx, _, add := r.grad(op.X)
		width := r.t.net.Hidden
		r.each(n, dx, func(_ *Scratch, lo, hi int) {
			for i := lo; i < hi; i++ {
				if add {
					kernel.AddTo(dx[i*ldy:][:width], dout[i*ldy:][:width])
				} else {
					copy(dx[i*ldy:][:width], dout[i*ldy:])
				}
			}
		})
	}
	r.join(op.Y, dy, ldy)
}

// dropped returns the gradient of what was added to the residual stream, before some was dropped.
func (r *reverse) dropped(op *step, dy []float32, ldy, n int) []float32 {
	drop := r.t.dropout(r.k.index, op.Op)
	if drop.P == 0 {
		return dy
	}
	r.flush() // dy is whole
	dout := r.t.pool.take(n * ldy)
	copy(dout[:n*ldy], dy[:n*ldy])
	drop.Rows(r.t.work, dout, ldy, r.t.net.Hidden, r.k.rows(r.p.p, op.Out).numbers)
	r.spare = append(r.spare, dout)
	return dout
}

// wanted adds the gradients of the wanted rows to those of all.
func (r *reverse) wanted(op *step, dy []float32, ld int) {
	if !r.k.picked {
		r.join(op.X, dy, ld)
		return
	}
	r.flush()
	dx, _, add := r.grad(op.X)
	if !add {
		clear(dx[:r.k.all.n*ld])
	}
	width := r.p.p.Width(op.X)
	for i, row := range r.t.batch.last {
		kernel.AddTo(dx[int(row)*ld:][:width], dy[i*ld:][:width])
	}
	r.t.pool.give(dy)
}

func (r *reverse) attention(op *step, dout []float32, ldq int) {
	t, k, a := r.t, r.k, r.t.model.weights.attention(op.Attention)
	q, _ := k.value(r.p, op.X)
	kv, ldkv := k.value(r.p, op.Y)
	out, _ := k.value(r.p, op.Out)
	dq, _, _ := r.grad(op.X)
	dkv, _, _ := r.grad(op.Y)
	t.work.Rows(k.all.n, func(_ *Scratch, lo, hi int) { clear(dkv[lo*ldkv : hi*ldkv]) })
	kd := a.K * a.D
	g := &attentionGrads{
		Q: q, Out: out, DQ: dq, DOut: dout, LDQ: ldq,
		K: kv, V: kv[kd:], DK: dkv, DV: dkv[kd:], LDK: ldkv,
	}
	drop, queries, spans := t.dropout(k.index, op.Op), k.wanted.queries, t.batch.spans
	if a.relative != nil { // the sequences add to what a head makes of distances, in their order
		g.relative = a.relative.grads(&t.pool)
		t.work.Each(a.K, 1, func(w *Scratch, lo, hi int) {
			for head := lo; head < hi; head++ {
				for _, q := range queries {
					a.backward(w, g, spans, q, head, drop, k.wanted.numbers, 0)
				}
			}
		})
		a.relative.backwardProjections(t.work, g.relative)
		t.pool.giveAll(g.relative.key, g.relative.query)
		return
	}
	before, rows := a.before(spans, queries)
	if rows > 0 {
		g.DKBefore = t.pool.take(rows * ldkv)
		g.DVBefore = g.DKBefore[kd:]
	}
	t.work.Each(len(queries)*a.K, 1, func(w *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			n := i / a.K
			a.backward(w, g, spans, queries[n], i%a.K, drop, k.wanted.numbers, before[n])
		}
	})
	if rows > 0 {
		g.join(t.work, a, spans, queries, before)
		t.pool.give(g.DKBefore)
	}
}

// pool is memory of gradients, which all layers share.
type pool [][]float32

// take returns memory for n values, of any value.
func (p *pool) take(n int) []float32 {
	best := -1
	for i, b := range *p {
		if cap(b) >= n && (best < 0 || cap(b) < cap((*p)[best])) {
			best = i
		}
	}
	if best < 0 {
		return make([]float32, n)
	}
	b := (*p)[best]
	*p = slices.Delete(*p, best, best+1)
	return b[:n]
}

// give takes memory back.
func (p *pool) give(b []float32) { *p = append(*p, b) }

func (p *pool) giveAll(b ...[]float32) {
	for _, x := range b {
		if x != nil {
			p.give(x)
		}
	}
}
