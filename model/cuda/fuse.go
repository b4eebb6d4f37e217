package cuda

import (
	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// headTiles are the products of queries, keys and values that normalise and rotate heads before they
// store them, by the heads' size.
var headTiles = map[int]string{64: "wgmma_heads64", 128: "wgmma_heads"}

// heads is what such a product does with heads.
type heads struct {
	q, k         *nn.RMSNorm // nil for none
	rope         *nn.Rope
	d, qs, ks    int             // size of a head, how many of queries and of keys
	instructions map[*nn.Op]bool // that the product is
}

// fuse finds what the product of a block's queries, keys and values can do with their heads; nil where
// that is something else, or the device has no such kernel.
func (r *program) fuse() *heads {
	at := r.p.Attends()
	if r.q == nil || r.q.Linear.Bias != r.kv.Linear.Bias || !r.hopper() || r.element(false) != 2 || r.q.Linear.In%8 != 0 {
		return nil
	}
	a := r.p.Ops[at].Attention
	by := map[nn.Value]*nn.Op{}
	for i := range r.p.Ops {
		by[r.p.Ops[i].Out] = &r.p.Ops[i]
	}
	h := &heads{d: a.D, qs: a.H, ks: a.K, instructions: map[*nn.Op]bool{}}
	side := func(v nn.Value, n int) (*nn.RMSNorm, *nn.Rope, bool) {
		turn := by[v]
		if turn.Kind != nn.Rotate || turn.Heads != n || 2*len(turn.Rope.InvFreq) != a.D {
			return nil, nil, false
		}
		h.instructions[turn] = true
		op := by[turn.X]
		if op == r.q || op == r.kv {
			return nil, turn.Rope, true
		}
		norm, ok := op.Norm.(*nn.RMSNorm)
		if !ok || op.Heads != n || norm.C != a.D || by[op.X] != r.q && by[op.X] != r.kv {
			return nil, nil, false
		}
		h.instructions[op] = true
		return norm, turn.Rope, true
	}
	var ok1, ok2 bool
	var other *nn.Rope
	h.q, h.rope, ok1 = side(r.p.Ops[at].X, a.H)
	h.k, other, ok2 = side(r.p.Ops[at].Y, a.K)
	if !ok1 || !ok2 || headTiles[a.D] == "" || h.rope != other || h.q != nil && h.k != nil && h.q.Eps != h.k.Eps {
		return nil
	}
	return h
}

// fused says whether the product of queries and keys does an operation on their heads, too.
func (r *program) fused(op *nn.Op) bool { return r.heads != nil && r.heads.instructions[op] }

// headsStep is a step of a product that normalises and rotates heads.
func (r *program) headsStep(w matrix, c, a place) {
	h, p := r.heads, r.operands(w, c, a, rowsOf(c))
	p.QHeads, p.KHeads, p.Turn = int32(h.qs), int32(h.ks), r.halfTurns(h.rope)
	for _, n := range []struct {
		norm *nn.RMSNorm
		to   *Ptr
	}{{h.q, &p.QNorm}, {h.k, &p.KNorm}} {
		if n.norm != nil {
			*n.to, p.Eps = r.m.weight(r.m.layout.norms[n.norm].w), n.norm.Eps
		}
	}
	stretched, rows := r.m.stretched(h.rope), c.kind
	p.of = func(c *class, a *kernel.Product) { a.Pos = c.turns(stretched, rows) }
	r.productStep(p, kernel.Tiles(headTiles[h.d]+p.ending)...)
}
