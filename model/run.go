package model

import (
	"slices"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/par"
)

// run carries one chunk at a time through a model, alone or with a team.
type run struct {
	team    *par.Team // nil: alone
	workers []worker
	stage   stage

	ids, types, pos []int32
	spans           []nn.Span
	queries         []nn.Query // every token of every span
	last            []nn.Query // the scored tokens alone
	scored          []scored
	groups          [][2]int // of the stage's queries: neighbours behind one prefix
	x, q, kv, attn  []float32
	lastX           []float32
	lastPos         []int32

	observe func(layer int, x []float32, ld int) // tests: sees every token of every layer
}

// scored is a token whose reward is wanted.
type scored struct {
	span, at int32 // token at of the span
	unique   int32 // index of the sequence in plan.unique
}

// reserve makes room for chunks of so many tokens and sequences.
func (r *run) reserve(m *Model, tokens, unique, longest int) {
	spans := 2 * unique // a prefix and the rest at most
	r.ids, r.types, r.pos = reserve(r.ids, tokens), reserve(r.types, tokens), reserve(r.pos, tokens)
	r.spans, r.queries, r.groups = reserve(r.spans, spans), reserve(r.queries, spans), reserve(r.groups, spans)
	r.last, r.scored, r.lastPos = reserve(r.last, unique), reserve(r.scored, unique), reserve(r.lastPos, unique)
	c := m.Config
	q := kernel.Stride(c.Heads * c.HeadDim)
	grow(&r.x, tokens*kernel.Stride(c.Hidden))
	grow(&r.q, tokens*q)
	grow(&r.attn, tokens*q)
	grow(&r.kv, tokens*kernel.Stride(2*c.KVHeads*c.HeadDim))
	grow(&r.lastX, unique*kernel.Stride(c.Hidden))
	for i := range r.workers {
		r.workers[i].Reserve(m.blocks[0].attention(), longest)
	}
}

func reserve[T any](s []T, n int) []T { return slices.Grow(s[:0], n) }

func newRun(team *par.Team) *run {
	return &run{team: team, workers: make([]worker, team.Size())}
}

// stage is a part of a layer, divided among the workers by rows or by heads.
type stage struct {
	run *run
	op  op
	blk block

	x, q, kv, attn []float32
	ldx, ldq, ldkv int // attn has the stride of q
	pos            []int32
	queries        []nn.Query
}

type op uint8

const (
	project op = iota
	attend
	mix
)

// Do computes rows [lo, hi), or for attend pairs of query and key head.
func (s *stage) Do(id, lo, hi int) {
	w := &s.run.workers[id]
	if s.op == attend {
		a := s.blk.attention()
		for i := lo; i < hi; i++ {
			g := s.run.groups[i/a.K]
			a.Forward(&w.Scratch, s.attn, s.ldq, s.q, s.ldq, s.kv, s.kv[a.K*a.D:], s.ldkv, s.run.spans, s.queries[g[0]:g[1]], i%a.K)
		}
		return
	}
	n := (hi - lo + kernel.RowBlock - 1) / kernel.RowBlock
	for b := range n { // blocks of equal size
		l, h := lo+(hi-lo)*b/n, lo+(hi-lo)*(b+1)/n
		if s.op == project {
			s.blk.project(w, s, l, h)
		} else {
			s.blk.mix(w, s, l, h)
		}
	}
}

// rowGrain is the number of rows that a worker of a team takes at a time.
const rowGrain = 28

func (s *stage) run1(o op, n int) {
	s.op = o
	grain := 1
	if o != attend {
		// A balanced share for each worker, in pieces so that a slow one is helped.
		t := s.run.team.Size()
		grain = max((n+2*t-1)/(2*t), min(rowGrain, (n+t-1)/t))
	}
	s.run.team.Run(n, grain, s)
}

// forward computes the rewards of a chunk into scores.
func (r *run) forward(m *Model, p *plan, c chunk, seqs []Sequence, scores []float32) {
	r.load(p, c, seqs)
	c0 := m.Config
	n := len(r.ids)
	s := &r.stage
	*s = stage{run: r, pos: r.pos, queries: r.queries, ldx: kernel.Stride(c0.Hidden),
		ldq: kernel.Stride(c0.Heads * c0.HeadDim), ldkv: kernel.Stride(2 * c0.KVHeads * c0.HeadDim)}
	s.x = grow(&r.x, n*s.ldx)
	q, attn := grow(&r.q, n*s.ldq), grow(&r.attn, n*s.ldq)
	kv := grow(&r.kv, n*s.ldkv)
	for i, id := range r.ids {
		m.net.embed(&r.workers[0], s.x[i*s.ldx:][:c0.Hidden], id, r.types[i], r.pos[i])
	}
	blocks := m.blocks
	for l, b := range blocks {
		s.blk, s.q, s.kv, s.attn = b, q, kv, attn
		if l == len(blocks)-1 && r.observe == nil {
			r.lastLayer(s, n)
			break
		}
		s.run1(project, n)
		s.run1(attend, r.group(r.queries, c0.KVHeads)*c0.KVHeads)
		s.run1(mix, n)
		if r.observe != nil {
			r.observe(l, s.x, s.ldx)
		}
	}
	for i, t := range r.scored {
		row := i
		if r.observe != nil {
			row = r.spans[t.span].Row + int(t.at)
		}
		scores[t.unique] = m.net.score(&r.workers[0], s.x[row*s.ldx:][:c0.Hidden])
	}
	s.blk = nil // a run that waits for its next chunk must not hold a model that was replaced
}

// lastLayer computes keys and values of all n rows, and everything else of the
// scored ones, which become the rows of s.x.
func (r *run) lastLayer(s *stage, n int) {
	q := s.q
	s.q = nil
	s.run1(project, n)

	kv := s.kv
	x := grow(&r.lastX, len(r.scored)*s.ldx)
	r.lastPos = r.lastPos[:0]
	for i, t := range r.scored {
		row := r.spans[t.span].Row + int(t.at)
		copy(x[i*s.ldx:], s.x[row*s.ldx:][:s.ldx])
		r.lastPos = append(r.lastPos, r.pos[row])
	}
	s.x, s.pos, s.q, s.kv = x, r.lastPos, q, nil
	s.run1(project, len(r.scored))
	s.kv, s.queries = kv, r.last
	heads := s.blk.attention().K
	s.run1(attend, r.group(r.last, heads)*heads)
	s.run1(mix, len(r.scored))
}

// group divides queries for attention, several behind the same prefix together,
// but not so many that a team has nothing to divide. It returns the number.
func (r *run) group(queries []nn.Query, heads int) int {
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
func (r *run) load(p *plan, c chunk, seqs []Sequence) {
	r.ids, r.types, r.pos = r.ids[:0], r.types[:0], r.pos[:0]
	r.spans, r.queries, r.last, r.scored = r.spans[:0], r.queries[:0], r.last[:0], r.scored[:0]
	for _, u := range p.units[c.lo:c.hi] {
		prefix := -1
		if u.prefix > 0 {
			prefix = len(r.spans)
			r.span(p.ids[p.unique[u.lo]][:u.prefix], nil, -1, 0)
		}
		for i := u.lo; i < u.hi; i++ {
			seq := p.unique[i]
			ids, s := p.ids[seq], seqs[seq]
			at := int32(s.At)
			if len(ids) == int(u.prefix) { // the prefix is the sequence
				r.score(int32(prefix), at, i)
				continue
			}
			r.span(ids[u.prefix:], s.Types, prefix, int(u.prefix))
			r.score(int32(len(r.spans)-1), at-u.prefix, i)
		}
	}
}

// span appends tokens that follow a prefix of pos tokens.
func (r *run) span(ids, types []int32, prefix, pos int) {
	row := len(r.ids)
	r.queries = append(r.queries, nn.Query{Span: len(r.spans), Hi: len(ids), Row: row})
	r.spans = append(r.spans, nn.Span{Row: row, Len: len(ids), Prefix: prefix, Pos: pos})
	r.ids = append(r.ids, ids...)
	for i := range ids {
		r.pos = append(r.pos, int32(pos+i))
		t := int32(0)
		if types != nil {
			t = types[i]
		}
		r.types = append(r.types, t)
	}
}

func (r *run) score(span, at, unique int32) {
	i := len(r.scored)
	r.last = append(r.last, nn.Query{Span: int(span), Lo: int(at), Hi: int(at) + 1, Row: i})
	r.scored = append(r.scored, scored{span, at, unique})
}
