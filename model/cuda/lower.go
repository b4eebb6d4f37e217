package cuda

import (
	"fmt"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// kind says which rows a value has.
type kind uint8

const (
	all  kind = iota // of every token
	read             // of the tokens that the head reads
)

// place is where the rows of a value lie: a part of the columns of a buffer.
type place struct {
	slot  *slot
	col   int // the first of its columns
	width int
	kind  kind
	wide  bool // float32 whatever the number format of the model
	e4m3  bool // with a scale in each row; col is 0
	// normed says that products divide the rows as RMSNorm does, with this eps, whose weights theirs have.
	normed bool
	eps    float32
	stamp  int // which of the values it is whose sums of squares were left by a product; 0 for others
}

// slot is a buffer for the rows of values, one after the other.
type slot struct {
	at    Ptr
	bytes int // of a row
	rows  int // that there is room for
	users int // values that lie there and are needed yet
}

// step is one launch, as a batch of a class needs it.
type step func(c *class) (launch, error)

// launch is a kernel with its parameters.
type launch struct {
	kernel *kernel.Kernel
	grid   int
	args   []byte
}

// lowering turns a network into steps. It runs twice: to count what memory the activations take, and,
// with an address, for good.
type lowering struct {
	m     *Model
	base  Ptr // of the activations; 0 while counting
	taken int // bytes of them
	slots []*slot
	steps []step
	maps  map[mapOf]Ptr // tensor maps, in device memory
	mixed map[[2]int]*mixing
	// Sums of squares of rows of each kind, and whose they are.
	squares [2]Ptr
	summed  [2]int
	stamps  int
}

// element returns the bytes of a value's number.
func (l *lowering) element(wide bool) int { return l.m.layout.element(wide) }

// take reserves bytes of the activations.
func (l *lowering) take(bytes int) Ptr {
	at := (l.taken + align - 1) / align * align
	l.taken = at + bytes
	return l.base + Ptr(at)
}

// room is a new value's place.
func (l *lowering) room(width int, k kind, wide bool) place {
	// Rows begin at multiples of 16 bytes, which wide loads and the copy engine ask for.
	bytes := (width*l.element(wide) + 15) &^ 15
	return place{slot: l.slot(bytes, l.m.rows), width: width, kind: k, wide: wide}
}

// slot is one for rows of so many bytes, with one user.
func (l *lowering) slot(bytes, rows int) *slot {
	for _, s := range l.slots {
		if s.users == 0 && s.bytes == bytes && s.rows == rows {
			s.users = 1
			return s
		}
	}
	s := &slot{bytes: bytes, rows: rows, users: 1, at: l.take(bytes * rows)}
	l.slots = append(l.slots, s)
	return s
}

// ptr is the address of a place's first value.
func (l *lowering) ptr(p place) Ptr { return p.slot.at + Ptr(p.col*l.element(p.wide)) }

// ld is the number of values from row to row.
func (l *lowering) ld(p place) int32 { return int32(p.slot.bytes / l.element(p.wide)) }

// suffix ends the names of kernels for a place's numbers.
func (l *lowering) suffix(p place) string {
	if l.element(p.wide) == 2 {
		return "_bf16"
	}
	return "_f32"
}

// kernel is the kernel of a name on the model's card.
func (l *lowering) kernel(name string) *kernel.Kernel { return kernel.For(name, l.m.limits.Capability) }

// header is where a batch's header has the number of a place's rows.
func (p place) header() int32 { return int32(p.kind) }

// program is the lowering of one program.
type program struct {
	*lowering
	p    *nn.Program
	at   []place
	last []int // the operation that reads a value last
	wide bool
	// narrow says that wanted rows are those that are read, and not all.
	narrow bool
	q, kv  *nn.Op // which are one product
	heads  *heads // what it does besides; nil for nothing
}

// run lowers a program on a place, which dies with it, and returns that of its result.
func (l *lowering) run(p *nn.Program, in place, narrow, wide bool) place {
	r := &program{lowering: l, p: p, at: make([]place, p.Values()), last: make([]int, p.Values()), wide: wide,
		narrow: narrow}
	for v := range r.last {
		r.last[v] = -1
	}
	for i := range p.Ops {
		for _, v := range []nn.Value{p.Ops[i].X, p.Ops[i].Y} {
			if v != nn.NoValue {
				r.last[v] = i
			}
		}
	}
	if p.Out != nn.NoValue {
		r.last[p.Out] = len(p.Ops)
	}
	if p.In != nn.NoValue {
		r.at[p.In] = in
		if r.last[p.In] < 0 {
			in.slot.users--
		}
	}
	if q, kv := qkv(p); q != nil && !narrow && !wide {
		r.q, r.kv = q, kv
		r.heads = r.fuse()
	}
	for i := range p.Ops {
		r.op(i, &p.Ops[i])
	}
	return r.at[p.Out]
}

// done frees what operation i reads last.
func (r *program) done(i int, op *nn.Op) {
	for _, v := range []nn.Value{op.X, op.Y} {
		if v != nn.NoValue && r.last[v] == i {
			r.at[v].slot.users--
			r.last[v] = -1 // once, where an operation reads it twice
		}
	}
}

// dies says whether operation i is the last that needs the memory of v.
func (r *program) dies(v nn.Value, i int) bool { return r.last[v] == i && r.at[v].slot.users == 1 }

func (r *program) op(i int, op *nn.Op) {
	switch op.Kind {
	case nn.Lookup:
		r.lookup(op)
	case nn.Wanted:
		r.wanted(i, op)
		return
	case nn.Normalize, nn.Rotate, nn.Scale, nn.Activate:
		r.rowwise(i, op)
		return
	case nn.Sum:
		r.joined(i, op)
		r.add(kernel.Rows{}, "add", r.at[op.Out], r.at[op.X], r.at[op.Y])
	case nn.Multiply:
		r.multiply(op)
	case nn.MultiplyAdd:
		r.joined(i, op)
		out := r.at[op.Out]
		r.at[op.Out] = r.product(r.m.layout.matrices[op.Linear], op.Act, out, r.at[op.X], &r.at[op.Y], rowsOf(out))
	case nn.MultiplyGated:
		r.at[op.Out] = r.room(op.Gated.F, r.at[op.X].kind, false)
		r.gated(op.Gated, r.at[op.Out], r.at[op.X], rowsOf(r.at[op.Out]))
	case nn.Route:
		r.joined(i, op)
		r.route(op.Mixture, r.at[op.Out], r.at[op.X], r.at[op.Y])
	case nn.Attend:
		r.at[op.Out] = r.room(r.p.Width(op.Out), r.at[op.X].kind, false)
		r.attend(op.Attention, r.at[op.Out], r.at[op.X], r.at[op.Y])
	case nn.Neighbours:
		r.at[op.Out] = r.room(r.p.Width(op.Out), all, false)
		r.neighbours(op)
	default:
		panic(fmt.Sprintf("cuda: no kernel for operation %d", op.Kind))
	}
	r.done(i, op)
}

// joined places the result of an operation that adds to Y: in Y's memory where nothing else needs it.
func (r *program) joined(i int, op *nn.Op) {
	y := r.at[op.Y]
	if r.dies(op.Y, i) {
		y.slot.users++ // the result's
		y.stamp = 0
		r.at[op.Out] = y
		return
	}
	r.at[op.Out] = r.room(y.width, y.kind, r.wide)
}

// rowwise lowers operations on rows one by one. Heads are changed where they lie.
func (r *program) rowwise(i int, op *nn.Op) {
	x := r.at[op.X]
	if r.divides(op) {
		r.at[op.Out] = r.normalized(op, x)
		r.done(i, op)
		return
	}
	inPlace := r.dies(op.X, i) && (op.Kind == nn.Scale || op.Kind == nn.Activate)
	if op.Heads > 0 {
		if inPlace = r.last[op.X] == i; !inPlace {
			panic("cuda: heads that are needed as they were, too")
		}
	}
	y := x
	y.stamp = 0
	if inPlace {
		x.slot.users++
	} else {
		y = r.room(x.width, x.kind, r.wide)
	}
	r.at[op.Out] = y
	a := kernel.Rows{N: int32(x.width), Factor: op.Factor, Act: int32(op.Act)}
	switch op.Kind {
	case nn.Scale:
		r.add(a, "scale", y, x, place{})
	case nn.Activate:
		r.add(a, "activate", y, x, place{})
	case nn.Rotate:
		if r.fused(op) {
			break
		}
		r.rotate(op, y, x)
	case nn.Normalize:
		if r.fused(op) {
			break
		}
		r.normalize(op, y, x)
	}
	r.done(i, op)
}

func (r *program) normalize(op *nn.Op, y, x place) {
	v := r.m.layout.norms[op.Norm]
	a := kernel.Rows{N: int32(x.width), W: r.m.weight(v.w)}
	if r.m.layout.folded[op] != nil {
		a.W = r.m.weight(r.m.layout.ones) // those of products have the weights
	}
	if v.b >= 0 {
		a.B = r.m.weight(v.b)
	}
	switch n := op.Norm.(type) {
	case *nn.RMSNorm:
		a.Eps = n.Eps
		if op.Heads > 0 {
			a.Heads, a.N = int32(op.Heads), int32(n.C)
		}
		r.add(a, "rmsnorm", y, x, place{})
	case *nn.LayerNorm:
		a.Eps = n.Eps
		r.add(a, "layernorm", y, x, place{})
	case *nn.BatchNorm:
		r.add(a, "affine", y, x, place{})
	default:
		panic(fmt.Sprintf("cuda: no kernel for a norm of type %T", n))
	}
}

func (r *program) rotate(op *nn.Op, y, x place) {
	pairs := len(op.Rope.InvFreq)
	if pairs == 0 {
		return
	}
	a := kernel.Rows{Heads: int32(op.Heads), N: int32(op.Attention.D), Pairs: int32(pairs),
		Turn: r.rope(op.Rope)}
	stretched := r.m.stretched(op.Rope)
	r.rowStep("rotate", y, x, place{}, a, func(c *class, a *kernel.Rows) {
		a.Index = c.turns(stretched, x.kind)
	})
}

// lookup adds rows of a table, by the batch's numbers.
func (r *program) lookup(op *nn.Op) {
	y := r.room(op.Table.C, all, false)
	a := kernel.Rows{N: int32(op.Table.C), X: r.m.weight(r.m.layout.tables[op.Table]), LDX: int32(op.Table.C)}
	var z place
	if op.Y != nn.NoValue {
		z = r.at[op.Y]
	}
	r.at[op.Out] = y
	of := op.Of
	r.rowStep("lookup", y, place{}, z, a, func(c *class, a *kernel.Rows) { a.Index = c.numbers(of) })
}

// wanted gathers the rows that are read; where all are wanted, or the value has no others, it is the
// value.
func (r *program) wanted(i int, op *nn.Op) {
	x := r.at[op.X]
	if !r.narrow || x.kind == read {
		r.at[op.Out] = x
		x.slot.users++
		r.done(i, op)
		return
	}
	y := r.room(x.width, read, r.wide)
	y.normed, y.eps = x.normed, x.eps
	r.at[op.Out] = y
	r.rowStep("lookup", y, x, place{}, kernel.Rows{N: int32(x.width)},
		func(c *class, a *kernel.Rows) { a.Index = c.ptr(secReads) })
	r.done(i, op)
}

func (r *program) neighbours(op *nn.Op) {
	x, y := r.at[op.X], r.at[op.Out]
	a := kernel.Rows{N: int32(x.width), Kernel: int32(op.Kernel)}
	r.rowStep("neighbours", y, x, place{}, a, func(c *class, a *kernel.Rows) {
		a.Index, a.Until = c.ptr(secFirst), c.ptr(secUntil)
	})
}

// add is a step of a kernel on rows that asks nothing of the batch but its size.
func (l *lowering) add(a kernel.Rows, name string, y, x, z place) {
	if a.N == 0 {
		a.N = int32(y.width)
	}
	l.rowStep(name, y, x, z, a, nil)
}

// rowStep is a step of a kernel on rows. of sets what depends on the batch's class.
func (l *lowering) rowStep(name string, y, x, z place, a kernel.Rows, of func(c *class, a *kernel.Rows)) {
	k := l.kernel(name + l.suffix(y))
	a.Y, a.LDY, a.At = l.ptr(y), l.ld(y), y.header()
	if x.slot != nil {
		a.X, a.LDX = l.ptr(x), l.ld(x)
	}
	if z.slot != nil {
		a.Z, a.LDZ = l.ptr(z), l.ld(z)
	}
	rows := y.kind
	l.steps = append(l.steps, func(c *class) (launch, error) {
		a := a
		a.Header = c.header()
		if of != nil {
			of(c, &a)
		}
		return launch{k, c.grid(k, c.count(rows)), kernel.Bytes(a)}, nil
	})
}
