package nn

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/warmserve/warmserve/model/kernel"
)

// ropeBlock is the number of positions whose tables are computed together.
const ropeBlock = 512

// Rope is the rotary position embedding of the first 2·len(InvFreq) elements of
// each head, in the half-split form. Tables are computed for blocks of positions
// when first needed and kept. Source: Su et al. 2021 (arXiv 2104.09864).
type Rope struct {
	InvFreq []float32 // radians per position, one for each rotated pair

	mu     sync.Mutex
	blocks []atomic.Pointer[ropeTable]
}

type ropeTable struct{ cos, sin []float32 } // (ropeBlock, len(InvFreq))

// NewRope returns the embedding for positions below maxPositions.
func NewRope(invFreq []float32, maxPositions int) *Rope {
	return &Rope{InvFreq: invFreq, blocks: make([]atomic.Pointer[ropeTable], (maxPositions+ropeBlock-1)/ropeBlock)}
}

// InvFreq returns theta^(-2i/d) for the d/2 pairs of d rotated elements.
func InvFreq(theta float64, d int) []float32 {
	f := make([]float32, d/2)
	for i := range f {
		f[i] = float32(1 / math.Pow(theta, float64(2*i)/float64(d)))
	}
	return f
}

// Llama3Frequencies rescales frequencies for a context factor times as long:
// waves longer than original/low are slowed by factor, those shorter than
// original/high are kept, and the rest is interpolated.
// Source: transformers modeling_rope_utils._compute_llama3_parameters.
func Llama3Frequencies(invFreq []float32, factor, low, high, original float64) {
	for i, f := range invFreq {
		wave := 2 * math.Pi / float64(f)
		switch {
		case wave > original/low:
			invFreq[i] = float32(float64(f) / factor)
		case wave >= original/high:
			smooth := (original/wave - low) / (high - low)
			invFreq[i] = float32((1-smooth)*float64(f)/factor + smooth*float64(f))
		}
	}
}

// tables returns cosine and sine of the angles from a position to the end of its
// block.
func (r *Rope) tables(pos int) (cos, sin []float32) {
	t := r.blocks[pos/ropeBlock].Load()
	if t == nil {
		t = r.compute(pos / ropeBlock)
	}
	i := pos % ropeBlock * len(r.InvFreq)
	return t.cos[i:], t.sin[i:]
}

func (r *Rope) compute(block int) *ropeTable {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.blocks[block].Load(); t != nil {
		return t
	}
	n := len(r.InvFreq)
	t := &ropeTable{make([]float32, ropeBlock*n), make([]float32, ropeBlock*n)}
	for i := range ropeBlock {
		for j, f := range r.InvFreq {
			// The product is rounded to float32 as the reference does.
			s, c := math.Sincos(float64(float32(block*ropeBlock+i) * f))
			t.cos[i*n+j], t.sin[i*n+j] = float32(c), float32(s)
		}
	}
	r.blocks[block].Store(t)
	return t
}

// Forward rotates the heads of m rows of x in place; pos are their positions.
//
// Shapes: x is (m, heads·d) with stride ldx.
func (r *Rope) Forward(x []float32, ldx, heads, d int, pos []int32) {
	if len(r.InvFreq) == 0 {
		return
	}
	for i := 0; i < len(pos); {
		m := r.run(pos[i:])
		cos, sin := r.tables(int(pos[i]))
		kernel.RotateRows(x[i*ldx:], ldx, m, heads, d, cos, sin, len(r.InvFreq), len(r.InvFreq))
		i += m
	}
}

// run returns how many of the positions follow each other in one block's tables.
func (r *Rope) run(pos []int32) int {
	n := 1
	for n < len(pos) && pos[n] == pos[n-1]+1 && pos[n]%ropeBlock != 0 {
		n++
	}
	return n
}
