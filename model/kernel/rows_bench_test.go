package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchRows runs f, which works on n elements, at every level and reports
// elements per nanosecond.
func benchRows(b *testing.B, n int, f func()) {
	for _, l := range Available() {
		b.Run(l.String(), func(b *testing.B) {
			defer SetLevel(l)()
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(n)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "elem/ns")
		})
	}
}

func normals(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// BenchmarkActivate runs on a tile, as the epilogue of a product does. The tile
// is copied anew each time, since activations shrink what they are applied to;
// Copy is the cost of that alone.
func BenchmarkActivate(b *testing.B) {
	const rows, cols = 112, NR
	x, y := normals(rows*cols), make([]float32, rows*cols)
	for _, e := range []struct {
		name string
		e    Epilogue
	}{{"Copy", Store}, {"GELU", GELU}, {"GELUTanh", GELUTanh}, {"ReLU", ReLU}} {
		b.Run(e.name, func(b *testing.B) {
			benchRows(b, rows*cols, func() {
				copy(y, x)
				Activate(y, cols, rows, cols, e.e)
			})
		})
	}
	b.Run("SiLUMul", func(b *testing.B) {
		benchRows(b, rows*cols, func() { Gate(y, cols, x, cols, x, cols, rows, cols, SiLUMul) })
	})
	b.Run("GELUTanhMul", func(b *testing.B) {
		benchRows(b, rows*cols, func() { Gate(y, cols, x, cols, x, cols, rows, cols, GELUTanhMul) })
	})
	b.Run("SoftCap", func(b *testing.B) {
		benchRows(b, rows*cols, func() {
			copy(y, x)
			SoftCap(y, cols, rows, cols, 30)
		})
	})
}

func BenchmarkNorm(b *testing.B) {
	for _, cols := range []int{128, 384, 768, 1024} {
		const rows = 112
		x, y, w := normals(rows*cols), make([]float32, rows*cols), normals(cols)
		b.Run(fmt.Sprintf("RMSNorm/%dx%d", rows, cols), func(b *testing.B) {
			benchRows(b, rows*cols, func() { RMSNormRows(y, cols, x, cols, rows, w, 1e-6) })
		})
		b.Run(fmt.Sprintf("LayerNorm/%dx%d", rows, cols), func(b *testing.B) {
			benchRows(b, rows*cols, func() { LayerNormRows(y, cols, x, cols, rows, w, w, 1e-6) })
		})
	}
}

func BenchmarkSoftmax(b *testing.B) {
	for _, n := range []int{32, 128, 512, 2048} {
		rows := min(112, max(14, 49152/n))
		x, y := normals(rows*n), make([]float32, rows*n)
		b.Run(fmt.Sprintf("%dx%d", rows, n), func(b *testing.B) {
			benchRows(b, rows*n, func() {
				copy(y, x)
				SoftmaxRows(y, n, rows, n, Span{Hi: n}, 0.125)
			})
		})
	}
}

func BenchmarkRotate(b *testing.B) {
	const rows, heads, d = 32, 16, 128
	x, cos, sin := normals(rows*heads*d), make([]float32, rows*d/2), make([]float32, rows*d/2)
	for i := range cos {
		cos[i] = 1
	}
	benchRows(b, rows*heads*d, func() { RotateRows(x, heads*d, rows, heads, d, cos, sin, d/2, d/2) })
}

func BenchmarkVectors(b *testing.B) {
	const n = 8192
	x, y, h := normals(n), make([]float32, n), make([]uint16, n)
	b.Run("AddTo", func(b *testing.B) { benchRows(b, n, func() { AddTo(y, x) }) })
	b.Run("Dot", func(b *testing.B) { benchRows(b, n, func() { Dot(x, x) }) })
	b.Run("RoundBF16", func(b *testing.B) { benchRows(b, n, func() { RoundBF16(h, x) }) })
	b.Run("WidenBF16", func(b *testing.B) { benchRows(b, n, func() { WidenBF16(y, h) }) })
}
