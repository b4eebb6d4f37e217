package ptx

import (
	"fmt"
	"sort"
)

// memory is global memory. Each two bytes know who wrote and who read them
// last: a unit, which is a block of a launch, or the host.
type memory struct {
	allocs []*alloc // by address
	last   *alloc
	next   uint64
	inUse  int
	// Units of a launch are base+1 and on; base itself stands for several blocks.
	base, unit uint32
}

const (
	hostUnit  = 1
	pageBytes = 4096
)

type alloc struct {
	base  uint64
	data  []byte
	freed bool
	pages []*page // made when touched
}

type page [pageBytes / 2]cell

// cell is who wrote two bytes, 0 for nobody, and who read them since. Of accesses
// by warps it also has the time, which counts inside their block: of reads the
// last alone.
type cell struct {
	w, r       uint32
	wrote, saw epoch
}

// launch opens a launch of so many blocks.
func (m *memory) launch(blocks int) {
	m.base = m.unit + 1
	m.unit = m.base + uint32(blocks)
}

// Alloc returns the address of n bytes that nobody has written.
func (m *Machine) Alloc(n int) uint64 {
	a := &alloc{base: m.mem.next, data: make([]byte, n), pages: make([]*page, (n+pageBytes-1)/pageBytes)}
	fill(a.data)
	m.mem.next += uint64(up(n, 256)) + 4096
	m.mem.allocs = append(m.mem.allocs, a)
	m.mem.inUse += n
	return a.base
}

// Free ends an allocation; touching it from then on is an error.
func (m *Machine) Free(p uint64) error {
	a := m.mem.find(p)
	if a == nil || a.base != p || a.freed {
		return fmt.Errorf("ptx: free of %#x, which is no allocation", p)
	}
	a.freed = true
	m.mem.inUse -= len(a.data)
	a.data, a.pages = nil, nil
	return nil
}

// Write copies bytes to the card.
func (m *Machine) Write(p uint64, b []byte) error {
	a, err := m.mem.span(p, len(b))
	if err != nil {
		return fmt.Errorf("ptx: write: %w", err)
	}
	copy(a.data[p-a.base:], b)
	for i := int(p-a.base) / 2; i < (int(p-a.base)+len(b)+1)/2; i++ {
		*a.cell(i) = cell{w: hostUnit}
	}
	return nil
}

// Launched takes n bytes at p, which were written, for the work of a launch.
func (m *Machine) Launched(p uint64, n int) {
	a, err := m.mem.span(p, n)
	if err != nil {
		panic(err)
	}
	m.mem.launch(1)
	for i := int(p-a.base) / 2; i < (int(p-a.base)+n+1)/2; i++ {
		*a.cell(i) = cell{w: m.mem.base + 1}
	}
}

// Read copies bytes from the card. What was never written reads as 0xff.
func (m *Machine) Read(b []byte, p uint64) error {
	a, err := m.mem.span(p, len(b))
	if err != nil {
		return fmt.Errorf("ptx: read: %w", err)
	}
	copy(b, a.data[p-a.base:])
	return nil
}

// Written tells whether all of n bytes were ever written.
func (m *Machine) Written(p uint64, n int) bool {
	a, err := m.mem.span(p, n)
	if err != nil {
		return false
	}
	for i := int(p-a.base) / 2; i < (int(p-a.base)+n+1)/2; i++ {
		if a.cell(i).w == 0 {
			return false
		}
	}
	return true
}

func (a *alloc) cell(i int) *cell {
	p := &a.pages[i/len(page{})]
	if *p == nil {
		*p = new(page)
	}
	return &(*p)[i%len(page{})]
}

// find is the allocation that an address may lie in: the last that starts at or below it.
func (m *memory) find(p uint64) *alloc {
	if l := m.last; l != nil && p >= l.base && p-l.base < uint64(len(l.data)) {
		return l
	}
	i := sort.Search(len(m.allocs), func(i int) bool { return m.allocs[i].base > p })
	if i == 0 {
		return nil
	}
	m.last = m.allocs[i-1]
	return m.last
}

// span is the allocation that holds n bytes at p.
func (m *memory) span(p uint64, n int) (*alloc, error) {
	a := m.find(p)
	switch {
	case a == nil:
		return nil, fmt.Errorf("address %#x is outside of memory", p)
	case a.freed:
		return nil, fmt.Errorf("address %#x lies in memory that was freed", p)
	case p-a.base+uint64(n) > uint64(len(a.data)):
		return nil, fmt.Errorf("%d bytes at %#x go past an allocation: %d bytes at %#x", n, p, len(a.data), a.base)
	}
	return a, nil
}

// global is an access of a lane, or of the copy engine for a warp (l < 0).
func (w *warp) global(p uint64, n, l int, write bool) []byte {
	m := &w.block.cluster.m.mem
	a, err := m.span(p, n)
	if err != nil {
		w.fault("%s: %v", who(l), err)
	}
	unit, base := m.base+1+uint32(w.block.id), m.base
	early := !w.waited && (w.block.kernel.waits || w.block.cluster.m.Early)
	if early && write {
		w.fault("%s: writes global memory before griddepcontrol.wait", who(l))
	}
	from, now := int(p-a.base), epoch(0)
	if l >= 0 {
		now = w.epoch()
	}
	for i := from / 2; i < (from+n+1)/2; i++ {
		c := a.cell(i)
		if c.w != unit && c.w > base {
			w.fault("%s: race: global memory at %#x is also written by block %d", who(l), p, c.w-base-1)
		}
		if write {
			if c.r != unit && c.r >= base {
				w.fault("%s: race: writes global memory at %#x, which %s reads", who(l), p, readerName(c.r, base))
			}
			if c.w == unit && !w.ordered(c.wrote, now) || c.r == unit && !w.ordered(c.saw, now) {
				w.fault("%s: race: writes global memory at %#x, which another warp of the block touches with no barrier between them",
					who(l), p)
			}
			*c = cell{w: unit, wrote: now}
			continue
		}
		if c.w == 0 && l >= 0 {
			w.fault("%s: reads global memory at %#x that was never written", who(l), p)
		}
		if early && c.w > hostUnit {
			w.fault("%s: reads what the launch before wrote at %#x before griddepcontrol.wait", who(l), p)
		}
		if c.w == unit && !w.ordered(c.wrote, now) {
			w.fault("%s: race: reads global memory at %#x, which another warp of the block writes with no barrier between them",
				who(l), p)
		}
		switch {
		case c.r < base:
			c.r, c.saw = unit, now
		case c.r != unit:
			c.r = base
		default:
			c.saw = now
		}
	}
	return a.data[from:]
}

// ordered tells whether an access of a warp of the block at an epoch lies before
// one that is made now. The copy engine, which has no time here, is not held to it.
func (w *warp) ordered(e, now epoch) bool {
	return e == now || now == 0 || e>>agentShift == now>>agentShift || w.clock.knows(e)
}

// atomic is an access of a reduction: blocks may meet in it, but for those that
// read or store plainly.
func (w *warp) atomic(acc access, p uint64) []byte {
	a, err := w.block.cluster.m.mem.span(p, acc.size)
	if err != nil {
		w.fault("%v", err)
	}
	c := a.cell(int(p-a.base) / 2)
	if c.w == 0 {
		w.fault("adds to global memory at %#x that was never written", p)
	}
	return a.data[p-a.base:]
}

func who(l int) string {
	if l < 0 {
		return "the copy engine"
	}
	return fmt.Sprintf("lane %d", l)
}

func readerName(r, base uint32) string {
	if r == base {
		return "more than one block"
	}
	return fmt.Sprintf("block %d", r-base-1)
}
