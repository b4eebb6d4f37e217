package cuda

import (
	"fmt"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// attend is a step of attention over the batch's tasks.
func (l *lowering) attend(a *nn.Attention, o, q, kv place) {
	args := kernel.Attend{Q: l.ptr(q), K: l.ptr(kv), V: l.ptr(kv) + Ptr(a.K*a.D*l.element(false)), O: l.ptr(o),
		Heads: int32(a.H), KVHeads: int32(a.K), D: int32(a.D), LDQ: l.ld(q), LDKV: l.ld(kv), LDO: l.ld(o),
		Window: int32(a.Window), Reach: int32(a.Reach), Scale: a.Scale, SoftCap: a.SoftCap}
	if a.Causal {
		args.Causal = 1
	}
	name := "attend" + l.suffix(o) + "_simt"
	switch {
	case a.Relative != nil:
		l.relative(&args, a)
	case l.suffix(o) != "_bf16":
	case l.hopper() && kernel.Table[fmt.Sprintf("attend_wgmma_%d", a.D)] != nil:
		name = fmt.Sprintf("attend_wgmma_%d", a.D)
		args.QMap = l.tensorMap(q.slot.at, q.slot.rows, q.col+q.width, int(l.ld(q)), 64)
		args.KVMap = l.tensorMap(kv.slot.at, kv.slot.rows, kv.col+kv.width, int(l.ld(kv)), kernel.Table[name].Box)
		args.QCol, args.KCol, args.VCol = int32(q.col), int32(kv.col), int32(kv.col+a.K*a.D)
	case l.m.limits.Capability >= 80 && kernel.Table[fmt.Sprintf("attend_mma_%d", a.D)] != nil:
		name = fmt.Sprintf("attend_mma_%d", a.D)
	}
	whole, half := kernel.Table[name], kernel.Table[name+"_half"]
	rows := q.kind
	l.steps = append(l.steps, func(b *class) (launch, error) {
		k := whole
		if half != nil && rows == all && 2*a.H*((b.rows+kernel.TaskQueries-1)/kernel.TaskQueries) <= l.m.limits.SMs {
			k = half // whole tasks of long sequences leave multiprocessors without any
		}
		args := args
		args.Header = b.header()
		var most int
		args.At, args.Tasks, most = b.tasks(rows)
		parts := 1 // of a task
		if k.TileM > 0 {
			parts = kernel.TaskQueries / k.TileM
		}
		return launch{k, b.blocks(k, most*a.H*parts), kernel.Bytes(args)}, nil
	})
}

// relative gives attention what scores are by distance: the table's rows, projected for each head.
func (l *lowering) relative(args *kernel.Attend, a *nn.Attention) {
	r := l.m.relatives[a.Relative]
	if r == nil {
		r = &projected{relative: a.Relative, heads: a.H, d: a.D}
		size := a.Relative.Table.V * a.H * a.D * l.element(false)
		if a.Relative.Key != nil {
			r.key = l.take(size)
		}
		if a.Relative.Query != nil {
			r.query = l.take(size)
		}
		r.bucket = l.take(4 * (2*l.m.longest - 1))
		l.m.relatives[a.Relative] = r
	}
	args.PK, args.PQ, args.Bucket = r.key, r.query, r.bucket
	args.Rows, args.Most = int32(a.Relative.Table.V), int32(l.m.longest)
}

// projected is where the rows of an [nn.Relative] lie, by head, and which of them is whose.
type projected struct {
	relative   *nn.Relative
	heads, d   int
	key, query Ptr // (heads, rows, d); 0 without the term
	bucket     Ptr
}

// project computes what attention reads of distances, once.
func (m *Model) project() error {
	for _, r := range m.relatives {
		bucket := make([]int32, 2*m.longest-1)
		for i := range bucket {
			bucket[i] = int32(r.relative.Row(i - m.longest + 1))
		}
		if err := m.dev.Write(r.bucket, int32s(bucket)); err != nil {
			return err
		}
		if err := m.projectTerm(r, r.relative.Key, r.key); err != nil {
			return err
		}
		if err := m.projectTerm(r, r.relative.Query, r.query); err != nil {
			return err
		}
	}
	return nil
}

// projectTerm computes norm(table)·Wᵀ on the card and lays it out by head. The layer may have more
// outputs than heads, as one of keys over values has: the first are the heads'.
func (m *Model) projectTerm(r *projected, layer *nn.Linear, to Ptr) error {
	if layer == nil {
		return nil
	}
	t := r.relative.Table
	w := m.layout.matrices[layer]
	e := m.layout.element(false)
	scratch, err := m.dev.Alloc(t.V*((t.C+w.n)*e+kernel.E4M3Row(t.C)) + 3*align)
	if err != nil {
		return err
	}
	defer m.dev.Free(scratch)
	l := &lowering{m: m, base: scratch}
	at := func(p Ptr, width int) place {
		return place{slot: &slot{at: p, bytes: width * e, rows: t.V}, width: width}
	}
	x := at(m.weight(m.layout.tables[t]), t.C)
	if n := r.relative.Norm; n != nil {
		y := at(l.take(t.V*t.C*e), t.C)
		(&program{lowering: l}).normalize(&nn.Op{Norm: n}, y, x)
		x = y
	}
	y := at(l.take(t.V*w.n*e), w.n)
	name := "product_f32"
	switch {
	case w.e4m3:
		name = "product_mma_e4m3"
	case l.suffix(y) == "_bf16":
		name = "product_bf16_simt"
	}
	l.productStep(l.operands(w, y, x, rowsOf(y)), kernel.Table[name])
	c := &class{m: m, rows: t.V}
	if err := m.dev.Write(c.header(), int32s([]int32{int32(t.V)})); err != nil {
		return err
	}
	if err := c.launch(l.steps); err != nil {
		return err
	}
	rows := make([]byte, t.V*w.n*e)
	if err := m.dev.Read(rows, l.ptr(y)); err != nil {
		return err
	}
	size := r.d * e
	var out []byte
	for h := range r.heads {
		for i := range t.V {
			out = append(out, rows[i*w.n*e+h*size:][:size]...)
		}
	}
	return m.dev.Write(to, out)
}
