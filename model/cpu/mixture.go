package cpu

import (
	"math"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// mixture is an [nn.Mixture] with its weights.
type mixture struct {
	*nn.Mixture
	router  *linear
	experts []expert
	widest  int // the largest F
}

type expert struct {
	gated *gated
	down  *linear
}

// mixtureRows is how many rows of a stage are divided among experts at a time: so
// many that each expert's products have enough of them.
const mixtureRows = 512

// routes say which rows go to which expert. Each row and expert that takes it is
// an entry; those of one expert lie one behind the other, in the order of the rows.
type routes struct {
	probs  []float32 // (m, E) with stride: the softmax of the router's logits, then the shared expert's sigmoid
	taken  []int32   // (m, taken) experts of each row, ascending
	shares []float32 // (m, taken) by which their outputs are multiplied
	at     []int32   // (m, taken) their entries

	rows    []int32   // of each entry
	weights []float32 // of each entry its share
	first   []int32   // of each expert the first entry, and behind the last their number
}

// reserve makes room for m rows.
func (r *routes) reserve(x *mixture, m int) {
	n := m * x.Taken()
	r.probs = grow(&r.probs, m*kernel.Stride(x.router.Out()))
	r.taken, r.shares = grow(&r.taken, n), grow(&r.shares, n)
	r.at, r.rows, r.weights = grow(&r.at, n), grow(&r.rows, n), grow(&r.weights, n)
	r.first = grow(&r.first, len(x.experts)+1)
}

// choose finds the experts of the rows [lo, hi) of x, which may be called for
// disjoint ranges at the same time.
func (x *mixture) choose(s *kernel.Scratch, r *routes, in []float32, ldx, lo, hi int) {
	n, taken, ld := x.Chosen(), x.Taken(), kernel.Stride(x.router.Out())
	x.router.forward(s, r.probs[lo*ld:], ld, in[lo*ldx:], ldx, hi-lo, kernel.Store)
	kernel.SoftmaxRows(r.probs[lo*ld:], ld, hi-lo, n, kernel.Span{Hi: n}, 1)
	for i := lo; i < hi; i++ {
		p, of, shares := r.probs[i*ld:], r.taken[i*taken:][:taken], r.shares[i*taken:][:taken]
		largest(of[:x.Top], p[:n])
		sum := float32(0)
		for j, e := range of[:x.Top] {
			shares[j] = p[e]
			sum += p[e]
		}
		for j := range shares[:x.Top] {
			if x.Normalized {
				shares[j] /= sum
			}
		}
		if x.Shared {
			p[n] = float32(1 / (1 + math.Exp(-float64(p[n]))))
			of[x.Top], shares[x.Top] = int32(n), p[n]
		}
	}
}

// largest writes the indices of the largest values to top, ascending; of equal
// values the first ones.
func largest(top []int32, p []float32) {
	n := 0
	for e, v := range p { // top[:n] are in descending order of their values
		j := n
		for ; j > 0 && v > p[top[j-1]]; j-- {
			if j < len(top) {
				top[j] = top[j-1]
			}
		}
		if j < len(top) {
			top[j] = int32(e)
			n = min(n+1, len(top))
		}
	}
	for i := 1; i < len(top); i++ {
		for j := i; j > 0 && top[j] < top[j-1]; j-- {
			top[j], top[j-1] = top[j-1], top[j]
		}
	}
}

// group lays out the entries of m rows by expert.
func (r *routes) group(x *mixture, m int) {
	n := x.Taken()
	clear(r.first)
	for _, e := range r.taken[:m*n] {
		r.first[e+1]++
	}
	for e := range x.experts {
		r.first[e+1] += r.first[e]
	}
	for i, e := range r.taken[:m*n] {
		p := r.first[e]
		r.at[i], r.rows[p], r.weights[p] = p, int32(i/n), r.shares[i]
		r.first[e]++
	}
	copy(r.first[1:], r.first) // each has become the next one's
	r.first[0] = 0
}

// mixing is the memory of a worker for mixtures.
type mixing struct {
	routes
	x, h, out []float32 // of a block of one expert's rows
}

// reserve makes room for blocks of rows, so that which worker meets one does not
// matter.
func (s *mixing) reserve(x *mixture) {
	ld := kernel.RowBlock * kernel.Stride(x.router.In)
	s.routes.reserve(x, mixtureRows)
	s.x, s.out = grow(&s.x, ld), grow(&s.out, ld)
	s.h = grow(&s.h, kernel.RowBlock*kernel.Stride(x.widest))
}

// forward adds to m rows of y what their experts make of x: to each row its
// experts' outputs in their order, so that its bits do not depend on other rows.
//
// Shapes: x and y are (m, C) with strides ldx and ldy; m ≤ mixtureRows.
func (x *mixture) forward(w *Scratch, y []float32, ldy int, in []float32, ldx, m int) {
	r, c := &w.mixing, x.router.In
	r.reserve(x)
	x.choose(&w.Gemm, &r.routes, in, ldx, 0, m)
	r.group(x, m)
	ldc := kernel.Stride(c)
	for e := range x.experts {
		f := &x.experts[e]
		ldh := kernel.Stride(f.gated.F)
		for lo, end := int(r.first[e]), int(r.first[e+1]); lo < end; lo += kernel.RowBlock {
			n := min(kernel.RowBlock, end-lo)
			r.gather(r.x, ldc, in, ldx, c, lo, lo+n)
			f.gated.forward(&w.Gemm, r.h, ldh, r.x, ldc, n)
			f.down.forward(&w.Gemm, r.out, ldc, r.h, ldh, n, kernel.Store)
			for i := range n {
				kernel.AddScaled(y[int(r.rows[lo+i])*ldy:][:c], r.weights[lo+i], r.out[i*ldc:][:c])
			}
		}
	}
}

// gather copies the rows of the entries [lo, hi), of c values each.
func (r *routes) gather(dst []float32, ldd int, src []float32, lds, c, lo, hi int) {
	for i, row := range r.rows[lo:hi] {
		copy(dst[i*ldd:][:c], src[int(row)*lds:])
	}
}
