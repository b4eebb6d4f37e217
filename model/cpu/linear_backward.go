package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (l *linear) allocTraining(d kernel.DType) {
	l.alloc(d)
	l.master = newMaster(l.format(d), l.Out(), l.In, l.Bias)
}

func (l *linear) bind(p []nn.Param) { l.master.params(p) }

// saved is forward with an activation, which keeps what that is applied to: (m, Pad(out))
// with stride ldb.
func (l *linear) saved(s *kernel.Scratch, y []float32, ldy int, before []float32, ldb int, x []float32, ldx, m int,
	e kernel.Epilogue) {
	p := kernel.Product{C: y, LDC: ldy, A: x, LDA: ldx, W: l.w, Bias: l.b, M: m, Epilogue: e,
		Before: before, LDBefore: ldb}
	p.All(s)
}

func (l *linear) refresh() {
	if l.master.fixed {
		return // it is packed as it is
	}
	l.w.Pack(0, l.master.w)
	copy(l.b, l.master.b)
	l.master.refresh()
}
