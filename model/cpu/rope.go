package cpu

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// ropeBlock is the number of positions whose tables are computed together.
const ropeBlock = 512

// rope is a rotary position embedding with its tables, which are computed for
// blocks of positions when first needed and kept.
type rope struct {
	*nn.Rope

	mu     sync.Mutex
	blocks []atomic.Pointer[ropeTable]
}

func newRope(r *nn.Rope) *rope {
	return &rope{Rope: r, blocks: make([]atomic.Pointer[ropeTable], (r.MaxPositions+ropeBlock-1)/ropeBlock)}
}

type ropeTable struct{ cos, sin []float32 } // (ropeBlock, len(InvFreq))

// tables returns cosine and sine of the angles from a position to the end of its
// block.
func (r *rope) tables(pos int) (cos, sin []float32) {
	t := r.blocks[pos/ropeBlock].Load()
	if t == nil {
		t = r.compute(pos / ropeBlock)
	}
	i := pos % ropeBlock * len(r.InvFreq)
	return t.cos[i:], t.sin[i:]
}

func (r *rope) compute(block int) *ropeTable {
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

// forward rotates the heads of m rows of x in place; pos are their positions.
//
// Shapes: x is (m, heads·d) with stride ldx.
func (r *rope) forward(x []float32, ldx, heads, d int, pos []int32) {
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
func (r *rope) run(pos []int32) int {
	n := 1
	for n < len(pos) && pos[n] == pos[n-1]+1 && pos[n]%ropeBlock != 0 {
		n++
	}
	return n
}
