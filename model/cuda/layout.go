package cuda

import (
	"fmt"
	"math"
	"os"

	kernels "github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// align is what addresses of weights in an image are multiples of.
const align = 256

// layout says where each weight of a network lies in an image, and in which form: matrices in the
// model's number format, everything else in float32.
type layout struct {
	net  *nn.Network
	bf16 bool // activations, and matrices that are not e4m3
	e4m3 bool // matrices that tensor cores multiply
	size int  // bytes of the image
	runs []run

	matrices map[*nn.Linear]matrix
	gates    map[*nn.Gated]matrix
	norms    map[nn.Norm]vectors
	tables   map[*nn.Embedding]int
	scores   map[*nn.ScoreHead]vectors

	normFolds map[*nn.RMSNorm]*fold
	foldOf    map[any]*fold       // of a linear or gated layer
	folded    map[*nn.Op][]*nn.Op // the products that read such a norm
	foldWidth int                 // of all of them
	ones      int                 // what such a norm multiplies by where it is one of rows

	params []nn.Param
	stores []store // of params
	folds  []func(image *sink)
	values [][]float32 // of the head's constants
}

// run is bytes of an image that belong together, in the order of the image.
type run struct{ at, size int }

// store puts rows of a parameter into an image.
type store func(image *sink, row int, values []float32)

// matrix is a weight of n rows of k values, without gaps, and its bias.
type matrix struct {
	at     int
	bias   int // -1 for none
	n, k   int
	wide   bool // float32 whatever the number format of the model
	e4m3   bool
	scales int // of rows of e4m3
	fold   *fold
}

// vectors are the weights of a norm or of a score head, float32.
type vectors struct {
	w int
	b int // -1 for none
}

// newLayout lays out the weights of a network in float32, bfloat16 or fp8.
func newLayout(n *nn.Network, d kernel.DType) (*layout, error) {
	if d != kernel.Float32 && d != kernel.BFloat16 && d != kernel.FP8 {
		return nil, fmt.Errorf("cuda: a card computes float32, bfloat16 and fp8, not %v", d)
	}
	l := &layout{net: n, bf16: d != kernel.Float32, e4m3: d == kernel.FP8, params: n.Params(),
		matrices: map[*nn.Linear]matrix{}, gates: map[*nn.Gated]matrix{}, norms: map[nn.Norm]vectors{},
		tables: map[*nn.Embedding]int{}, scores: map[*nn.ScoreHead]vectors{},
		normFolds: map[*nn.RMSNorm]*fold{}, foldOf: map[any]*fold{}, folded: map[*nn.Op][]*nn.Op{}}
	if d == kernel.BFloat16 && os.Getenv(FoldVariable) != "" {
		for _, b := range n.Blocks {
			l.findFolds(b)
		}
	}
	l.wideHeads()
	for _, b := range n.Blocks {
		if q, kv := qkv(b); q != nil {
			l.together(q.Linear, kv.Linear)
		}
	}
	n.Modules(func(names []string, m nn.Module) { l.module(m, len(m.Params(names))) })
	if len(l.stores) != len(l.params) {
		panic(fmt.Sprintf("cuda: %d places for %d parameters", len(l.stores), len(l.params)))
	}
	return l, nil
}

// element returns the bytes of a matrix's value.
func (l *layout) element(wide bool) int {
	if l.bf16 && !wide {
		return 2
	}
	return 4
}

// take reserves bytes.
func (l *layout) take(n int) int {
	at := (l.size + align - 1) / align * align
	l.size = at + n
	l.runs = append(l.runs, run{at, n})
	return at
}

// wideHeads places the layers of score heads, which work in float32.
func (l *layout) wideHeads() {
	if l.net.Head == nil {
		return
	}
	for _, b := range l.net.Head.Branches {
		if b.Program == nil {
			continue
		}
		for i := range b.Program.Ops {
			op := &b.Program.Ops[i]
			if op.Linear != nil {
				l.matrix(op.Linear, true)
			}
			if op.Gated != nil || op.Mixture != nil || op.Table != nil {
				panic("cuda: a layer that no score head has")
			}
		}
	}
}

// matrix places a linear layer, once.
func (l *layout) matrix(m *nn.Linear, wide bool) matrix {
	if out, ok := l.matrices[m]; ok {
		return out
	}
	out := matrix{n: m.Out(), k: m.In, wide: wide || m.Exact, fold: l.foldOf[m]}
	l.place(m.Bias, out.n%8 == 0, &out)
	l.matrices[m] = out
	return out
}

// place gives matrices of rows of one width places one behind the other, so that one product can be
// of all. Tensor cores can multiply them when as many results as each gives lie at multiples of
// eight.
func (l *layout) place(bias, eights bool, of ...*matrix) {
	n, e4m3 := 0, l.e4m3 && eights && !of[0].wide
	for _, m := range of {
		n += m.n
	}
	size, first := of[0].k*l.element(of[0].wide), matrix{bias: -1}
	if e4m3 {
		size = kernels.E4M3Width(of[0].k)
	}
	first.at = l.take(n * size)
	if bias {
		first.bias = l.take(4 * n)
	}
	if e4m3 {
		first.scales = l.take(4 * n)
	}
	at := 0
	for _, m := range of {
		m.at, m.bias, m.scales, m.e4m3 = first.at+at*size, -1, first.scales+4*at, e4m3
		if bias {
			m.bias = first.bias + 4*at
		}
		at += m.n
	}
}

// together places two linear layers one behind the other, so that one product can be of both.
func (l *layout) together(a, b *nn.Linear) {
	if _, ok := l.matrices[a]; ok {
		return
	}
	x, y := matrix{n: a.Out(), k: a.In, fold: l.foldOf[a]}, matrix{n: b.Out(), k: b.In, fold: l.foldOf[b]}
	l.place(a.Bias, x.n%8 == 0 && y.n%8 == 0, &x, &y)
	l.matrices[a], l.matrices[b] = x, y
}

// module places a layer and says where its n parameters go.
func (l *layout) module(m nn.Module, n int) {
	switch m := m.(type) {
	case *nn.Linear:
		l.linear(m, n)
	case *nn.Gated:
		l.gated(m, n)
	case *nn.FusedQKV:
		q, kv := l.matrix(&m.Q, false), l.matrix(&m.KV, false)
		of := func(x *nn.Linear) matrix {
			if x == &m.Q {
				return q
			}
			return kv
		}
		in := m.Q.In
		l.turned(m.Q.Transposed, m.Rows(), in, func(image *sink, row int, values []float32) {
			m.Runs(row, len(values)/in, func(x *nn.Linear, at, i, n int) {
				l.put(image, of(x), at, values[i*in:(i+n)*in])
			})
		})
		if m.Q.Bias {
			l.stores = append(l.stores, func(image *sink, row int, values []float32) {
				m.Runs(row, len(values), func(x *nn.Linear, at, i, n int) { image.put32(of(x).bias, at, values[i:i+n]) })
			})
		}
	case *nn.RMSNorm:
		v := vectors{w: l.take(4 * m.C), b: -1}
		l.norms[m] = v
		if f := l.normFolds[m]; f != nil {
			f.param = len(l.stores)
		}
		l.stores = append(l.stores, func(image *sink, row int, values []float32) {
			w := make([]float32, len(values))
			for i, x := range values {
				w[i] = m.Offset + x
			}
			image.put32(v.w, row, w)
		})
	case *nn.LayerNorm:
		v := vectors{w: l.take(4 * m.C), b: -1}
		l.vector(v.w)
		if !m.NoBias {
			v.b = l.take(4 * m.C)
			l.vector(v.b)
		}
		l.norms[m] = v
	case *nn.BatchNorm:
		l.batchNorm(m)
	case *nn.Embedding:
		table := matrix{at: l.take(m.V * m.C * l.element(false)), k: m.C}
		l.tables[m] = table.at
		l.stores = append(l.stores, func(image *sink, row int, values []float32) {
			l.put(image, table, row, values)
		})
	case *nn.ScoreHead:
		v := vectors{w: l.take(4 * m.N * m.C), b: -1}
		l.stores = append(l.stores, func(image *sink, row int, values []float32) {
			image.put32(v.w, row*m.C, values)
		})
		if m.Bias {
			v.b = l.take(4 * m.N)
			l.vector(v.b)
		}
		l.scores[m] = v
	case *nn.Constant:
		size := 1
		for _, d := range m.Shape {
			size *= d
		}
		v := make([]float32, size)
		l.values = append(l.values, v)
		l.stores = append(l.stores, func(_ *sink, row int, values []float32) {
			copy(v[row*(size/m.Shape[0]):], values)
		})
	default:
		panic(fmt.Sprintf("cuda: no weights for a layer of type %T", m))
	}
}

// vector adds a parameter that is a vector of float32.
func (l *layout) vector(at int) {
	l.stores = append(l.stores, func(image *sink, row int, values []float32) { image.put32(at, row, values) })
}

// linear adds the parameters of stacked tensors: a weight each, and a bias behind it.
func (l *layout) linear(m *nn.Linear, n int) {
	to, above := l.matrix(m, false), 0
	kinds := n / len(m.Outs)
	for _, rows := range m.Outs {
		first := above
		l.turned(m.Transposed, rows, m.In, func(image *sink, row int, values []float32) {
			l.put(image, to, first+row, values)
		})
		if kinds == 2 {
			l.stores = append(l.stores, func(image *sink, row int, values []float32) {
				image.put32(to.bias, first+row, values)
			})
		}
		above += rows
	}
}

// turned adds a weight of (n, in) values, which the checkpoint may have turned: then it comes as a
// whole.
func (l *layout) turned(transposed bool, n, in int, s store) {
	if transposed {
		inner := s
		s = func(image *sink, _ int, values []float32) {
			turned := make([]float32, len(values))
			kernel.Transpose(turned, in, values, n, in, n)
			inner(image, 0, turned)
		}
	}
	l.stores = append(l.stores, s)
}

// gateRows is how many rows of the gate stand before as many of the up projection.
const gateRows = 8

// gateRow returns where row r of the gate (half 0) or of the up projection (half 1) stands.
func gateRow(f, half, r int) int {
	g := r / gateRows * gateRows
	return 2*g + half*min(gateRows, f-g) + r - g
}

func (l *layout) gated(m *nn.Gated, n int) {
	to := matrix{n: 2 * m.F, k: m.In, fold: l.foldOf[m]}
	l.place(m.Bias, m.F%8 == 0, &to)
	l.gates[m] = to
	kinds := 1
	if m.Bias {
		kinds = 2
	}
	for i := range n {
		bias := i%kinds == 1
		l.stores = append(l.stores, func(image *sink, row int, values []float32) {
			width := m.In
			if bias {
				width = 1
			}
			for len(values) > 0 {
				half, r := i/kinds, row
				if m.Fused {
					half, r = row/m.F, row%m.F
				}
				n := min(gateRows-r%gateRows, m.F-r, len(values)/width) // that stand together
				if at := gateRow(m.F, half, r); bias {
					image.put32(to.bias, at, values[:n])
				} else {
					l.put(image, to, at, values[:n*width])
				}
				row, values = row+n, values[n*width:]
			}
		})
	}
}

// batchNorm makes a factor and an addend for each column of the four parameters.
func (l *layout) batchNorm(m *nn.BatchNorm) {
	v := vectors{w: l.take(4 * m.C), b: l.take(4 * m.C)}
	l.norms[m] = v
	var raw [4][]float32 // weight, bias, mean, variance
	for i := range raw {
		raw[i] = make([]float32, m.C)
		l.stores = append(l.stores, func(_ *sink, row int, values []float32) { copy(raw[i][row:], values) })
	}
	l.folds = append(l.folds, func(image *sink) {
		factor, addend := make([]float32, m.C), make([]float32, m.C)
		for i := range m.C {
			w := float64(raw[0][i]) / math.Sqrt(float64(raw[3][i])+float64(m.Eps))
			factor[i], addend[i] = float32(w), float32(float64(raw[1][i])-float64(raw[2][i])*w)
		}
		image.put32(v.w, 0, factor)
		image.put32(v.b, 0, addend)
	})
}

// qkv returns the linear layers that make a block's queries and its keys and values, where both
// read the same rows and can be one product; else nil.
func qkv(p *nn.Program) (q, kv *nn.Op) {
	at := p.Attends()
	if at < 0 {
		return nil, nil
	}
	by := map[nn.Value]*nn.Op{}
	for i := range p.Ops {
		by[p.Ops[i].Out] = &p.Ops[i]
	}
	root := func(v nn.Value) *nn.Op {
		for op := by[v]; op != nil; op = by[op.X] {
			switch {
			case op.Kind == nn.Multiply && op.Act == nn.None && !op.Linear.Exact:
				return op
			case op.Kind != nn.Rotate && (op.Kind != nn.Normalize || op.Heads == 0):
				return nil
			}
		}
		return nil
	}
	input := func(op *nn.Op) nn.Value {
		v := op.X
		for by[v] != nil && by[v].Kind == nn.Wanted {
			v = by[v].X
		}
		return v
	}
	q, kv = root(p.Ops[at].X), root(p.Ops[at].Y)
	if q == nil || kv == nil || input(q) != input(kv) || q.Linear.Bias != kv.Linear.Bias {
		return nil, nil
	}
	return q, kv
}
