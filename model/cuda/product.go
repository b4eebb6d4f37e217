package cuda

import (
	"math"
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

// product is a step of c = act(a·Wᵀ + bias) + add. It returns c, with what it knows of it.
func (l *lowering) product(w matrix, act nn.Activation, c, a place, add *place, rows part) place {
	p := l.operands(w, c, a, rows)
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
		l.productStep(p, kernel.Table[name])
	case !l.hopper():
		l.productStep(p, kernel.Table["product_mma"+p.ending])
	case add != nil:
		l.leaves(&p, &c)
		l.productStep(p, kernel.Tiles("wgmma_residual"+p.ending)...)
	default:
		l.productStep(p, kernel.Tiles("wgmma_store"+p.ending)...)
	}
	return c
}

// gated is a step of the first half of a gated feed-forward layer.
func (l *lowering) gated(g *nn.Gated, c, a place, rows part) {
	w := l.m.layout.gates[g]
	p := l.operands(w, c, a, rows)
	p.Act = int32(g.Act)
	switch {
	case !w.e4m3 && !l.tensor(c, w.n/2, w.k):
		name := "gated_f32"
		if l.suffix(c) == "_bf16" {
			name = "gated_bf16_simt"
		}
		l.productStep(p, kernel.Table[name])
	case !l.hopper():
		l.productStep(p, kernel.Table["gated_mma"+p.ending])
	default:
		l.productStep(p, kernel.Tiles("wgmma_gated"+p.ending)...)
	}
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
	ending    string                            // of the names of kernels
}

// operands makes e4m3 of the rows first where the weight is that, unless they are.
func (l *lowering) operands(w matrix, c, a place, rows part) operands {
	if w.e4m3 && !a.e4m3 {
		a = l.quantize(a, rows)
		a.slot.users-- // the product's, and free behind it
	}
	p := operands{c: c, a: a, ending: w.numbers(), Product: kernel.Product{A: l.ptr(a), W: l.m.weight(w.at),
		C: l.ptr(c), At: rows.at, From: rows.from,
		N: int32(w.n), K: int32(w.k), LDA: l.ld(a), LDC: l.ld(c)}}
	if w.e4m3 {
		p.K, p.Scales = int32(kernel.E4M3Width(w.k)/2), l.m.weight(w.scales)
	}
	if a.normed {
		p.Scales, p.Floor, p.ending = l.sums(a), a.eps, normed
	}
	if w.bias >= 0 {
		p.Bias = l.m.weight(w.bias)
	}
	return p
}

// productStep is a step of one of several kernels, by the batch's size.
func (l *lowering) productStep(p operands, kernels ...*kernel.Kernel) {
	var variants []variant
	for _, k := range kernels {
		v := variant{k, p.Product}
		if strings.HasPrefix(k.Name, "wgmma_") {
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
	v.args.AMap = l.tensorMap(p.A, p.a.slot.rows, int(p.K), int(p.LDA), k.TileM)
	v.args.WMap = l.tensorMap(p.W, int(p.N), int(p.K), int(p.K), k.TileN/k.Cluster)
	v.args.CMap = l.tensorMap(p.C, p.c.slot.rows, cols, int(p.LDC), k.Box)
	if p.R != 0 {
		v.args.RMap = l.tensorMap(p.R, p.add.slot.rows, cols, int(p.LDR), k.Box)
	}
}

// cost is what a tile takes on a multiprocessor, in microseconds: 1024 values of K, its beginning and
// what becomes of its results, and before the first.
type cost struct{ k, ends, before float64 }

// costs are fitted to TestTimesOfTiles of package kernel, and, where the card's power is the limit, to
// TestProfileByKernel, on an H100.
var costs = map[string]cost{"256x2": {9, 3.5, 1}, "256x1": {9.05, 3.7, 0}, "192x1": {6.75, 3.5, 0},
	"p128x1": {4.6, 1.6, 2.7}, "128x1": {4.4, 3, 0}, "64x1": {3.2, 2.1, 0}, "n128": {2.9, 3, 0},
	"n64": {2.5, 2, 0}, "n32": {2.3, 2.2, 0}}

// cacheRate is how many bytes a microsecond the cache gives all multiprocessors: no more were seen on an
// H100. Tiles of 128 columns on all of them can take more.
const cacheRate = 12.5e6

// choose returns the kernel that is likely to be the first to end a product of m rows on so many
// multiprocessors, each of which takes tile after tile, from a cache that all share. All give the same bits.
func choose(of []variant, m, n, k, sms int) variant {
	best, least := of[0], math.Inf(1)
	for _, v := range of {
		x := v.kernel
		rows, c := x.TileM*x.Cluster, costs[x.Name[strings.LastIndexByte(x.Name, '_')+1:]]
		tiles, at := (m+rows-1)/rows*((n+x.TileN-1)/x.TileN), max(1, sms/x.Cluster)
		computes := c.before + float64((tiles+at-1)/at)*(c.ends+c.k*float64(k)/1024)
		loads := float64(tiles) * float64(rows+x.TileN) * float64(2*k) / cacheRate
		if t := max(computes, loads); t < least {
			best, least = v, t
		}
	}
	return best
}

// score is a step of n outputs of each row, in float32 without gaps.
func (l *lowering) score(y Ptr, w vectors, n, c int, x place) {
	k := l.kernel("score" + l.suffix(x))
	a := kernel.Score{Y: y, X: l.ptr(x), W: l.m.weight(w.w), At: x.header(), C: int32(c), N: int32(n),
		LDX: l.ld(x)}
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
