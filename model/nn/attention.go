package nn

import (
	"math"

	"github.com/warmserve/warmserve/model/kernel"
)

// Span is a run of neighbouring rows of a packed batch: a whole sequence, or
// the part of one that follows a prefix it shares with others.
type Span struct {
	Row, Len int // rows [Row, Row+Len)
	Prefix   int // index of the span that comes before, -1 for none; itself without prefix
	Pos      int // position of the first row in its sequence: the prefix's length
}

// Query is the part of a span whose attention is wanted.
type Query struct {
	Span   int
	Lo, Hi int // tokens of the span, from its start
	Row    int // row of the first in the query and output buffers
}

// Attention is scaled dot-product attention over packed spans, with several
// query heads to a key head (GQA). Source: Vaswani et al. 2017, eq. 1; Ainslie
// et al. 2023 (arXiv 2305.13245).
type Attention struct {
	H, K, D int
	Scale   float32
	Causal  bool
	Window  int // tokens a query sees, itself included; 0 for all
}

// Scratch is the memory of one worker.
type Scratch struct {
	Gemm kernel.Scratch

	keys, values, scores, out []float32
}

// scoreBudget is the number of scores kept at a time, 192 KB of a core's L2.
const scoreBudget = 48 << 10

// Forward computes one key/value head for one query: all query heads that share
// it, for the query's tokens.
//
// Shapes: q and out are (rows, H·D) with strides ldq and ldo; k and v are
// (T, K·D) with stride ldk. Writes out. The bits of a row depend on its own
// sequence alone, however that is divided into spans and queries.
func (a *Attention) Forward(s *Scratch, out []float32, ldo int, q []float32, ldq int, k, v []float32, ldk int, spans []Span, query Query, head int) {
	sp := spans[query.Span]
	end := sp.Pos + sp.Len // keys of the sequence
	if a.Causal {
		end = sp.Pos + query.Hi
	}
	first := 0 // first key any of the queries sees, in whole panels
	if a.Window > 0 {
		first = max(0, sp.Pos+query.Lo-a.Window+1) / kernel.NR * kernel.NR
	}
	n := end - first
	kp, vp := a.D*kernel.NR, n*kernel.NR // distance between panels
	keys := grow(&s.keys, kernel.Pad(n)*a.D)
	values := grow(&s.values, kernel.Pad(a.D)*n)
	a.pack(keys, values, kp, vp, k[head*a.D:], v[head*a.D:], ldk, spans, sp, first, end)

	lds := kernel.Stride(n)
	rows := min(kernel.RowBlock, max(14, scoreBudget/lds/14*14))
	scores := grow(&s.scores, rows*lds)
	for g := range a.H / a.K {
		col := (head*(a.H/a.K) + g) * a.D
		for lo := query.Lo; lo < query.Hi; lo += rows {
			m := min(rows, query.Hi-lo)
			r := query.Row + lo - query.Lo
			// Keys that this block of queries sees: [from, to), panels aligned.
			from, to := 0, n
			if a.Causal {
				to = sp.Pos + lo + m - first
			}
			if a.Window > 0 {
				from = max(0, sp.Pos+lo-a.Window+1-first) / kernel.NR * kernel.NR
			}
			kernel.MatMul(scores, lds, q[r*ldq+col:], ldq, keys[from/kernel.NR*kp:], kp, m, a.D, (to-from+kernel.NR-1)/kernel.NR)
			for i := range m {
				l, h := 0, to-from
				if a.Causal {
					h = sp.Pos + lo + i + 1 - first - from
				}
				if a.Window > 0 {
					l = max(0, sp.Pos+lo+i-a.Window+1-first-from)
				}
				kernel.Softmax(scores[i*lds:][:to-from], l, h, a.Scale)
			}
			a.mix(s, out[r*ldo+col:], ldo, scores, lds, values[from*kernel.NR:], vp, m, to-from)
		}
	}
}

// pack lays out the keys and values [first, end) of the span's sequence.
func (a *Attention) pack(keys, values []float32, kp, vp int, k, v []float32, ldk int, spans []Span, sp Span, first, end int) {
	put := func(sp Span, lo, hi int) { // positions [lo, hi) from a span
		lo, hi = max(lo, first), min(hi, end)
		if lo >= hi {
			return
		}
		at := (sp.Row + lo - sp.Pos) * ldk
		kernel.PackRows(keys, kp, lo-first, k[at:], ldk, hi-lo, a.D)
		kernel.PackCols(values, vp, lo-first, v[at:], ldk, hi-lo, a.D)
	}
	if sp.Prefix >= 0 {
		put(spans[sp.Prefix], 0, sp.Pos)
	}
	put(sp, sp.Pos, sp.Pos+sp.Len)
}

// mix writes the weighted values of m rows: out (m, D) = scores (m, n) · values.
func (a *Attention) mix(s *Scratch, out []float32, ldo int, scores []float32, lds int, values []float32, vp, m, n int) {
	panels := kernel.Pad(a.D) / kernel.NR
	if a.D%kernel.NR == 0 {
		kernel.MatMul(out, ldo, scores, lds, values, vp, m, n, panels)
		return
	}
	w := kernel.Pad(a.D) // a product writes whole panels: not into the next head
	tmp := grow(&s.out, m*w)
	kernel.MatMul(tmp, w, scores, lds, values, vp, m, n, panels)
	for i := range m {
		copy(out[i*ldo:][:a.D], tmp[i*w:])
	}
}

// DefaultScale is 1/√D.
func DefaultScale(d int) float32 { return float32(1 / math.Sqrt(float64(d))) }

// grow returns *buf with n elements, of any value, allocating when it is too short.
func grow(buf *[]float32, n int) []float32 {
	if cap(*buf) < n {
		*buf = make([]float32, n+n/4)
	}
	return (*buf)[:n]
}
