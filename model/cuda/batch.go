package cuda

import (
	"cmp"
	"slices"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// batch is some units of a plan, laid out in host memory as a card reads it.
type batch struct {
	m *Model

	ids, types, pos []int32 // of each row
	first, until    []int32 // of each row: of its sequence
	reads, readPos  []int32 // of each read token
	meanFirst       []int32
	meanUntil       []int32
	tasks           []kernel.Task
	readTasks       []kernel.Task
	reach           []int32 // of each row: see [nn.Network.Reach]
	outputs         []int32 // of each read token the row of the plan's outputs that it is
}

func (b *batch) reset() {
	*b = batch{m: b.m, ids: b.ids[:0], types: b.types[:0], pos: b.pos[:0], first: b.first[:0],
		until: b.until[:0],
		reads: b.reads[:0], readPos: b.readPos[:0], meanFirst: b.meanFirst[:0], meanUntil: b.meanUntil[:0],
		tasks: b.tasks[:0], readTasks: b.readTasks[:0], reach: b.reach[:0], outputs: b.outputs[:0]}
}

// span is a run of rows: a prefix, or what follows one.
type span struct {
	row, n         int32
	prefix, shared int32 // row and length of the prefix; 0 without one
}

// add lays out a unit.
func (b *batch) add(p *plan.Plan, u plan.Unit, seqs []plan.Sequence) {
	var prefix span
	if u.Prefix > 0 {
		i := p.Unique[u.Lo]
		prefix = b.span(p.IDs[i][:u.Prefix], nil, p.Reach[i], 0, 0)
	}
	for i := u.Lo; i < u.Hi; i++ {
		seq := p.Unique[i]
		ids, s := p.IDs[seq], &seqs[seq]
		own := span{row: int32(len(b.ids)), prefix: prefix.row, shared: u.Prefix}
		if len(ids) > int(u.Prefix) { // or the prefix is the sequence
			own = b.span(ids[u.Prefix:], s.Types, p.Reach[seq], prefix.row, u.Prefix)
		}
		for j := range s.Rows() {
			if at := s.Row(j); at < u.Prefix {
				b.read(prefix, at, p.Rows[i]+int32(j))
			} else {
				b.read(own, at-u.Prefix, p.Rows[i]+int32(j))
			}
		}
	}
}

// span appends tokens behind a prefix.
func (b *batch) span(ids, types []int32, reach, prefix, shared int32) span {
	s := span{row: int32(len(b.ids)), n: int32(len(ids)), prefix: prefix, shared: shared}
	b.ids = append(b.ids, ids...)
	n := b.m.net
	next := n.First + shared
	for i, id := range ids {
		t := int32(0)
		if types != nil {
			t = types[i]
		}
		b.types, b.reach = append(b.types, t), append(b.reach, reach)
		b.first, b.until = append(b.first, s.row), append(b.until, s.row+s.n)
		if n.First > 0 && id == n.Uncounted {
			b.pos = append(b.pos, n.Uncounted)
			continue
		}
		b.pos = append(b.pos, next)
		next++
	}
	for at := int32(0); at < s.n; at += kernel.TaskQueries {
		b.tasks = append(b.tasks, s.task(s.row+at, at, min(kernel.TaskQueries, s.n-at), n.Causal))
	}
	return s
}

// task is that of n queries from token at of the span on, which lie from a row on.
func (s *span) task(row, at, n int32, causal bool) kernel.Task {
	t := kernel.Task{Row: row, N: n, At: s.shared + at, Prefix: s.prefix, Shared: s.shared,
		Own: s.row, Keys: s.shared + s.n}
	if causal {
		t.Keys = t.At + n
	}
	return t
}

// read adds token at of a span to those that are read.
func (b *batch) read(s span, at, output int32) {
	row, i := s.row+at, int32(len(b.reads))
	b.reads, b.readPos = append(b.reads, row), append(b.readPos, b.pos[row])
	b.meanFirst, b.meanUntil = append(b.meanFirst, s.row), append(b.meanUntil, s.row+s.n)
	b.outputs = append(b.outputs, output)
	if n := len(b.readTasks); n > 0 && b.reads[max(i-1, 0)] == row-1 {
		if t := &b.readTasks[n-1]; t.Own == s.row && t.N < kernel.TaskQueries {
			t.N++
			if b.m.net.Causal {
				t.Keys++
			}
			return
		}
	}
	b.readTasks = append(b.readTasks, s.task(i, at, 1, b.m.net.Causal))
}

// write lays the batch out for its class, in ints, which have room, and returns how many there are.
func (b *batch) write(c *class, to []int32) int {
	// The longest first, so that no multiprocessor ends with one.
	longest := func(x, y kernel.Task) int { return cmp.Compare(y.Keys, x.Keys) }
	slices.SortStableFunc(b.tasks, longest)
	slices.SortStableFunc(b.readTasks, longest)
	clear(to[:b.m.header])
	to[headerRows], to[headerReads] = int32(len(b.ids)), int32(len(b.reads))
	to[headerTasks+int32(all)], to[headerTasks+int32(read)] = int32(len(b.tasks)), int32(len(b.readTasks))
	put := func(s section, v []int32) { copy(to[c.at[s]:], v) }
	put(secIDs, b.ids)
	put(secPos, b.pos)
	put(secReads, b.reads)
	put(secReadPos, b.readPos)
	if b.m.net.Types > 0 {
		put(secTypes, b.types)
	}
	if b.m.around {
		put(secFirst, b.first)
		put(secUntil, b.until)
	}
	if b.m.net.Each != nil {
		put(secMeanFirst, b.meanFirst)
		put(secMeanUntil, b.meanUntil)
	}
	putTasks(to[c.at[secTasks]:], b.tasks)
	putTasks(to[c.at[secReadTasks]:], b.readTasks)
	for i, r := range b.m.net.Stretched {
		b.turns(to[c.at[secTurns]+i*(c.rows+c.reads):], c.rows, r)
	}
	return c.at[secTasks] + taskInts*len(b.tasks)
}

// turns writes the rows of a rotary embedding's tables, those of read tokens behind those of rows
// rows: those of long sequences lie
// behind those of positions.
func (b *batch) turns(to []int32, rows int, r *nn.Rope) {
	row := func(i int32) int32 {
		switch {
		case r.Reach(int(b.reach[i])) == 0:
			return b.pos[i]
		case r.Long == nil:
			return int32(b.m.positions()) + i
		}
		return int32(b.m.positions()) + b.pos[i]
	}
	for i := range b.ids {
		to[i] = row(int32(i))
	}
	for i, x := range b.reads {
		to[rows+i] = row(x)
	}
}

func putTasks(to []int32, tasks []kernel.Task) {
	for i, t := range tasks {
		copy(to[i*taskInts:], []int32{t.Row, t.N, t.At, t.Prefix, t.Shared, t.Own, t.Keys, 0})
	}
}
