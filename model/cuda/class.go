package cuda

import (
	"encoding/binary"
	"unsafe"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// The header of a batch: how many rows there are of each kind, and tasks of attention, and then how
// many rows each expert has and where they begin.
const (
	headerRows   = int32(all)
	headerReads  = int32(read)
	headerTasks  = 2 // one number for each kind of rows
	headerCounts = 4
)

// class is a size of batches: how many rows and read tokens there are at most. All batches of a class
// are one recorded list of launches, whose kernels read from the header how much there is to do.
type class struct {
	m           *Model
	rows, reads int

	at    [sections]int // offsets in the batch, in int32
	size  int           // of the batch, in int32
	graph Graph
}

// section is a part of a batch in device memory.
type section int

const (
	secHeader    section = iota
	secIDs               // of each row the token
	secTypes             // of each row the token's type
	secPos               // of each row the position
	secReads             // of each read token the row
	secReadPos           // of each read token the position
	secFirst             // of each row the first of its sequence
	secUntil             // of each row the one behind its sequence
	secMeanFirst         // of each read token the first row of its sequence
	secMeanUntil         // of each read token the row behind its sequence
	secReadTasks         // of attention, of the read tokens
	secTurns             // of each row, then of each read token, the row of its rotations, by embedding with two tables
	secTasks             // of attention, of all rows: the last, as it has most room and little in it
	sections
)

const taskInts = int(unsafe.Sizeof(kernel.Task{})) / 4

// newClass lays out the batches of a class.
func newClass(m *Model, rows, reads int) *class {
	c := &class{m: m, rows: rows, reads: reads}
	n := [sections]int{secHeader: m.header, secIDs: rows, secPos: rows, secReads: reads, secReadPos: reads,
		secTasks: taskInts * rows, secReadTasks: taskInts * reads}
	if m.net.Types > 0 {
		n[secTypes] = rows
	}
	if m.around {
		n[secFirst], n[secUntil] = rows, rows
	}
	if m.net.Each != nil {
		n[secMeanFirst], n[secMeanUntil] = reads, reads
	}
	n[secTurns] = len(m.net.Stretched) * (rows + reads)
	for s, n := range n {
		c.at[s] = c.size
		c.size += (n + 3) &^ 3 // sections begin at multiples of 16 bytes
	}
	return c
}

// ptr is the address of a section.
func (c *class) ptr(s section) Ptr { return c.m.batch + Ptr(4*c.at[s]) }

func (c *class) header() Ptr { return c.m.batch }

// count is how many rows of a kind there are at most.
func (c *class) count(k kind) int {
	if k == read {
		return c.reads
	}
	return c.rows
}

// numbers is where the numbers lie that tables are looked up by.
func (c *class) numbers(of nn.Numbers) Ptr {
	return c.ptr([...]section{nn.Tokens: secIDs, nn.Types: secTypes, nn.Positions: secPos}[of])
}

// turns is where the rows of rotations lie, of a rotary embedding with two tables or of any other.
func (c *class) turns(stretched int, k kind) Ptr {
	switch {
	case stretched >= 0:
		at := stretched * (c.rows + c.reads)
		if k == read {
			at += c.rows
		}
		return c.ptr(secTurns) + Ptr(4*at)
	case k == read:
		return c.ptr(secReadPos)
	}
	return c.ptr(secPos)
}

// tasks says where the header has the number of tasks of rows of a kind, where they lie and how many
// there are about at most.
func (c *class) tasks(k kind) (at int32, tasks Ptr, most int) {
	if k == read {
		return headerTasks + int32(read), c.ptr(secReadTasks), c.reads
	}
	return headerTasks + int32(all), c.ptr(secTasks), (c.rows+kernel.TaskQueries-1)/kernel.TaskQueries + 8
}

// grid is how many blocks run a kernel that takes a row in a block at a time.
func (c *class) grid(k *kernel.Kernel, rows int) int { return c.blocks(k, rows) }

// blocks is how many blocks run a kernel that has so much to do.
func (c *class) blocks(k *kernel.Kernel, n int) int {
	n = min((n+k.Cluster-1)/k.Cluster, c.m.limits.SMs*k.Blocks/k.Cluster)
	return max(n, 1) * k.Cluster
}

// launch runs steps.
func (c *class) launch(steps []step) error {
	for _, s := range steps {
		x, err := s(c)
		if err != nil {
			return err
		}
		if err := c.m.dev.Launch(x.kernel, x.grid, x.args); err != nil {
			return err
		}
	}
	return nil
}

// int32s returns the bytes of numbers.
func int32s(v []int32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return b
}
