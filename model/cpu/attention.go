package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Span is a run of neighbouring rows of a packed batch: a whole sequence, or
// the part of one that follows a prefix it shares with others.
type Span struct {
	Row, Len int // rows [Row, Row+Len)
	Prefix   int // index of the span that comes before, -1 for none
	Pos      int // position of the first row in its sequence: where the prefix ends
}

// Query is the part of a span whose attention is wanted.
type Query struct {
	Span   int
	Lo, Hi int // tokens of the span, from its start
	Row    int // row of the first in the query and output buffers
}

// attention is an [nn.Attention] in a number format.
type attention struct {
	*nn.Attention
	// bf16 multiplies in bfloat16 where the processor does that itself: for
	// models whose weights are not float32. Softmax stays float32.
	bf16 bool

	relative *relative // nil for nothing
}

// attention returns an attention with what it computes from weights.
func (w *weights) attention(a *nn.Attention) *attention {
	return &attention{Attention: a, relative: w.relative(a)}
}

// Scratch is the memory of one worker.
type Scratch struct {
	Gemm kernel.Scratch

	keys, values, scores, out []float32
	lowKeys, lowValues        []uint32 // instead of keys and values, in pairs

	near   near
	mixing mixing
	learn  learning // these two are empty in a worker that serves
	rows   []float32
}

// Reserve makes room for sequences of up to n tokens, so that which worker meets
// the longest does not matter.
func (s *Scratch) Reserve(a *attention, n int) {
	if a.low() {
		grow(&s.lowKeys, kernel.Pad(n)*((a.D+1)/2))
		grow(&s.lowValues, kernel.Pad(a.D)*((n+1)/2))
		s.Gemm.Reserve(kernel.BFloat16, max(n, a.D))
	} else {
		grow(&s.keys, kernel.Pad(n)*a.D)
		grow(&s.values, kernel.Pad(a.D)*n)
		s.Gemm.Reserve(kernel.Float32, max(n, a.D))
	}
	grow(&s.scores, max(scoreBudget, 14*kernel.Stride(n)))
	grow(&s.out, kernel.RowBlock*kernel.Pad(a.D))
	if r := a.relative; r != nil {
		grow(&s.near.rows, 2*n-1)
		grow(&s.near.byKey, n*kernel.Stride(r.Table.V))
		grow(&s.near.byQry, kernel.RowBlock*kernel.Stride(r.Table.V))
	}
}

// scoreBudget is the number of scores kept at a time, 192 KB of a core's L2.
const scoreBudget = 48 << 10

// forward computes one key/value head for some queries: all query heads that
// share it. Queries whose spans follow the same prefix, one behind the other,
// have the prefix's keys and values laid out once.
//
// Shapes: q and out are (rows, H·D) with strides ldq and ldo; k and v are
// (T, K·D) with stride ldk. Writes out. The bits of a row depend on its own
// sequence alone, however that is divided into spans and queries.
func (a *attention) forward(s *Scratch, out []float32, ldo int, q []float32, ldq int, k, v []float32,
	ldk int, spans []Span, queries []Query, head int) {
	l := layout{a: a, k: k[head*a.D:], v: v[head*a.D:], ldk: ldk, spans: spans}
	longest := 0
	for _, q := range queries {
		first, end := a.panels(spans[q.Span], q)
		longest = max(longest, end-first)
	}
	if l.low = a.low(); l.low {
		l.kp, l.vp = (a.D+1)/2*kernel.NR, (longest+1)/2*kernel.NR
		l.lowKeys = grow(&s.lowKeys, kernel.Pad(longest)*((a.D+1)/2))
		l.lowValues = grow(&s.lowValues, kernel.Pad(a.D)*((longest+1)/2))
	} else {
		l.kp, l.vp = a.D*kernel.NR, longest*kernel.NR
		l.keys = grow(&s.keys, kernel.Pad(longest)*a.D)
		l.values = grow(&s.values, kernel.Pad(a.D)*longest)
	}
	prefix := -1 // the span whose keys and values lie at the front
	for _, query := range queries {
		sp := spans[query.Span]
		l.first, l.end = a.panels(sp, query)
		l.pack(sp, prefix)
		if a.relative != nil {
			a.relative.begin(s, l.k[sp.Row*ldk:], ldk, sp.Len, head)
		}
		prefix = -1
		if a.Window == 0 {
			prefix = sp.Prefix
		}
		for g := range a.H / a.K {
			a.attend(s, &l, out, ldo, q, ldq, sp, query, (head*(a.H/a.K)+g)*a.D)
		}
	}
}

// visible returns the positions [first, end) in its sequence that some token of a query sees.
func (a *attention) visible(sp Span, q Query) (first, end int) {
	end = sp.Pos + sp.Len
	if a.Causal {
		end = sp.Pos + q.Hi
	}
	if a.Window > 0 {
		first = max(0, sp.Pos+q.Lo-a.Window+1)
	}
	if a.Reach > 0 { // of sequences that share nothing
		first, end = max(0, q.Lo-a.Reach), min(end, q.Hi+a.Reach)
	}
	return first, end
}

// panels is visible with first at the beginning of a panel.
func (a *attention) panels(sp Span, q Query) (first, end int) {
	first, end = a.visible(sp, q)
	return first / kernel.NR * kernel.NR, end
}

// span returns the keys that a query sees, which the next one sees one further on: pos is the
// query's position among the n keys at hand.
func (a *attention) span(pos, n int) kernel.Span {
	span := kernel.Span{Hi: n}
	if a.Causal {
		span.Hi, span.HiStep = pos+1, 1
	}
	if a.Window > 0 {
		span.Lo, span.LoStep = pos-a.Window+1, 1
	}
	if a.Reach > 0 {
		span = kernel.Span{Lo: pos - a.Reach, LoStep: 1, Hi: pos + a.Reach + 1, HiStep: 1}
	}
	return span
}

// layout is the keys and values of one head in panels.
type layout struct {
	a            *attention
	k, v         []float32 // the head's columns
	ldk          int
	spans        []Span
	low          bool // in bfloat16: lowKeys and lowValues instead of keys and values
	keys, values []float32
	lowKeys      []uint32
	lowValues    []uint32
	kp, vp       int // distance between panels
	first, end   int // positions laid out
}

// low says whether this processor multiplies the layer's attention in bfloat16.
func (a *attention) low() bool { return a.bf16 && kernel.HasBF16() }

// pack lays out the sequence of a span, less the prefix if it is there already.
func (l *layout) pack(sp Span, prefix int) {
	if sp.Prefix >= 0 && sp.Prefix != prefix {
		l.pack(l.spans[sp.Prefix], -1)
	}
	l.put(sp, sp.Pos, sp.Pos+sp.Len)
}

// put lays out the positions [lo, hi) of a span.
func (l *layout) put(sp Span, lo, hi int) {
	lo, hi = max(lo, l.first), min(hi, l.end)
	if lo >= hi {
		return
	}
	at := (sp.Row + lo - sp.Pos) * l.ldk
	if l.low {
		kernel.PackRowsBF16(l.lowKeys, l.kp, lo-l.first, l.k[at:], l.ldk, hi-lo, l.a.D)
		kernel.PackColsBF16(l.lowValues, l.vp, lo-l.first, l.v[at:], l.ldk, hi-lo, l.a.D)
		return
	}
	kernel.PackRows(l.keys, l.kp, lo-l.first, l.k[at:], l.ldk, hi-lo, l.a.D)
	kernel.PackCols(l.values, l.vp, lo-l.first, l.v[at:], l.ldk, hi-lo, l.a.D)
}

// attend computes one query head, whose columns begin at col.
func (a *attention) attend(s *Scratch, l *layout, out []float32, ldo int, q []float32, ldq int,
	sp Span, query Query, col int) {
	n := l.end - l.first
	lds := kernel.Stride(n)
	rows := min(kernel.RowBlock, max(14, scoreBudget/lds/14*14))
	scores := grow(&s.scores, max(scoreBudget, 14*lds))
	for lo := query.Lo; lo < query.Hi; lo += rows {
		m := min(rows, query.Hi-lo)
		r := query.Row + lo - query.Lo
		pos := sp.Pos + lo - l.first // of the first query, as keys are counted
		from, to := a.panels(Span{Len: n}, Query{Lo: pos, Hi: pos + m})
		panels := (to - from + kernel.NR - 1) / kernel.NR
		if l.low {
			kernel.MatMulBF16(scores, lds, q[r*ldq+col:], ldq, l.lowKeys[from/kernel.NR*l.kp:], l.kp,
				m, a.D, panels, &s.Gemm)
		} else {
			kernel.MatMul(scores, lds, q[r*ldq+col:], ldq, l.keys[from/kernel.NR*l.kp:], l.kp, m, a.D, panels,
				&s.Gemm)
		}
		if a.relative != nil {
			a.relative.add(s, scores, lds, q[r*ldq+col:], ldq, lo, m, n, col/a.D)
		}
		a.cap(scores, lds, m, to-from)
		kernel.SoftmaxRows(scores, lds, m, to-from, a.span(pos-from, to-from), a.Scale)
		a.mix(s, l, out[r*ldo+col:], ldo, scores, lds, m, from, to)
	}
}

// cap bounds scores that are not yet scaled.
func (a *attention) cap(scores []float32, lds, m, n int) {
	if a.SoftCap > 0 {
		kernel.SoftCap(scores, lds, m, n, a.SoftCap/a.Scale)
	}
}

// mix writes the weighted values of m rows, out (m, D) = scores (m, to−from) · values, through
// memory apart where a product of whole panels would reach into the next head.
func (a *attention) mix(s *Scratch, l *layout, out []float32, ldo int, scores []float32, lds, m,
	from, to int) {
	dst, ldd, apart := out, ldo, a.D%kernel.NR != 0
	if apart {
		ldd = kernel.Pad(a.D)
		dst = grow(&s.out, kernel.RowBlock*ldd)
	}
	panels := kernel.Pad(a.D) / kernel.NR
	if l.low {
		kernel.MatMulBF16(dst, ldd, scores, lds, l.lowValues[from/2*kernel.NR:], l.vp, m, to-from, panels,
			&s.Gemm)
	} else {
		kernel.MatMul(dst, ldd, scores, lds, l.values[from*kernel.NR:], l.vp, m, to-from, panels, &s.Gemm)
	}
	for i := 0; apart && i < m; i++ {
		copy(out[i*ldo:][:a.D], dst[i*ldd:])
	}
}
