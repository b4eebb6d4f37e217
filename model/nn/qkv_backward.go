package nn

import "github.com/warmserve/warmserve/model/kernel"

// AllocTraining implements [Trainable].
func (f *FusedQKV) AllocTraining(d kernel.DType) {
	f.Q.AllocTraining(d)
	f.KV.AllocTraining(d)
	n := 3 * f.H * f.D
	f.whole = &master{n: n, in: f.Q.In, w: make([]float32, n*f.Q.In), dw: make([]float32, n*f.Q.In)}
	if f.Q.bias {
		f.whole.b, f.whole.db = make([]float32, n), make([]float32, n)
	}
}

// Learned implements [Trainable].
func (f *FusedQKV) Learned(p []Param) { f.whole.params(p) }

// Refresh implements [Trainable].
func (f *FusedQKV) Refresh() {
	in := f.Q.In
	f.split(0, f.whole.n, func(l *Linear, at, i, n int) {
		copy(l.master.w[at*in:][:n*in], f.whole.w[i*in:])
		if l.bias {
			copy(l.master.b[at:][:n], f.whole.b[i:])
		}
	})
	f.Q.Refresh()
	f.KV.Refresh()
}

// Collect implements [Collector].
func (f *FusedQKV) Collect() {
	in := f.Q.In
	f.split(0, f.whole.n, func(l *Linear, at, i, n int) {
		move(f.whole.dw[i*in:], l.master.dw[at*in:][:n*in])
		if l.bias {
			move(f.whole.db[i:], l.master.db[at:][:n])
		}
	})
}

// move adds x to dst and leaves zeros.
func move(dst, x []float32) {
	kernel.AddTo(dst[:len(x)], x)
	clear(x)
}
