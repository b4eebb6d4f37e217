package nn

import "github.com/warmserve/warmserve/model/kernel"

// FusedQKV is one checkpoint tensor that holds queries, keys and values
// interleaved by head: q, k and v of head 0, then of head 1 (GPT-NeoX). It is
// stored as a query layer and a layer of keys over values.
type FusedQKV struct {
	H, D  int
	Q, KV Linear

	whole *master // what learns, in the checkpoint's order; nil when the layer serves
}

// NewFusedQKV returns the layer for h heads of size d.
func NewFusedQKV(in, h, d int, bias bool) FusedQKV {
	return FusedQKV{H: h, D: d, Q: NewLinear(in, bias, h*d), KV: NewLinear(in, bias, h*d, h*d)}
}

// Alloc implements [Module].
func (f *FusedQKV) Alloc(d kernel.DType) {
	f.Q.Alloc(d)
	f.KV.Alloc(d)
}

// Bytes implements [Module].
func (f *FusedQKV) Bytes() int { return f.Q.Bytes() + f.KV.Bytes() }

// Params names the one weight, of shape [H·3·D, in], and the bias.
func (f *FusedQKV) Params(names []string) []Param {
	in := f.Q.In
	out := []Param{{
		Name: names[0] + ".weight", Shape: []int{3 * f.H * f.D, in},
		Store: func(row int, values []float32) {
			f.split(row, len(values)/in, func(l *Linear, at, i, n int) { l.W.Pack(at, values[i*in:(i+n)*in]) })
		},
	}}
	if f.Q.bias {
		out = append(out, Param{
			Name: names[0] + ".bias", Shape: []int{3 * f.H * f.D},
			Store: func(row int, values []float32) {
				f.split(row, len(values), func(l *Linear, at, i, n int) { copy(l.Bias[at:], values[i:i+n]) })
			},
		})
	}
	return out
}

// split calls put for each run of rows of one head and kind: n rows from the
// i-th on go to the row at of the layer.
func (f *FusedQKV) split(row, rows int, put func(l *Linear, at, i, n int)) {
	for i := 0; i < rows; {
		r := row + i
		head, kind, d := r/(3*f.D), r/f.D%3, r%f.D
		n := min(f.D-d, rows-i)
		switch at := head*f.D + d; kind {
		case 0:
			put(&f.Q, at, i, n)
		case 1:
			put(&f.KV, at, i, n)
		case 2:
			put(&f.KV, f.H*f.D+at, i, n)
		}
		i += n
	}
}
