package nn

import "github.com/warmserve/warmserve/model/kernel"

// AllocTraining implements [Trainable].
func (f *FusedQKV) AllocTraining(d kernel.DType) {
	f.Alloc(d)
	f.master = newMaster(d, 3*f.H*f.D, f.Q.In, f.Q.bias)
}

// Learned implements [Trainable].
func (f *FusedQKV) Learned(p []Param) { f.master.params(p) }

// Refresh implements [Trainable].
func (f *FusedQKV) Refresh() {
	rows, in := 3*f.H*f.D, f.Q.In
	f.split(0, rows, func(l *Linear, at, i, n int) {
		l.W.Pack(at, f.master.w[i*in:(i+n)*in])
		if l.bias {
			copy(l.Bias[at:], f.master.b[i:i+n])
		}
	})
	f.master.refresh()
}

// Backward computes dx from the gradients of queries and of keys over values,
// and accumulates the weight's and the bias's.
//
// Shapes: dx is (m, Pad(in)) with stride lddx; dqkv is room for (m, 3·H·D) with
// stride ldqkv; dq is (mq, H·D), the gradient of the rows in queries, or of all m
// when queries is nil; dkv is (m, 2·H·D). Writes dx and dqkv.
func (f *FusedQKV) Backward(w *Work, dx []float32, lddx int, dqkv []float32, ldqkv int, dq []float32, lddq int, queries []int32, dkv []float32, lddkv int, x []float32, ldx, m int) {
	hd := f.H * f.D
	w.Each(m, 64, func(_ *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			d, kv := dqkv[i*ldqkv:][:3*hd], dkv[i*lddkv:]
			for h := range f.H {
				to := d[3*h*f.D:]
				if queries == nil {
					copy(to[:f.D], dq[i*lddq+h*f.D:])
				} else {
					clear(to[:f.D])
				}
				copy(to[f.D:2*f.D], kv[h*f.D:])
				copy(to[2*f.D:3*f.D], kv[hd+h*f.D:])
			}
		}
	})
	for i, row := range queries {
		for h := range f.H {
			kernel.AddTo(dqkv[int(row)*ldqkv+3*h*f.D:][:f.D], dq[i*lddq+h*f.D:][:f.D])
		}
	}
	f.master.backward(w, dx, lddx, false, dqkv, ldqkv, x, ldx, m)
}
