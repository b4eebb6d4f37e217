package cuda

import (
	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// mixing is the memory that mixtures of one shape share: what the experts of each row are, and the
// gathered rows, one expert's behind the other's.
type mixing struct {
	logits, place, weight, row, expert Ptr
	x, h, y                            place // of each row as many as it has experts
}

// mixing returns the memory for a mixture.
func (l *lowering) mixing(m *nn.Mixture) *mixing {
	c, f := m.Router.In, 0
	for _, e := range m.Experts {
		f = max(f, e.GateUp.F)
	}
	key := [2]int{len(m.Experts)*1024 + m.Top, f}
	if x := l.mixed[key]; x != nil {
		return x
	}
	n := l.m.rows * m.Taken()
	gathered := func(width int) place {
		bytes := (width*l.element(false) + 15) &^ 15
		return place{slot: &slot{at: l.take(bytes * n), bytes: bytes, rows: n, users: 1}, width: width}
	}
	x := &mixing{logits: l.take(4 * l.m.rows * m.Router.Out()), place: l.take(4 * n), weight: l.take(4 * n), row: l.take(4 * n),
		expert: l.take(4 * n), x: gathered(c), h: gathered(f), y: gathered(c)}
	l.mixed[key] = x
	return x
}

// route lowers y = z + what the experts of each row make of x.
func (r *program) route(m *nn.Mixture, y, x, z place) {
	t := r.mixing(m)
	counts, offsets := int32(headerCounts), int32(headerCounts+len(m.Experts))
	w := r.m.layout.matrices[m.Router]
	r.score(t.logits, vectors{w.at, w.bias}, w.n, w.k, x)
	a := kernel.Route{Logits: t.logits, Place: t.place, Weight: t.weight, Row: t.row, Expert: t.expert, At: x.header(),
		Experts: int32(len(m.Experts)), Chosen: int32(m.Chosen()), Top: int32(m.Top), Counts: counts, Offsets: offsets}
	if m.Normalized {
		a.Normalized = 1
	}
	rows := x.kind
	for _, name := range []string{"choose", "sort"} {
		k := kernel.Table[name]
		r.steps = append(r.steps, func(c *class) (launch, error) {
			a := a
			a.Header = c.header()
			return launch{k, c.grid(k, c.count(rows)), kernel.Bytes(a)}, nil
		})
	}
	gather := kernel.Rows{N: int32(x.width), Index: t.row, Y: r.ptr(t.x), LDY: r.ld(t.x), X: r.ptr(x), LDX: r.ld(x), At: offsets + int32(len(m.Experts))}
	k := r.kernel("lookup" + r.suffix(x))
	r.steps = append(r.steps, func(c *class) (launch, error) {
		a := gather
		a.Header = c.header()
		return launch{k, c.grid(k, c.count(rows)*m.Taken()), kernel.Bytes(a)}, nil
	})
	var quantized place // of all experts
	for e := range m.Experts {
		if quantized.slot == nil && r.m.layout.gates[m.Experts[e].GateUp].e4m3 {
			quantized = r.quantize(t.x, part{gather.At, -1})
		}
	}
	for e := range m.Experts {
		part := part{counts + int32(e), offsets + int32(e)}
		h := t.h
		h.width = m.Experts[e].GateUp.F
		x := t.x
		if r.m.layout.gates[m.Experts[e].GateUp].e4m3 {
			x = quantized
		}
		r.gated(m.Experts[e].GateUp, h, x, part)
		r.product(r.m.layout.matrices[m.Experts[e].Down], nn.None, t.y, h, nil, part)
	}
	if quantized.slot != nil {
		quantized.slot.users--
	}
	sum := kernel.Combine{Y: r.ptr(y), Z: r.ptr(z), X: r.ptr(t.y), Place: t.place, Weight: t.weight, At: y.header(), N: int32(y.width),
		Taken: int32(m.Taken()), LDY: r.ld(y), LDZ: r.ld(z), LDX: r.ld(t.y)}
	kc := kernel.Table["combine"+r.suffix(y)]
	r.steps = append(r.steps, func(c *class) (launch, error) {
		a := sum
		a.Header = c.header()
		return launch{kc, c.grid(kc, c.count(rows)), kernel.Bytes(a)}, nil
	})
}
