package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// fusedQKV is a layer of queries and one of keys over values that share a
// tensor of the checkpoint.
type fusedQKV struct {
	*nn.FusedQKV
	q, kv *linear

	whole *master // what learns, in the checkpoint's order; nil when the layer serves
}

func (f *fusedQKV) alloc(d kernel.DType) {
	f.q.alloc(d)
	f.kv.alloc(d)
}

func (f *fusedQKV) memory() [][]byte { return append(f.q.memory(), f.kv.memory()...) }

// of returns the layer with the weights of one of the two.
func (f *fusedQKV) of(l *nn.Linear) *linear {
	if l == &f.Q {
		return f.q
	}
	return f.kv
}

func (f *fusedQKV) store(i, row int, values []float32) {
	in := f.Q.In
	if i == 0 {
		f.Runs(row, len(values)/in,
			func(l *nn.Linear, at, i, n int) { f.of(l).w.Pack(at, values[i*in:(i+n)*in]) })
		return
	}
	f.Runs(row, len(values), func(l *nn.Linear, at, i, n int) { copy(f.of(l).b[at:], values[i:i+n]) })
}

func (f *fusedQKV) allocTraining(d kernel.DType) {
	f.q.allocTraining(d)
	f.kv.allocTraining(d)
	f.whole = newWeight(f.Rows(), f.Q.In, f.Q.Bias)
}

func (f *fusedQKV) bind(p []nn.Param) { f.whole.params(p) }

func (f *fusedQKV) refresh() {
	in := f.Q.In
	f.Runs(0, f.whole.n, func(l *nn.Linear, at, i, n int) {
		m := f.of(l).master
		copy(m.w[at*in:][:n*in], f.whole.w[i*in:])
		if l.Bias {
			copy(m.b[at:][:n], f.whole.b[i:])
		}
	})
	f.q.refresh()
	f.kv.refresh()
}

func (f *fusedQKV) collect() {
	in := f.Q.In
	f.Runs(0, f.whole.n, func(l *nn.Linear, at, i, n int) {
		m := f.of(l).master
		move(f.whole.dw[i*in:], m.dw[at*in:][:n*in])
		if l.Bias {
			move(f.whole.db[i:], m.db[at:][:n])
		}
	})
}

// move adds x to dst and leaves zeros.
func move(dst, x []float32) {
	kernel.AddTo(dst[:len(x)], x)
	clear(x)
}
