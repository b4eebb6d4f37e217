package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (g *gated) allocTraining(d kernel.DType) {
	g.alloc(d)
	g.master = newMaster(d, 2*g.F, g.In, g.Bias)
}

func (g *gated) bind(p []nn.Param) { g.master.params(p) }

func (g *gated) refresh() {
	if g.master.fixed {
		return // it is packed as it is
	}
	for half := range 2 {
		w := g.master.w[half*g.F*g.In:][:g.F*g.In]
		g.interleave(half, 0, g.F, func(at, i, n int) { g.w.Pack(at, w[i*g.In:(i+n)*g.In]) })
		if g.Bias {
			b := g.master.b[half*g.F:][:g.F]
			g.interleave(half, 0, g.F, func(at, i, n int) { copy(g.b[at:], b[i:i+n]) })
		}
	}
	g.master.refresh()
}

// saved computes h = act(gate)·up for m rows and keeps gate and up, with the bits
// of [gated.forward].
//
// Shapes: h is (m, Pad(F)) with stride ldh; gu is (m, 2·Pad(F)) with stride ldgu,
// gate and up in turn by panels of kernel.NR columns; x is (m, in) with stride ldx.
func (g *gated) saved(s *kernel.Scratch, h []float32, ldh int, gu []float32, ldgu int, x []float32,
	ldx, m int) {
	p := kernel.Product{C: h, LDC: ldh, A: x, LDA: ldx, W: g.w, Bias: g.b, M: m, Epilogue: g.act(),
		Before: gu, LDBefore: ldgu}
	p.All(s)
}

// backwardInput computes the gradients of h = act(x·Wgᵀ)·(x·Wuᵀ): dx, and dgu that
// [master.backwardWeight] takes, for some rows by one worker.
//
// Shapes: dx is (m, Pad(in)) with stride lddx; dh is (m, Pad(F)) with stride
// lddh; gu is what saved kept; dgu is (m, 2·F) with stride ldgu, room for the
// gradients of gate and, behind them, up. Writes dx, or with add accumulates into
// it, and dgu.
func (g *gated) backwardInput(s *Scratch, dx []float32, lddx int, add bool, dgu, dh []float32,
	lddh int, gu []float32, ldgu, m int) {
	for lo := 0; lo < m; lo += 16 { // in the first cache
		d, u, e, rows := dgu[lo*ldgu:], gu[lo*ldgu:], dh[lo*lddh:], min(16, m-lo)
		for j := 0; j < g.F; j += kernel.NR {
			n := min(kernel.NR, g.F-j)
			kernel.GateBackward(d[j:], d[g.F+j:], ldgu, e[j:], lddh, u[2*j:], u[2*j+kernel.NR:], ldgu,
				rows, n, g.act())
		}
	}
	g.master.backwardInput(s, dx, lddx, add, dgu, ldgu, m)
}
