package nn

import (
	"github.com/warmserve/warmserve/model/kernel"
)

// Gated is the first half of a gated feed-forward layer, act(x·Wgᵀ) · (x·Wuᵀ),
// with the panels of both weights in turn, so that gate and up meet while both
// are in cache. Source: Shazeer 2020 (arXiv 2002.05202); transformers LlamaMLP.
type Gated struct {
	In, F int
	bias  bool
	act   kernel.Epilogue // SiLUMul or GELUTanhMul

	W    *kernel.Panels // [2·Pad(F), C]
	Bias []float32      // (2·Pad(F)), nil when the layer has none

	master *master // gate above up, nil when the layer serves
}

// NewGated returns a layer from in to f.
func NewGated(in, f int, bias bool, act kernel.Epilogue) Gated {
	return Gated{In: in, F: f, bias: bias, act: act}
}

// Alloc implements [Module].
func (g *Gated) Alloc(d kernel.DType) {
	g.W = kernel.NewPanels(d, 2*kernel.Pad(g.F), g.In)
	if g.bias {
		g.Bias = make([]float32, 2*kernel.Pad(g.F))
	}
}

// Bytes implements [Module].
func (g *Gated) Bytes() int { return g.W.Bytes() + 4*len(g.Bias) }

// Params takes the names of the gate and the up projection.
func (g *Gated) Params(names []string) []Param {
	var out []Param
	for half, n := range names {
		out = append(out, Param{
			Name: n + ".weight", Shape: []int{g.F, g.In},
			Store: func(row int, values []float32) {
				g.interleave(half, row, len(values)/g.In, func(at, i, n int) {
					g.W.Pack(at, values[i*g.In:(i+n)*g.In])
				})
			},
		})
		if g.bias {
			out = append(out, Param{
				Name: n + ".bias", Shape: []int{g.F},
				Store: func(row int, values []float32) {
					g.interleave(half, row, len(values), func(at, i, n int) { copy(g.Bias[at:], values[i:i+n]) })
				},
			})
		}
	}
	return out
}

// interleave calls put for each run of rows that stays within a panel: n rows
// from the i-th on go to the row at of W.
func (g *Gated) interleave(half, row, rows int, put func(at, i, n int)) {
	const nr = kernel.NR
	for i := 0; i < rows; {
		r := row + i
		n := min(nr-r%nr, rows-i)
		put((2*(r/nr)+half)*nr+r%nr, i, n)
		i += n
	}
}

// Forward computes h = act(gate)·up for m rows.
//
// Shapes: x is (m, in) with stride ldx; h is (m, Pad(F)) with stride ldh.
func (g *Gated) Forward(s *kernel.Scratch, h []float32, ldh int, x []float32, ldx, m int) {
	p := kernel.Product{C: h, LDC: ldh, A: x, LDA: ldx, W: g.W, Bias: g.Bias, M: m, Epilogue: g.act}
	p.All(s)
}
