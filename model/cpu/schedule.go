package cpu

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// A schedule is a program as the scoring executor runs it: lists of steps over
// blocks of rows that stay in cache, with attention between them, which alone
// needs all rows at once. What both lists before and after attention need is
// computed in each, which costs a norm at most.
type schedule struct {
	keys    []step // of all rows, for attention's keys and values
	queries []step // of the wanted rows, for its queries
	both    []step // keys and queries, where all rows are wanted
	rest    []step // of the wanted rows, from attention's output; or all, without attention

	attention *attention // nil without
	around    *nn.Op     // the neighbours that rest reads, of all rows; nil without
	out       place      // of rest's result
}

// step is one operation, where its values are and with which weights.
type step struct {
	*nn.Op
	x, y, out place

	linear  *linear
	gated   *gated
	mixture *mixture
	norm    norm
	table   *embedding
	rope    *rope
	act     kernel.Epilogue

	// from is copied to out first: what the operation changes in place where
	// that is still needed as it is.
	from place
}

// A place is where the rows of a value are.
type place struct {
	where where
	slot  int // of memory that a worker has for itself
	width int
}

type where uint8

const (
	nowhere where = iota
	stream        // the residual stream, from block to block
	query         // attention's queries
	keyed         // attention's keys and values
	mixed         // attention's output
	around        // neighbours' values
	local         // a block of rows of a worker
)

// compile divides a program into its lists.
func compile(p *nn.Program, w *weights) *schedule {
	s := &schedule{}
	c := newCompiler(p, w)
	for i := range p.Ops {
		if op := &p.Ops[i]; op.Kind == nn.Wanted { // the rows that a list is run on
			c.alias[op.Out] = c.alias[op.X]
		}
	}
	given := map[nn.Value]place{}
	if p.In != nn.NoValue {
		given[p.In] = place{where: stream, width: p.Width(p.In)}
	}
	at := p.Attends()
	if at < 0 {
		s.rest = c.list(given, map[nn.Value]where{p.Out: stream}, true)
		s.out = c.place(p.Out)
		return s
	}
	op := &p.Ops[at]
	s.attention = w.attention(op.Attention)
	q, kv := map[nn.Value]where{op.X: query}, map[nn.Value]where{op.Y: keyed}
	s.keys = c.list(given, kv, false)
	s.queries = c.list(given, q, false)
	s.both = c.list(given, map[nn.Value]where{op.X: query, op.Y: keyed}, false)
	given[op.Out] = place{where: mixed, width: p.Width(op.Out)}
	for i := range p.Ops {
		if op := &p.Ops[i]; op.Kind == nn.Neighbours {
			s.around = op
			given[op.Out] = place{where: around, width: p.Width(op.Out)}
		}
	}
	s.rest = c.list(given, map[nn.Value]where{p.Out: stream}, true)
	if s.out = c.place(p.Out); s.out.where != stream {
		panic("cpu: a block does not return the residual stream")
	}
	return s
}

// compileHead compiles the layers of a head's branch, which leaves what it is
// given as it is for the others.
func compileHead(p *nn.Program, w *weights) *schedule {
	c := newCompiler(p, w)
	given := map[nn.Value]place{p.In: {where: stream, width: p.Width(p.In)}}
	s := &schedule{rest: c.list(given, map[nn.Value]where{p.Out: nowhere}, false)}
	s.out = c.place(p.Out)
	return s
}

// compiler makes the lists of one program.
type compiler struct {
	p       *nn.Program
	weights *weights
	alias   []nn.Value // the value whose rows a value is
	places  []place    // in the list that is being made
	last    []int      // the operation that reads a value last
	slots   []nn.Value // what holds each slot of a worker; NoValue when free
}

func newCompiler(p *nn.Program, w *weights) *compiler {
	return &compiler{p: p, weights: w, alias: themselves(p)}
}

// themselves returns all values of a program.
func themselves(p *nn.Program) []nn.Value {
	v := make([]nn.Value, p.Values())
	for i := range v {
		v[i] = nn.Value(i)
	}
	return v
}

func (c *compiler) place(v nn.Value) place { return c.places[c.alias[v]] }

// list is what computes the wanted values from the given ones. Wanted says
// where they shall be, as far as that can be had. With consume the stream may be
// written over once nothing reads it.
func (c *compiler) list(given map[nn.Value]place, wanted map[nn.Value]where, consume bool) []step {
	ops := c.needed(given, wanted)
	c.places = make([]place, c.p.Values())
	c.slots = c.slots[:0]
	for v, p := range given {
		c.places[v] = p
	}
	c.last = slices.Repeat([]int{-1}, c.p.Values())
	for i, op := range ops {
		for _, v := range []nn.Value{op.X, op.Y} {
			if v != nn.NoValue {
				c.last[c.alias[v]] = i
			}
		}
	}
	never := len(ops)
	for v := range wanted {
		c.last[c.alias[v]] = never
	}
	if !consume && c.p.In != nn.NoValue {
		c.last[c.p.In] = never
	}
	target := c.targets(ops, wanted)
	steps := make([]step, 0, len(ops))
	for i, op := range ops {
		steps = append(steps, c.step(i, op, target))
	}
	return steps
}

// needed returns the operations that the wanted values depend on, in order.
func (c *compiler) needed(given map[nn.Value]place, wanted map[nn.Value]where) []*nn.Op {
	need := map[nn.Value]bool{}
	for v := range wanted {
		need[c.alias[v]] = true
	}
	var ops []*nn.Op
	for i := len(c.p.Ops) - 1; i >= 0; i-- {
		op := &c.p.Ops[i]
		if _, ok := given[op.Out]; ok || !need[op.Out] || op.Kind == nn.Wanted {
			continue
		}
		ops = append([]*nn.Op{op}, ops...)
		for _, v := range []nn.Value{op.X, op.Y} {
			if v != nn.NoValue {
				need[c.alias[v]] = true
			}
		}
	}
	return ops
}

// inPlace returns the operand whose memory the result of an operation may take.
func (c *compiler) inPlace(op *nn.Op) nn.Value {
	v := nn.NoValue
	switch op.Kind {
	case nn.Normalize, nn.Rotate, nn.Scale, nn.Activate:
		v = op.X
	case nn.MultiplyAdd, nn.Sum, nn.Route, nn.Lookup:
		v = op.Y
	}
	if v == nn.NoValue {
		return v
	}
	return c.alias[v]
}

// targets says where values shall be made so that the wanted ones end up where
// they are wanted: a result may be made where its last operand was.
func (c *compiler) targets(ops []*nn.Op, wanted map[nn.Value]where) map[nn.Value]where {
	out := map[nn.Value]where{}
	for v, w := range wanted {
		out[c.alias[v]] = w
	}
	for i := len(ops) - 1; i >= 0; i-- {
		w, ok := out[ops[i].Out]
		if v := c.inPlace(ops[i]); ok && v != nn.NoValue && c.last[v] == i && c.places[v].where == nowhere {
			out[v] = w
		}
	}
	return out
}

// step finds a place for the result of the i-th operation of a list.
func (c *compiler) step(i int, op *nn.Op, target map[nn.Value]where) step {
	s := c.weights.step(op)
	if op.X != nn.NoValue {
		s.x = c.place(op.X)
	}
	if op.Y != nn.NoValue {
		s.y = c.place(op.Y)
	}
	v := c.inPlace(op)
	free := v != nn.NoValue && c.last[v] == i && c.places[v].where != mixed
	switch {
	case free: // nothing reads the operand any more
		s.out = c.places[v]
		c.move(v, op.Out)
	case target[op.Out] != nowhere && target[op.Out] != stream, target[op.Out] == stream &&
		c.p.In == nn.NoValue:
		s.out = place{where: target[op.Out]}
	default:
		s.out = c.slot(op.Out)
	}
	s.out.width = c.p.Width(op.Out)
	if whole := op.Kind == nn.Normalize && op.Heads == 0; v != nn.NoValue && !free && !whole {
		s.from = c.places[v]
	}
	c.places[op.Out] = s.out
	for j, held := range c.slots {
		if held != nn.NoValue && c.last[held] <= i {
			c.slots[j] = nn.NoValue
		}
	}
	return s
}

// slot returns memory of a worker that no value holds.
func (c *compiler) slot(v nn.Value) place {
	for i, held := range c.slots {
		if held == nn.NoValue {
			c.slots[i] = v
			return place{where: local, slot: i}
		}
	}
	c.slots = append(c.slots, v)
	if len(c.slots) > maxSlots {
		panic(fmt.Sprintf("cpu: a block keeps more than %d values at a time", maxSlots))
	}
	return place{where: local, slot: len(c.slots) - 1}
}

// move gives the slot of one value to another.
func (c *compiler) move(from, to nn.Value) {
	for i, held := range c.slots {
		if held == from {
			c.slots[i] = to
		}
	}
}

// maxSlots bounds the values of a block of rows that a worker holds at a time.
const maxSlots = 6

// rowsOf is some rows of a stage, as steps see them.
type rowsOf struct {
	w              *worker
	x, q, kv, attn []float32
	near           []float32
	ldx, ldq, ldkv int
	ldnear         int
	ids, types     []int32
	pos            positions
	m              int
	block          int // the most rows that the list is run on
}

// blockRows returns how many rows a list runs on at a time.
func blockRows(steps []step) int {
	for i := range steps {
		if steps[i].Kind == nn.Route {
			return mixtureRows
		}
	}
	return kernel.RowBlock
}

// at returns the rows of a place and their stride.
func (r *rowsOf) at(p place) ([]float32, int) {
	switch p.where {
	case stream:
		return r.x, r.ldx
	case query:
		return r.q, r.ldq
	case keyed:
		return r.kv, r.ldkv
	case mixed:
		return r.attn, r.ldq
	case around:
		return r.near, r.ldnear
	case local:
		return r.w.rows(p.slot, r.block, p.width)
	}
	panic("cpu: a value without a place")
}

// run executes steps on up to so many rows as a block has.
func (r *rowsOf) run(steps []step) {
	for i := range steps {
		s := &steps[i]
		y, ldy := r.at(s.out)
		if s.from.where != nowhere {
			from, ld := r.at(s.from)
			for j := range r.m {
				copy(y[j*ldy:][:s.out.width], from[j*ld:])
			}
		}
		if s.Kind == nn.Lookup {
			r.lookup(s, y, ldy)
			continue
		}
		x, ldx := r.at(s.x)
		switch s.Kind {
		case nn.Normalize:
			if s.Heads > 0 {
				x, ldx = y, ldy
			}
			s.normalize(y, ldy, x, ldx, r.m)
		case nn.Scale:
			for j := range r.m {
				scale(y[j*ldy:][:s.out.width], s.Factor)
			}
		case nn.Activate:
			for j := range r.m {
				activate(y[j*ldy:][:s.out.width], s.Op.Act)
			}
		case nn.Rotate:
			s.rope.forward(&r.w.Scratch, y, ldy, s.Heads, s.Attention.D, r.pos)
		case nn.Multiply:
			s.linear.forward(&r.w.Gemm, y, ldy, x, ldx, r.m, s.act)
		case nn.MultiplyAdd:
			s.linear.forward(&r.w.Gemm, y, ldy, x, ldx, r.m, kernel.Add)
		case nn.MultiplyGated:
			s.gated.forward(&r.w.Gemm, y, ldy, x, ldx, r.m)
		case nn.Route:
			s.mixture.forward(&r.w.Scratch, y, ldy, x, ldx, r.m)
		case nn.Sum:
			for j := range r.m {
				kernel.AddTo(y[j*ldy:][:s.out.width], x[j*ldx:][:s.out.width])
			}
		default:
			panic(fmt.Sprintf("cpu: operation %d in a list of rows", s.Kind))
		}
	}
}

// scale multiplies values in place.
func scale(x []float32, factor float32) {
	for i := range x {
		x[i] *= factor
	}
}

// lookup reads the rows of a table, or adds them.
func (r *rowsOf) lookup(s *step, y []float32, ldy int) {
	numbers := [...][]int32{nn.Tokens: r.ids, nn.Types: r.types, nn.Positions: r.pos.pos}[s.Of]
	for i, id := range numbers[:r.m] {
		if s.Op.Y == nn.NoValue {
			s.table.read(y[i*ldy:][:s.Table.C], id)
			continue
		}
		s.table.addTo(y[i*ldy:][:s.Table.C], r.w.row(s.Table.C), id)
	}
}

// normalize is the operation of kind Normalize on m rows.
func (s *step) normalize(y []float32, ldy int, x []float32, ldx, m int) {
	if s.Heads == 0 {
		s.norm.forward(y, ldy, x, ldx, m)
		return
	}
	d := s.norm.Width()
	for i := range m {
		s.norm.forward(y[i*ldy:], d, x[i*ldx:], d, s.Heads)
	}
}

// step gives an operation its weights.
func (w *weights) step(op *nn.Op) step {
	s := step{Op: op}
	if op.Linear != nil {
		s.linear, s.act = w.linear(op.Linear), epilogue(epilogues, op.Act)
	}
	if op.Gated != nil {
		s.gated = w.gated(op.Gated)
	}
	if op.Mixture != nil {
		s.mixture = w.mixture(op.Mixture)
	}
	if op.Norm != nil {
		s.norm = w.norm(op.Norm)
	}
	if op.Table != nil {
		s.table = w.embedding(op.Table)
	}
	if op.Rope != nil {
		s.rope = w.rope(op.Rope)
	}
	return s
}
