package cpu

import (
	"sync"
	"sync/atomic"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// ropeBlock is the number of positions whose tables are computed together.
const ropeBlock = 512

// rope is a rotary position embedding with its tables, which are computed for
// blocks of positions when first needed and kept. Those of frequencies that follow
// the length are computed for the rows at hand.
type rope struct {
	*nn.Rope

	mu    sync.Mutex
	fixed []atomic.Pointer[ropeTable] // by position, of InvFreq
	long  []atomic.Pointer[ropeTable] // of Long, if there is one
}

func newRope(r *nn.Rope) *rope {
	out, blocks := &rope{Rope: r}, (r.MaxPositions+ropeBlock-1)/ropeBlock
	out.fixed = make([]atomic.Pointer[ropeTable], blocks)
	if r.Long != nil {
		out.long = make([]atomic.Pointer[ropeTable], blocks)
	}
	return out
}

type ropeTable struct{ cos, sin []float32 } // (ropeBlock, len(InvFreq))

// tables returns cosine and sine of the angles of m positions that follow each
// other within a block, of a sequence of a reach. s has room for them.
func (r *rope) tables(s *Scratch, pos, m int, reach int32) (cos, sin []float32) {
	n := len(r.InvFreq)
	freq := r.Fixed(reach)
	if freq == nil {
		room := s.Rows(tableRoom(r.Rope, m))
		r.Following(room[:n], int(reach))
		t := ropeTable{room[n:][:m*n], room[n+m*n:][:m*n]}
		r.fill(&t, pos, m, room[:n])
		return t.cos, t.sin
	}
	blocks := r.fixed
	if r.Reach(int(reach)) != 0 {
		blocks = r.long
	}
	t := blocks[pos/ropeBlock].Load()
	if t == nil {
		t = r.compute(&blocks[pos/ropeBlock], pos/ropeBlock, freq)
	}
	i := pos % ropeBlock * n
	return t.cos[i:], t.sin[i:]
}

// tableRoom returns how many values the frequencies and tables of m positions take.
func tableRoom(r *nn.Rope, m int) int { return (2*m + 1) * len(r.InvFreq) }

func (r *rope) compute(at *atomic.Pointer[ropeTable], block int, freq []float32) *ropeTable {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := at.Load(); t != nil {
		return t
	}
	n := len(freq)
	t := &ropeTable{make([]float32, ropeBlock*n), make([]float32, ropeBlock*n)}
	r.fill(t, block*ropeBlock, ropeBlock, freq)
	at.Store(t)
	return t
}

// fill computes the tables of m positions.
func (r *rope) fill(t *ropeTable, pos, m int, freq []float32) {
	n := len(freq)
	for i := range m {
		for j, f := range freq {
			t.cos[i*n+j], t.sin[i*n+j] = r.Turn(f, pos+i)
		}
	}
}

// forward rotates the heads of the rows of x in place.
//
// Shapes: x is (len(at.pos), heads·d) with stride ldx.
func (r *rope) forward(s *Scratch, x []float32, ldx, heads, d int, at positions) {
	r.rotate(s, x, ldx, heads, d, at, false)
}

// backward turns the gradient of rotated heads into that of the heads before, as forward turns
// those: the rotation by the opposite angle.
func (r *rope) backward(s *Scratch, dx []float32, lddx, heads, d int, at positions) {
	r.rotate(s, dx, lddx, heads, d, at, true)
}

func (r *rope) rotate(s *Scratch, x []float32, ldx, heads, d int, at positions, back bool) {
	n := len(r.InvFreq)
	if n == 0 {
		return
	}
	var opposite []float32
	for i := 0; i < len(at.pos); {
		m := at.run(i)
		cos, sin := r.tables(s, int(at.pos[i]), m, at.reach[i])
		if back {
			opposite = opposite[:0]
			for _, s := range sin[:m*n] {
				opposite = append(opposite, -s)
			}
			sin = opposite
		}
		kernel.RotateRows(x[i*ldx:], ldx, m, heads, d, cos, sin, n, n)
		i += m
	}
}

// positions are those of some rows in their sequences.
type positions struct {
	pos   []int32
	reach []int32 // of the sequence: see [nn.Rope.Reach]
}

// slice returns the rows [lo, hi).
func (p positions) slice(lo, hi int) positions { return positions{p.pos[lo:hi], p.reach[lo:hi]} }

// add appends n positions of one sequence from one on.
func (p *positions) add(pos, n int, reach int32) {
	for i := range n {
		p.pos, p.reach = append(p.pos, int32(pos+i)), append(p.reach, reach)
	}
}

// copy appends a row of another list.
func (p *positions) copy(from positions, row int) {
	p.pos, p.reach = append(p.pos, from.pos[row]), append(p.reach, from.reach[row])
}

// reserve returns no rows, with room for n.
func (p positions) reserve(n int) positions { return positions{reserve(p.pos, n), reserve(p.reach, n)} }

// reset forgets all rows.
func (p *positions) reset() { p.pos, p.reach = p.pos[:0], p.reach[:0] }

// run returns how many rows from one on follow each other in one block's tables.
func (p positions) run(from int) int {
	n := from + 1
	for n < len(p.pos) && p.pos[n] == p.pos[n-1]+1 && p.pos[n]%ropeBlock != 0 && p.reach[n] == p.reach[n-1] {
		n++
	}
	return n - from
}
