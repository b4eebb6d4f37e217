package cuda

import (
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// part says which rows of a product's matrices it is of: where the batch's header has their number,
// and where the first; -1 for the first of all.
type part struct{ at, from int32 }

// rowsOf is all rows of a place.
func rowsOf(p place) part { return part{p.header(), -1} }

// hopper says whether the device has the copy engine and tensor cores of sm_90a.
func (l *lowering) hopper() bool { return l.m.limits.Capability/10 == 9 }

// tensor says whether tensor cores can multiply matrices of k and n columns.
func (l *lowering) tensor(p place, n, k int) bool {
	return l.suffix(p) == "_bf16" && l.m.limits.Capability >= 80 && n%8 == 0 && k%8 == 0
}

// multiply lowers a linear layer, or a block's queries, keys and values as one.
func (r *program) multiply(op *nn.Op) {
	x := r.at[op.X]
	if op == r.q || op == r.kv {
		r.multiplyHeads(op, x)
		return
	}
	w := r.m.layout.matrices[op.Linear]
	y := r.room(w.n, x.kind, r.wide)
	r.at[op.Out] = y
	r.product(w, op.Act, y, x, nil, rowsOf(y))
}

// multiplyHeads lowers the product of queries, keys and values when it meets the first of the two
// layers; the second has its columns already.
func (r *program) multiplyHeads(op *nn.Op, x place) {
	other := r.kv
	if op == r.kv {
		other = r.q
	}
	if r.at[op.Out].slot != nil {
		return
	}
	wq, wkv := r.m.layout.matrices[r.q.Linear], r.m.layout.matrices[r.kv.Linear]
	y := r.room(wq.n+wkv.n, x.kind, false)
	y.slot.users = 2
	q, kv := y, y
	q.width, kv.width, kv.col = wq.n, wkv.n, wq.n
	r.at[r.q.Out], r.at[r.kv.Out] = q, kv
	if r.last[other.Out] < 0 { // nobody reads it
		y.slot.users--
	}
	w := wq
	w.n += wkv.n
	if r.heads != nil {
		r.headsStep(w, y, x)
		return
	}
	r.product(w, nn.None, y, x, nil, rowsOf(y))
}

// product is a step of c = act(a·Wᵀ + bias) + add.
func (l *lowering) product(w matrix, act nn.Activation, c, a place, add *place, rows part) {
	p, numbers := l.operands(w, c, a, rows), w.numbers()
	p.Act = int32(act)
	if add != nil {
		p.add, p.R, p.LDR = *add, l.ptr(*add), l.ld(*add)
	}
	switch {
	case !w.e4m3 && !l.tensor(c, w.n, w.k):
		name := "product_f32"
		if l.suffix(c) == "_bf16" {
			name = "product_bf16_simt"
		}
		l.productStep(p, name)
	case !l.hopper():
		l.productStep(p, "product_mma"+numbers)
	case add != nil:
		l.productStep(p, tiles("wgmma_residual"+numbers)...)
	default:
		l.productStep(p, tiles("wgmma_store"+numbers)...)
	}
}

// gated is a step of the first half of a gated feed-forward layer.
func (l *lowering) gated(g *nn.Gated, c, a place, rows part) {
	w := l.m.layout.gates[g]
	p, numbers := l.operands(w, c, a, rows), w.numbers()
	p.Act = int32(g.Act)
	switch {
	case !w.e4m3 && !l.tensor(c, w.n/2, w.k):
		name := "gated_f32"
		if l.suffix(c) == "_bf16" {
			name = "gated_bf16_simt"
		}
		l.productStep(p, name)
	case !l.hopper():
		l.productStep(p, "gated_mma"+numbers)
	default:
		l.productStep(p, tiles("wgmma_gated"+numbers)...)
	}
}

// tiles are the kernels of a product by the shape of their tiles, all of which give the same bits.
func tiles(name string) (out []string) {
	for _, t := range []string{"_256x2", "_256x1", "_128x1", "_p128x1", "_64x1"} {
		if kernel.Table[name+t] != nil {
			out = append(out, name+t)
		}
	}
	return out
}

// variant is a kernel that could do a product, with its parameters.
type variant struct {
	kernel *kernel.Kernel
	args   kernel.Product
}

// operands are the parameters of a product with where its matrices lie.
type operands struct {
	kernel.Product
	c, a, add place
	of        func(c *class, a *kernel.Product) // sets what depends on the batch's class; may be nil
}

// operands makes e4m3 of the rows first where the weight is that, unless they are.
func (l *lowering) operands(w matrix, c, a place, rows part) operands {
	if w.e4m3 && !a.e4m3 {
		a = l.quantize(a, rows)
		a.slot.users-- // the product's, and free behind it
	}
	p := operands{c: c, a: a, Product: kernel.Product{A: l.ptr(a), W: l.m.weight(w.at), C: l.ptr(c), At: rows.at, From: rows.from,
		N: int32(w.n), K: int32(w.k), LDA: l.ld(a), LDC: l.ld(c)}}
	if w.e4m3 {
		p.K, p.Scales = int32(kernel.E4M3Width(w.k)/2), l.m.weight(w.scales)
	}
	if w.bias >= 0 {
		p.Bias = l.m.weight(w.bias)
	}
	return p
}

// productStep is a step of one of several kernels, by the batch's size.
func (l *lowering) productStep(p operands, names ...string) {
	var variants []variant
	for _, n := range names {
		v := variant{kernel.Table[n], p.Product}
		if v.kernel == nil {
			panic(fmt.Sprintf("cuda: no kernel %q", n))
		}
		if strings.HasPrefix(n, "wgmma_") {
			l.productMaps(&v, &p)
		}
		variants = append(variants, v)
	}
	n, of, experts := int(p.N), p.c, p.From >= 0
	l.steps = append(l.steps, func(b *class) (launch, error) {
		m := b.count(of.kind)
		if experts { // each has a share of them
			m = min(m, 512)
		}
		v := variants[0]
		if len(variants) > 1 {
			v = choose(variants, m, n, int(p.K), l.m.limits.SMs)
		}
		v.args.Header = b.header()
		if p.of != nil {
			p.of(b, &v.args)
		}
		k := v.kernel
		return launch{k, b.blocks(k, (m+k.TileM-1)/k.TileM*((n+k.TileN-1)/k.TileN)), kernel.Bytes(v.args)}, nil
	})
}

// productMaps gives a variant the maps of its matrices.
func (l *lowering) productMaps(v *variant, p *operands) {
	k, cols := v.kernel, int(p.N)
	if strings.HasPrefix(k.Name, "wgmma_gated") {
		cols /= 2
	}
	v.args.AMap = l.tensorMap(p.A, p.a.slot.rows, int(p.K), int(p.LDA), 128)
	v.args.WMap = l.tensorMap(p.W, int(p.N), int(p.K), int(p.K), k.TileN/k.Cluster)
	v.args.CMap = l.tensorMap(p.C, p.c.slot.rows, cols, int(p.LDC), k.Box)
	if p.R != 0 {
		v.args.RMap = l.tensorMap(p.R, p.add.slot.rows, cols, int(p.LDR), k.Box)
	}
}

// choose returns the kernel whose tiles suit a product of m rows on so many multiprocessors: the largest
// that keep them all busy. Where K is short, or gates follow, what becomes of a tile's results counts as
// much as making them: two halves of a block then take turns (p128x1). All give the same bits; what is
// best was measured on an H200.
func choose(of []variant, m, n, k, sms int) variant {
	by := map[string]variant{}
	for _, v := range of {
		by[v.kernel.Name[strings.LastIndexByte(v.kernel.Name, '_')+1:]] = v
	}
	gated := strings.HasPrefix(of[0].kernel.Name, "wgmma_gated")
	count := func(bn int) int { return (m + 127) / 128 * ((n + bn - 1) / bn) }
	order := []string{"128x1", "64x1", "256x1"}
	switch {
	case count(128) < sms*3/4 && !gated:
		order = []string{"64x1", "128x1"}
	case count(128) >= sms && (k <= 3072 || gated && m <= 512):
		order = []string{"p128x1", "128x1"}
	case m > 128 && count(256) >= 2*sms:
		order = []string{"256x2", "256x1"}
	case count(256) >= sms*2/3:
		order = []string{"256x1", "128x1"}
	}
	for _, o := range order {
		if v, ok := by[o]; ok {
			return v
		}
	}
	return of[0]
}

// score is a step of n outputs of each row, in float32 without gaps.
func (l *lowering) score(y Ptr, w vectors, n, c int, x place) {
	k := l.kernel("score" + l.suffix(x))
	a := kernel.Score{Y: y, X: l.ptr(x), W: l.m.weight(w.w), At: x.header(), C: int32(c), N: int32(n), LDX: l.ld(x)}
	if w.b >= 0 {
		a.B = l.m.weight(w.b)
	}
	rows := x.kind
	l.steps = append(l.steps, func(b *class) (launch, error) {
		a := a
		a.Header = b.header()
		return launch{k, b.grid(k, b.count(rows)), kernel.Bytes(a)}, nil
	})
}
