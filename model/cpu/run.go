package cpu

import (
	"slices"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/par"
	"github.com/warmserve/warmserve/model/plan"
)

// run carries one chunk at a time through a model, alone or with a team.
type run struct {
	team    *par.Team // nil: alone
	workers []worker
	stage   stage

	ids, types     []int32
	pos            positions
	spans          []Span
	queries        []Query // every token of every span
	last           []Query // the scored tokens alone
	scored         []scored
	reading        reading
	groups         [][2]int // of the stage's queries: neighbours behind one prefix
	x, q, kv, attn []float32
	near           []float32
	lastX          []float32
	lastPos        positions

	observe func(layer int, x []float32, ld int) // sees every token of every layer; nil
}

// scored is a token whose outputs are wanted.
type scored struct {
	span, at int32 // token at of the span
	row      int32 // of the outputs: see plan.Plan
}

// reserve makes room for chunks of so many tokens, sequences and read tokens.
func (r *run) reserve(m *Model, tokens, unique, read, longest int) {
	spans := 2 * unique // a prefix and the rest at most
	r.ids, r.types, r.pos = reserve(r.ids, tokens), reserve(r.types, tokens), r.pos.reserve(tokens)
	r.spans, r.queries = reserve(r.spans, spans), reserve(r.queries, spans)
	r.groups = reserve(r.groups, max(spans, read))
	r.last, r.scored, r.lastPos = reserve(r.last, read), reserve(r.scored, read), r.lastPos.reserve(read)
	a := m.Net.Attention(0)
	q := kernel.Stride(a.H * a.D)
	grow(&r.x, tokens*kernel.Stride(m.Net.Hidden))
	grow(&r.q, max(tokens, read)*q)
	grow(&r.attn, max(tokens, read)*q)
	grow(&r.kv, tokens*kernel.Stride(2*a.K*a.D))
	grow(&r.lastX, read*kernel.Stride(m.Net.Hidden))
	for _, b := range m.schedules {
		if op := b.around; op != nil {
			grow(&r.near, tokens*kernel.Stride(op.Kernel*m.Net.Hidden))
		}
	}
	for i := range r.workers {
		w := &r.workers[i]
		w.Reserve(m.schedules[0].attention, longest)
		for _, p := range m.Net.Stretched {
			w.Rows(tableRoom(p, kernel.RowBlock))
		}
		for _, b := range m.schedules {
			w.reserve(b.rest)
		}
	}
}

func reserve[T any](s []T, n int) []T { return slices.Grow(s[:0], n) }

func newRun(team *par.Team) *run {
	return &run{team: team, workers: make([]worker, team.Size())}
}

// stage is a part of a layer, divided among the workers by rows or by heads.
type stage struct {
	run   *run
	block *schedule
	steps []step // nil for the block's attention

	x, q, kv, attn []float32
	near           []float32
	ldx, ldq, ldkv int // attn has the stride of q
	ldnear         int
	ids, types     []int32
	pos            positions
	queries        []Query
}

// Do computes rows [lo, hi), or for attention pairs of query and key head.
func (s *stage) Do(id, lo, hi int) {
	w := &s.run.workers[id]
	if s.steps == nil {
		a := s.block.attention
		for i := lo; i < hi; i++ {
			g := s.run.groups[i/a.K]
			a.forward(&w.Scratch, s.attn, s.ldq, s.q, s.ldq, s.kv, s.kv[a.K*a.D:], s.ldkv,
				s.run.spans, s.queries[g[0]:g[1]], i%a.K)
		}
		return
	}
	block := blockRows(s.steps)
	n := (hi - lo + block - 1) / block
	for b := range n { // blocks of equal size
		r := s.rows(w, lo+(hi-lo)*b/n, lo+(hi-lo)*(b+1)/n)
		r.block = block
		r.run(s.steps)
	}
}

// rows returns the rows [lo, hi) of the stage.
func (s *stage) rows(w *worker, lo, hi int) rowsOf {
	r := rowsOf{w: w, ldx: s.ldx, ldq: s.ldq, ldkv: s.ldkv, m: hi - lo, block: kernel.RowBlock,
		x: s.x[lo*s.ldx:], pos: s.pos.slice(lo, hi)}
	if s.ids != nil {
		r.ids, r.types = s.ids[lo:hi], s.types[lo:hi]
	}
	if s.q != nil {
		r.q, r.attn = s.q[lo*s.ldq:], s.attn[lo*s.ldq:]
	}
	if s.kv != nil {
		r.kv = s.kv[lo*s.ldkv:]
	}
	if s.near != nil {
		r.near, r.ldnear = s.near[lo*s.ldnear:], s.ldnear
	}
	return r
}

// rowGrain is the number of rows that a worker of a team takes at a time.
const rowGrain = 28

// each runs steps on n rows.
func (s *stage) each(steps []step, n int) {
	s.steps = steps
	// A balanced share for each worker, in pieces so that a slow one is helped.
	t := s.run.team.Size()
	if blockRows(steps) > kernel.RowBlock { // all rows at once for a worker: fewer would pass by as many weights
		s.run.team.Run(n, (n+t-1)/t, s)
		return
	}
	s.run.team.Run(n, max((n+2*t-1)/(2*t), min(rowGrain, (n+t-1)/t)), s)
}

// attend computes the attention of queries.
func (s *stage) attend(queries []Query) {
	s.steps, s.queries = nil, queries
	heads := s.block.attention.K
	s.run.team.Run(s.run.group(queries, heads)*heads, 1, s)
}

// gather lays out the neighbours of all rows, where the block reads them.
func (s *stage) gather(n, width int) {
	s.near = nil
	op := s.block.around
	if op == nil {
		return
	}
	s.ldnear = kernel.Stride(op.Kernel * width)
	s.near = grow(&s.run.near, n*s.ldnear)
	neighbours(s.near, s.ldnear, s.x, s.ldx, width, op.Kernel, s.pos.pos, 0, n)
}

// begin prepares the stage for a batch of the loaded tokens.
func (r *run) begin(m *Model) *stage {
	a := m.Net.Attention(0)
	n := len(r.ids)
	s := &r.stage
	*s = stage{run: r, pos: r.pos, ldx: kernel.Stride(m.Net.Hidden),
		ldq: kernel.Stride(a.H * a.D), ldkv: kernel.Stride(2 * a.K * a.D)}
	s.x = grow(&r.x, n*s.ldx)
	return s
}

// forward computes the outputs of a chunk's read tokens into output.
func (r *run) forward(m *Model, p *plan.Plan, c plan.Chunk, seqs []Sequence, output []float32) {
	r.load(m, p, c, seqs)
	n := len(r.ids)
	s := r.begin(m)
	r.embed(m)
	rows := max(n, len(r.scored)) // a token may be read for several sequences
	q, attn := grow(&r.q, rows*s.ldq), grow(&r.attn, rows*s.ldq)
	kv := grow(&r.kv, n*s.ldkv)
	for l, b := range m.schedules {
		s.block, s.q, s.kv, s.attn = b, q, kv, attn
		if l == len(m.schedules)-1 && r.observe == nil && m.each == nil {
			r.lastLayer(s, n)
			break
		}
		s.each(b.both, n)
		s.attend(r.queries)
		s.gather(n, m.Net.Hidden)
		s.each(b.rest, n)
		if r.observe != nil {
			r.observe(l, s.x, s.ldx)
		}
	}
	if r.observe != nil {
		readers := m.features
		if m.each != nil {
			readers = m.each
		}
		ld := kernel.Stride(m.Net.Hidden)
		all := make([]float32, n*ld)
		for lo := 0; lo < n; lo += kernel.RowBlock {
			hi := min(lo+kernel.RowBlock, n)
			x, ldx := s.read(readers, &r.workers[0], lo, hi)
			for i := range hi - lo {
				copy(all[(lo+i)*ld:][:m.Net.Hidden], x[i*ldx:])
			}
		}
		r.observe(len(m.schedules), all, ld)
		return
	}
	if m.each != nil {
		r.average(m, s)
	}
	r.reading = reading{r, m, output}
	t := r.team.Size()
	r.team.Run(len(r.scored), max((len(r.scored)+t-1)/t, min(rowGrain, len(r.scored))), &r.reading)
	r.reading = reading{}
	s.block = nil // a run that waits for its next chunk must not hold a model that was replaced
	s.steps = nil
}

// reading is the task of reading the scored tokens, which are the rows of the stage.
type reading struct {
	r      *run
	m      *Model
	output []float32
}

// Do reads the scored tokens [lo, hi), a block of them at a time.
func (t *reading) Do(id, lo, hi int) {
	h, w := t.m.head, &t.r.workers[id]
	for lo < hi {
		n := min(kernel.RowBlock, hi-lo)
		x, ldx := t.r.stage.read(t.m.features, w, lo, lo+n)
		out := grow(&w.outputs, n*h.outputs)
		h.read(w, out, x, ldx, n)
		for i := range n {
			copy(t.output[int(t.r.scored[lo+i].row)*h.outputs:], out[i*h.outputs:][:h.outputs])
		}
		lo += n
	}
}

// States carries one sequence through all layers, every token through all of
// them, and calls observe with the output of each block, in order, and at last, as
// one block more, with what a head reads of each token, or averages: rows x of stride ld, valid
// until it returns.
func (m *Model) States(ids, types []int32, observe func(layer int, x []float32, ld int)) {
	r := newRun(nil)
	r.observe = observe
	var p plan.Plan
	s := []Sequence{whole(ids)}
	s[0].Types = types
	p.Make(s, m.Net, 1)
	r.forward(m, &p, p.Chunks[0], s, nil)
}

// embed writes the input of the first block.
func (r *run) embed(m *Model) {
	s := &r.stage
	s.ids, s.types = r.ids, r.types
	for lo := 0; lo < len(r.ids); lo += kernel.RowBlock {
		rows := s.rows(&r.workers[0], lo, min(lo+kernel.RowBlock, len(r.ids)))
		rows.run(m.embed.rest)
	}
	s.ids, s.types = nil, nil
}

// read runs a program without attention on the rows [lo, hi), up to
// kernel.RowBlock, and returns its result and its stride. It may overwrite the rows.
func (s *stage) read(p *schedule, w *worker, lo, hi int) ([]float32, int) {
	r := rowsOf{w: w, x: s.x[lo*s.ldx:], ldx: s.ldx, m: hi - lo, block: kernel.RowBlock}
	r.run(p.rest)
	return r.at(p.out)
}

// lastLayer computes keys and values of all n rows, and everything else of the
// scored ones, which become the rows of s.x.
func (r *run) lastLayer(s *stage, n int) {
	if s.block.around != nil {
		panic("cpu: the last block reads neighbours")
	}
	s.each(s.block.keys, n)
	x := grow(&r.lastX, len(r.scored)*s.ldx)
	r.lastPos.reset()
	for i, t := range r.scored {
		row := r.spans[t.span].Row + int(t.at)
		copy(x[i*s.ldx:], s.x[row*s.ldx:][:s.ldx])
		r.lastPos.copy(r.pos, row)
	}
	s.x, s.pos = x, r.lastPos
	// Keys and values are of all tokens, and what is read may be more: a prefix that
	// several sequences share is read for each.
	kv := s.kv
	s.kv = nil
	s.each(s.block.queries, len(r.scored))
	s.kv = kv
	s.attend(r.last)
	s.kv = nil
	s.each(s.block.rest, len(r.scored))
}

// average leaves the mean over each scored sequence's tokens, which become the
// rows of s.x. The tokens are added in their order.
func (r *run) average(m *Model, s *stage) {
	c := m.Net.Hidden
	x := grow(&r.lastX, len(r.scored)*s.ldx)
	for i, t := range r.scored {
		span, sum := r.spans[t.span], x[i*s.ldx:][:c]
		clear(sum)
		for lo := 0; lo < span.Len; lo += kernel.RowBlock {
			n := min(kernel.RowBlock, span.Len-lo)
			y, ldy := s.read(m.each, &r.workers[0], span.Row+lo, span.Row+lo+n)
			for j := range n {
				kernel.AddTo(sum, y[j*ldy:][:c])
			}
		}
		scale(sum, 1/float32(span.Len))
	}
	s.x = x
}

// group divides queries for attention, several behind the same prefix together,
// but not so many that a team has nothing to divide. It returns the number.
func (r *run) group(queries []Query, heads int) int {
	longest := max(1, len(queries)*heads/(4*r.team.Size()))
	r.groups = r.groups[:0]
	for i, q := range queries {
		if n := len(r.groups); n > 0 {
			g := &r.groups[n-1]
			p := r.spans[q.Span].Prefix
			if p >= 0 && p == r.spans[queries[i-1].Span].Prefix && i-g[0] < longest {
				g[1] = i + 1
				continue
			}
		}
		r.groups = append(r.groups, [2]int{i, i + 1})
	}
	return len(r.groups)
}

// load lays out a chunk's tokens, spans and scored tokens.
func (r *run) load(m *Model, p *plan.Plan, c plan.Chunk, seqs []Sequence) {
	r.ids, r.types = r.ids[:0], r.types[:0]
	r.pos.reset()
	r.spans, r.queries, r.last, r.scored = r.spans[:0], r.queries[:0], r.last[:0], r.scored[:0]
	for _, u := range p.Units[c.Lo:c.Hi] {
		prefix := -1
		if u.Prefix > 0 {
			prefix = len(r.spans)
			r.span(m, p.IDs[p.Unique[u.Lo]][:u.Prefix], nil, -1, 0, p.Reach[p.Unique[u.Lo]])
		}
		for i := u.Lo; i < u.Hi; i++ {
			seq := p.Unique[i]
			ids, s := p.IDs[seq], &seqs[seq]
			if len(ids) > int(u.Prefix) { // or the prefix is the sequence
				r.span(m, ids[u.Prefix:], s.Types, prefix, int(u.Prefix), p.Reach[seq])
			}
			r.read(s, u.Prefix, int32(len(ids)), int32(len(r.spans)-1), p.Rows[i])
		}
		for i := u.Lo; i < u.Hi && u.Prefix > 0; i++ { // behind those of the parts behind it, which attend together
			r.read(&seqs[p.Unique[i]], 0, u.Prefix, int32(prefix), p.Rows[i])
		}
	}
}

// read adds the read tokens of a sequence that lie in [lo, hi), which is a span.
func (r *run) read(s *Sequence, lo, hi, span, row int32) {
	for j := range s.Rows() {
		if at := s.Row(j); at >= lo && at < hi {
			r.score(span, at-lo, row+int32(j))
		}
	}
}

// span appends tokens that follow a prefix of pos tokens.
func (r *run) span(m *Model, ids, types []int32, prefix, pos int, reach int32) {
	row := len(r.ids)
	r.queries = append(r.queries, Query{Span: len(r.spans), Hi: len(ids), Row: row})
	r.spans = append(r.spans, Span{Row: row, Len: len(ids), Prefix: prefix, Pos: pos})
	r.ids = append(r.ids, ids...)
	r.pos = m.positions(r.pos, ids, pos, reach)
	for i := range ids {
		t := int32(0)
		if types != nil {
			t = types[i]
		}
		r.types = append(r.types, t)
	}
}

func (r *run) score(span, at, row int32) {
	if n := len(r.last); n > 0 && r.last[n-1].Span == int(span) && r.last[n-1].Hi == int(at) {
		r.last[n-1].Hi++
	} else {
		r.last = append(r.last, Query{Span: int(span), Lo: int(at), Hi: int(at) + 1, Row: len(r.scored)})
	}
	r.scored = append(r.scored, scored{span, at, row})
}
