package cpu

import (
	"fmt"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// A tape is a program as the training executor runs it: forward with every
// value kept that backward needs, and backward through the same list in reverse.
// The backward of each kind of operation stands beside its forward.
type tape struct {
	p     *nn.Program
	steps []step // the operations with their weights
	// base is the value whose rows a value is: operations that need no operand
	// for their backward pass work in place.
	base []nn.Value
}

func newTape(p *nn.Program, w *weights) *tape {
	t := &tape{p: p, base: themselves(p)}
	for i := range p.Ops {
		t.steps = append(t.steps, w.step(&p.Ops[i]))
	}
	readers := make([]int, p.Values())
	for i := range p.Ops {
		for _, v := range []nn.Value{p.Ops[i].X, p.Ops[i].Y} {
			if v != nn.NoValue {
				readers[v]++
			}
		}
	}
	for i := range p.Ops {
		op := &p.Ops[i]
		v := nn.NoValue
		switch {
		case op.Kind == nn.Rotate, op.Kind == nn.Scale, op.Kind == nn.Activate,
			op.Kind == nn.Normalize && op.Heads > 0:
			v = op.X
		case op.Kind == nn.Lookup:
			v = op.Y
		}
		if v == nn.NoValue {
			continue
		}
		if readers[v] != 1 || v == p.In {
			panic(fmt.Sprintf("cpu: operation %d works in place on a value that others read", i))
		}
		for j := range p.Ops[:i] {
			if p.Ops[j].Out == v && p.Ops[j].Kind == nn.Wanted {
				panic(fmt.Sprintf("cpu: operation %d works in place on rows that were picked", i))
			}
		}
		t.base[op.Out] = t.base[v]
	}
	return t
}

// passed is a forward pass of one tape. T are all tokens, Q those whose output
// is wanted: all, or in the last layer the scored.
type passed struct {
	index  int  // of the layer
	picked bool // Q are the scored tokens alone
	values [][]float32
	before [][]float32 // of each operation: what backward needs beside its operands
	routed []routed    // of each operation that is a mixture
	room   [][]float32 // memory of values
	all    tokenRows
	wanted tokenRows
}

// tokenRows are the tokens that rows belong to.
type tokenRows struct {
	n       int
	pos     positions
	numbers []uint64 // of each token, for dropout
	queries []Query  // one of a span at most
}

// begin prepares memory for a pass. x is what the program is given, or nil.
func (k *passed) begin(t *tape, x []float32) {
	for len(k.room) < t.p.Values() { // a pass before may have been of a shorter tape
		k.room, k.values = append(k.room, nil), append(k.values, nil)
	}
	for len(k.before) < len(t.p.Ops) {
		k.before, k.routed = append(k.before, nil), append(k.routed, routed{})
	}
	for v := range k.values {
		k.values[v] = nil
	}
	if t.p.In != nn.NoValue {
		k.values[t.p.In] = x
	}
}

// rows returns the tokens of a value's rows.
func (k *passed) rows(p *nn.Program, v nn.Value) *tokenRows {
	if p.OfWanted(v) {
		return &k.wanted
	}
	return &k.all
}

// keep gives a value memory, which it leaves as it is.
func (k *passed) keep(p *nn.Program, v nn.Value) []float32 {
	k.values[v] = keep(&k.room[v], k.rows(p, v).n, kernel.Stride(p.Width(v)))
	return k.values[v]
}

// keep returns *buf with room for m rows of stride ld, and leaves it so.
func keep(buf *[]float32, m, ld int) []float32 {
	*buf = grow(buf, m*ld)
	return *buf
}

// forward runs a tape. Operations on the same rows, one behind the other, run
// a block of rows at a time, so that what one leaves is in cache for the next.
func (t *Training) forwardTape(p *tape, k *passed) []float32 {
	ops := p.p.Ops
	for i := 0; i < len(ops); {
		if k.whole(&ops[i]) {
			t.forwardWhole(p, k, i)
			i++
			continue
		}
		rows := k.rows(p.p, ops[i].Out)
		j := i
		for j < len(ops) && !k.whole(&ops[j]) && k.rows(p.p, ops[j].Out).n == rows.n {
			t.prepare(p, k, j)
			j++
		}
		t.work.Rows(rows.n, func(w *Scratch, lo, hi int) {
			for at := i; at < j; at++ {
				t.forwardRows(p, k, w, at, lo, hi)
			}
		})
		i = j
	}
	return k.values[p.base[p.p.Out]]
}

// whole says whether an operation needs all rows at once.
func (k *passed) whole(op *nn.Op) bool {
	switch op.Kind {
	case nn.Attend, nn.Lookup, nn.Wanted, nn.Neighbours, nn.Route:
		return true
	}
	return false
}

// prepare gives the result of an operation memory.
func (t *Training) prepare(p *tape, k *passed, i int) {
	op := &p.p.Ops[i]
	n := k.rows(p.p, op.Out).n
	if p.base[op.Out] == op.Out {
		k.keep(p.p, op.Out)
	}
	switch {
	case op.Kind == nn.Normalize && op.Heads > 0:
		keep(&k.before[i], n, kernel.Stride(p.p.Width(op.X)))
	case op.Kind == nn.Multiply && op.Act != nn.None:
		keep(&k.before[i], n, kernel.Stride(p.p.Width(op.Out)))
	case op.Kind == nn.MultiplyGated:
		keep(&k.before[i], n, gatedStride(op))
	}
}

// gatedStride is the stride of gate and up of a gated layer, in turn.
func gatedStride(op *nn.Op) int { return kernel.Stride(2 * kernel.Pad(op.Gated.F)) }

// value returns the rows of a value and their stride.
func (k *passed) value(p *tape, v nn.Value) ([]float32, int) {
	return k.values[p.base[v]], kernel.Stride(p.p.Width(v))
}

// forwardRows computes the rows [lo, hi) of the i-th operation.
func (t *Training) forwardRows(p *tape, k *passed, w *Scratch, i, lo, hi int) {
	op, m := &p.steps[i], hi-lo
	x, ldx := k.value(p, op.X)
	y, ldy := k.value(p, op.Out)
	x, y = x[lo*ldx:], y[lo*ldy:]
	switch op.Kind {
	case nn.Normalize:
		if op.Heads > 0 {
			copy(k.before[i][lo*ldx:hi*ldx], x)
		}
		op.normalize(y, ldy, x, ldx, m)
	case nn.Scale:
		for j := range m {
			scale(y[j*ldy:][:p.p.Width(op.Out)], op.Factor)
		}
	case nn.Activate:
		for j := range m {
			activate(y[j*ldy:][:p.p.Width(op.Out)], op.Op.Act)
		}
	case nn.Rotate:
		op.rope.forward(w, y, ldy, op.Heads, op.Attention.D, k.rows(p.p, op.Out).pos.slice(lo, hi))
	case nn.Multiply:
		if op.act == kernel.Store {
			op.linear.forward(&w.Gemm, y, ldy, x, ldx, m, kernel.Store)
			return
		}
		op.linear.saved(&w.Gemm, y, ldy, k.before[i][lo*ldy:], ldy, x, ldx, m, op.act)
	case nn.MultiplyGated:
		ldg := gatedStride(op.Op)
		op.gated.saved(&w.Gemm, y, ldy, k.before[i][lo*ldg:], ldg, x, ldx, m)
	case nn.MultiplyAdd, nn.Sum:
		from, _ := k.value(p, op.Y)
		copy(y[:m*ldy], from[lo*ldy:])
		t.branch(w, k, op, y, ldy, x, ldx, k.rows(p.p, op.Out).numbers[lo:hi])
	}
}

// branch adds a branch, less what is dropped, to rows of the residual stream.
func (t *Training) branch(w *Scratch, k *passed, op *step, y []float32, ldy int, x []float32, ldx int,
	numbers []uint64) {
	drop, m := t.dropout(k.index, op.Op), len(numbers)
	width := t.net.Hidden
	if op.Kind == nn.MultiplyAdd {
		if drop.P == 0 {
			op.linear.forward(&w.Gemm, y, ldy, x, ldx, m, kernel.Add)
			return
		}
		tmp := w.Rows(m * ldy)
		op.linear.forward(&w.Gemm, tmp, ldy, x, ldx, m, kernel.Store)
		x, ldx = tmp, ldy
	} else if drop.P > 0 {
		tmp := w.Rows(m * ldx)
		copy(tmp, x[:m*ldx])
		x = tmp
	}
	for i := range m {
		row := x[i*ldx:][:width]
		drop.Apply(row, 0, numbers[i])
		kernel.AddTo(y[i*ldy:][:width], row)
	}
}

// forwardWhole computes an operation that needs all rows at once.
func (t *Training) forwardWhole(p *tape, k *passed, i int) {
	op := &p.steps[i]
	switch op.Kind {
	case nn.Lookup:
		if op.Y == nn.NoValue {
			k.keep(p.p, op.Out)
		}
		y, ldy := k.value(p, op.Out)
		op.table.lookup(t.work, y, ldy, t.batch.by(op.Of), op.Y != nn.NoValue)
	case nn.Wanted:
		if !k.picked {
			k.values[op.Out] = k.values[p.base[op.X]]
			return
		}
		x, ld := k.value(p, op.X)
		y := k.keep(p.p, op.Out)
		for j, row := range t.batch.last {
			copy(y[j*ld:][:ld], x[int(row)*ld:])
		}
	case nn.Neighbours:
		x, ldx := k.value(p, op.X)
		y, ldy := k.keep(p.p, op.Out), kernel.Stride(p.p.Width(op.Out))
		t.work.Rows(k.all.n, func(_ *Scratch, lo, hi int) {
			neighbours(y, ldy, x, ldx, p.p.Width(op.X), op.Kernel, k.all.pos.pos, lo, hi)
		})
	case nn.Attend:
		k.keep(p.p, op.Out)
		t.attend(p, k, op.Op)
	case nn.Route:
		t.route(p, k, i)
	}
}

// attend computes attention.
func (t *Training) attend(p *tape, k *passed, op *nn.Op) {
	a := t.model.weights.attention(op.Attention)
	q, ldq := k.value(p, op.X)
	kv, ldkv := k.value(p, op.Y)
	out, _ := k.value(p, op.Out)
	drop, queries := t.dropout(k.index, op), k.wanted.queries
	t.work.Each(len(queries)*a.K, 1, func(w *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			n := i / a.K
			if drop.P == 0 {
				a.forward(w, out, ldq, q, ldq, kv, kv[a.K*a.D:], ldkv, t.batch.spans, queries[n:n+1], i%a.K)
			} else {
				a.dropped(w, out, ldq, q, ldq, kv, kv[a.K*a.D:], ldkv, t.batch.spans, queries[n],
					i%a.K, drop, k.wanted.numbers)
			}
		}
	})
}

// Places in a layer where elements are dropped.
const (
	siteEmbedding = iota
	siteAttention
	siteBranch // the first branch that joins the residual stream; the others follow
)

// dropout returns what an operation of a layer drops in the current pass.
func (t *Training) dropout(layer int, op *nn.Op) dropout {
	switch op.Kind {
	case nn.Attend:
		return t.dropped(layer, siteAttention, t.drop.Attention)
	case nn.MultiplyAdd, nn.Sum, nn.Route:
		return t.dropped(layer, siteBranch+op.Branch, t.drop.Hidden)
	}
	return dropout{}
}

func (t *Training) dropped(layer, site int, share float32) dropout {
	return dropout{P: share, Key: nn.Mix(nn.Mix(nn.Mix(t.drop.Seed, t.drop.Step), uint64(layer)),
		uint64(site))}
}
