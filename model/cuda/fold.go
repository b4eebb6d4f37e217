package cuda

import (
	"slices"
	"sync"

	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	numbers "github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// FoldVariable names the environment variable that has products do RMSNorm: experimental, of Hopper and
// bfloat16. The server that packs weights and the workers of its cards must see the same.
const FoldVariable = "WARM_CUDA_FOLD"

// normed ends the names of products that divide rows, or leave sums of squares.
const normed = "_normed"

// sumsOf is how many columns each sum of squares is of that products leave.
const sumsOf = 32

// fold is a norm whose weights are multiplied into those of the products that read its results, when
// they are packed. What is left of it, a factor for each row, products apply to their results, where
// they can, and so spare a pass over the activations.
type fold struct {
	norm  *nn.RMSNorm
	param int       // which of the network's parameters
	w     []float32 // of the norm, with its offset
}

// findFolds finds the norms of blocks whose results products of tensor cores read, and nothing else.
func (l *layout) findFolds(p *nn.Program) {
	for i := range p.Ops {
		op := &p.Ops[i]
		n, ok := op.Norm.(*nn.RMSNorm)
		if op.Kind != nn.Normalize || !ok || op.Heads > 0 || n.C%(4*sumsOf) != 0 ||
			l.foldWidth != 0 && l.foldWidth != n.C {
			continue
		}
		products, ok := productsOf(p, op.Out)
		if !ok {
			continue
		}
		f := l.normFolds[n]
		if f == nil {
			f = &fold{norm: n}
			l.normFolds[n] = f
		}
		l.folded[op] = products
		if l.foldWidth == 0 {
			l.foldWidth, l.ones = n.C, l.take(4*n.C)
			l.folds = append(l.folds, func(image *sink) { image.put32(l.ones, 0, slices.Repeat([]float32{1}, n.C)) })
		}
		for _, r := range products {
			if r.Linear != nil {
				l.foldOf[r.Linear] = f
			} else {
				l.foldOf[r.Gated] = f
			}
		}
	}
}

// productsOf are the products that read a value, or the wanted rows of it; ok is that nothing else
// does, and that tensor cores can multiply them.
func productsOf(p *nn.Program, v nn.Value) (all []*nn.Op, ok bool) {
	for i := range p.Ops {
		r := &p.Ops[i]
		switch {
		case r.X != v && r.Y != v:
		case r.Kind == nn.Wanted:
			more, ok := productsOf(p, r.Out)
			if !ok {
				return nil, false
			}
			all = append(all, more...)
		case r.Kind == nn.Multiply && !r.Linear.Exact && r.Linear.Out()%8 == 0,
			r.Kind == nn.MultiplyGated && r.Gated.F%8 == 0:
			all = append(all, r)
		default:
			return nil, false
		}
	}
	return all, v != p.Out && len(all) > 0
}

// divides says whether all products that read a folded norm's results divide rows themselves: gates,
// and those of heads. Before others the norm is one of rows, without weights.
func (r *program) divides(op *nn.Op) bool {
	products := r.m.layout.folded[op]
	for _, p := range products {
		if p.Kind != nn.MultiplyGated && (r.heads == nil || p != r.q && p != r.kv) {
			return false
		}
	}
	return len(products) > 0 && r.hopper()
}

// readFolds reads the weights of norms that are multiplied into others.
func (l *layout) readFolds(src binding.Source, name func(string) string) error {
	for _, f := range l.normFolds {
		p := &l.params[f.param]
		f.w = make([]float32, f.norm.C)
		if err := binding.ReadRows(src, f.w, name(p.Name), p, 0); err != nil {
			return err
		}
		for i := range f.w {
			f.w[i] += f.norm.Offset
		}
	}
	return nil
}

// products is memory for a row that was multiplied.
var products = sync.Pool{New: func() any { return new([]float32) }}

// round writes rows of a weight, multiplied by the norm's, as bfloat16.
func (f *fold) round(to []uint16, rows []float32) {
	n := len(f.w)
	row := products.Get().(*[]float32)
	defer products.Put(row)
	if len(*row) < n {
		*row = make([]float32, n)
	}
	for ; len(rows) > 0; to, rows = to[n:], rows[n:] {
		for i, w := range f.w {
			(*row)[i] = rows[i] * w
		}
		numbers.RoundBF16(to[:n], (*row)[:n])
	}
}

// normalized is a value as what products normalise: the same rows.
func (r *program) normalized(op *nn.Op, x place) place {
	x.normed, x.eps = true, op.Norm.(*nn.RMSNorm).Eps
	x.slot.users++
	return x
}

// sums is where the sums of squares of a place's rows lie, of which the device has one place for each
// kind of rows: those of a product's results, which left them there, or made now.
func (l *lowering) sums(x place) Ptr {
	at := l.sumsOf(x)
	if l.summed[x.kind] != x.stamp || x.stamp == 0 {
		l.summed[x.kind] = x.stamp
		k := l.kernel("squares_f32")
		a := kernel.Rows{Y: at, X: l.ptr(x), N: int32(x.width), LDX: l.ld(x), LDY: int32(x.width / sumsOf),
			At: x.header()}
		l.steps = append(l.steps, func(c *class) (launch, error) {
			a := a
			a.Header = c.header()
			return launch{k, c.grid(k, c.count(x.kind)), kernel.Bytes(a)}, nil
		})
	}
	return at
}

func (l *lowering) sumsOf(x place) Ptr {
	if l.squares[x.kind] == 0 {
		l.squares[x.kind] = l.take(4 * x.width / sumsOf * l.m.rows)
	}
	return l.squares[x.kind]
}

// leaves says that a product leaves the sums of squares of its results, where blocks have norms that
// read them.
func (l *lowering) leaves(p *operands, c *place) {
	if l.m.layout.foldWidth != c.width || p.From >= 0 {
		return
	}
	p.Scales, p.ending = l.sumsOf(*c), normed
	l.stamps++
	c.stamp = l.stamps
	l.summed[c.kind] = c.stamp
}
