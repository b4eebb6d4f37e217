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

func (l *linear) refresh() {
	if l.master.fixed {
		return // it is packed as it is
	}
	l.w.Pack(0, l.master.w)
	copy(l.b, l.master.b)
	l.master.refresh()
}
