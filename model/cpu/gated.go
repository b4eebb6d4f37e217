package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// gated is act(x·Wgᵀ) · (x·Wuᵀ), with the panels of both weights in turn, so that
// gate and up meet while both are in cache.
type gated struct {
	*nn.Gated
	w *kernel.Panels // [2·Pad(F), C]
	b []float32      // (2·Pad(F)), nil when the layer has none

	master *master // gate above up, nil when the layer serves
}

func (g *gated) act() kernel.Epilogue { return epilogue(gates, g.Act) }

func (g *gated) alloc(d kernel.DType) {
	g.w = kernel.NewPanels(d, 2*kernel.Pad(g.F), g.In)
	if g.Bias {
		g.b = make([]float32, 2*kernel.Pad(g.F))
	}
}

func (g *gated) memory() [][]byte { return append(g.w.Memory(), kernel.Bytes(g.b)) }

func (g *gated) store(i, row int, values []float32) {
	half, bias := i, false
	if g.Bias {
		half, bias = i/2, i%2 == 1
	}
	if g.Fused {
		g.storeFused(bias, row, values)
		return
	}
	g.put(half, bias, row, values)
}

// storeFused divides rows of the one tensor between gate and up.
func (g *gated) storeFused(bias bool, row int, values []float32) {
	n := g.In // values of a row
	if bias {
		n = 1
	}
	first := min(max(0, g.F-row), len(values)/n) * n // values of the gate
	if first > 0 {
		g.put(0, bias, row, values[:first])
	}
	if first < len(values) {
		g.put(1, bias, max(0, row-g.F), values[first:])
	}
}

func (g *gated) put(half int, bias bool, row int, values []float32) {
	if bias {
		g.interleave(half, row, len(values), func(at, i, n int) { copy(g.b[at:], values[i:i+n]) })
		return
	}
	g.interleave(half, row, len(values)/g.In, func(at, i, n int) { g.w.Pack(at, values[i*g.In:(i+n)*g.In]) })
}

// interleave calls put for each run of rows that stays within a panel: n rows
// from the i-th on go to the row at of W.
func (g *gated) interleave(half, row, rows int, put func(at, i, n int)) {
	const nr = kernel.NR
	for i := 0; i < rows; {
		r := row + i
		n := min(nr-r%nr, rows-i)
		put((2*(r/nr)+half)*nr+r%nr, i, n)
		i += n
	}
}

// forward computes h = act(gate)·up for m rows.
//
// Shapes: x is (m, in) with stride ldx; h is (m, Pad(F)) with stride ldh.
func (g *gated) forward(s *kernel.Scratch, h []float32, ldh int, x []float32, ldx, m int) {
	p := kernel.Product{C: h, LDC: ldh, A: x, LDA: ldx, W: g.w, Bias: g.b, M: m, Epilogue: g.act()}
	p.All(s)
}
