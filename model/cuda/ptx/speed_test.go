package ptx_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
)

func floats(r *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// BenchmarkProduct is the interpreter's speed in plain arithmetic: a product of 64 x 256 x 64
// without tensor cores, with all checks. It uses one core: 230 million instructions of
// threads for each second of CPU time on an AMD EPYC (go test -bench Product ./model/cuda/ptx).
func BenchmarkProduct(b *testing.B) {
	const m, n, k = 64, 256, 64
	mod, err := ptx.Load("simt")
	require.NoError(b, err)
	r := rand.New(rand.NewPCG(1, 2))
	mc := ptx.New(1)
	a := kernel.Product{A: kernel.Ptr(ptx.Put(mc, floats(r, m*k))), W: kernel.Ptr(ptx.Put(mc, floats(r, n*k))), C: kernel.Ptr(mc.Alloc(4 * m * n)),
		Header: kernel.Ptr(ptx.Put(mc, []int32{m})), From: -1, N: n, K: k, LDA: k, LDC: n}
	t := kernel.Table["product_f32"]
	b.ResetTimer()
	for b.Loop() {
		require.NoError(b, mc.Launch(mod.Kernel(t.Name), ptx.Grid{Blocks: 8, Threads: t.Threads, Shared: t.Shared}, kernel.Bytes(a)))
	}
	b.ReportMetric(float64(mc.Steps())/1e6/b.Elapsed().Seconds(), "Minst/s")
}

// BenchmarkTrials runs the trials one behind the other: copies, barriers and tensor cores.
func BenchmarkTrials(b *testing.B) {
	for name := range trials {
		b.Run(name, func(b *testing.B) {
			m, err := ptx.Load(kernel.Table[kernelOf(name)].Module)
			require.NoError(b, err)
			for b.Loop() {
				require.NoError(b, attempt(name, m.Kernel(kernelOf(name)), 1))
			}
		})
	}
}
