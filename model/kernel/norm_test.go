package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// normOracle returns the norm of x in float64: about its mean when centred.
func normOracle(x, w, b []float32, eps float64, centred bool) []float64 {
	var mean, square float64
	if centred {
		for _, v := range x {
			mean += float64(v) / float64(len(x))
		}
	}
	for _, v := range x {
		square += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (float64(v) - mean) / math.Sqrt(square+eps) * float64(w[i])
		if b != nil {
			y[i] += float64(b[i])
		}
	}
	return y
}

func TestNormsMatchTheOracle(t *testing.T) {
	const eps = 1e-5
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		var worst, centred float64
		for _, n := range append(lengths()[1:], 384, 768, 1024, 4096) {
			dst, x, w, b := newFenced(n, n%3), newFenced(n, n%7), newFenced(n, n%11), newFenced(n, n%5)
			for _, g := range []*fenced{x, w, b} {
				g.normal(r)
			}
			rmsNormRow(dst.s, x.s, w.s, eps)
			for i, want := range normOracle(x.s, w.s, nil, eps, false) {
				e := math.Abs(float64(dst.s[i])-want) / math.Abs(want)
				worst = max(worst, e)
				require.LessOrEqual(t, e, 3e-7, "RMSNorm of %d: element %d is %g, want %g", n, i, dst.s[i], want)
			}
			for i := range x.s {
				x.s[i] += 10
			}
			for _, bias := range [][]float32{nil, b.s} {
				layerNormRow(dst.s, x.s, w.s, bias, eps)
				var mean, rstd float64
				for _, v := range x.s {
					mean += float64(v) / float64(n)
				}
				for _, v := range x.s {
					rstd += (float64(v) - mean) * (float64(v) - mean) / float64(n)
				}
				rstd = 1 / math.Sqrt(rstd+eps)
				for i, want := range normOracle(x.s, w.s, bias, eps, true) {
					// What is rounded: the mean, the difference to it, the result.
					size := math.Abs(float64(w.s[i]))*rstd*(math.Abs(mean)+math.Abs(float64(x.s[i])-mean)) + math.Abs(want)
					e := math.Abs(float64(dst.s[i])-want) / size
					centred = max(centred, e)
					require.LessOrEqual(t, e, 2e-7, "LayerNorm of %d: element %d is %g, want %g", n, i, dst.s[i], want)
				}
			}
			for _, g := range []*fenced{dst, x, w, b} {
				g.check(t)
			}
		}
		t.Logf("worst relative error of RMSNorm %.2g, of LayerNorm %.2g", worst, centred)
	})
}

// rmsNormRow and layerNormRow norm a block of one row.
func rmsNormRow(dst, x, w []float32, eps float32) { RMSNormRows(dst, len(x), x, len(x), 1, w, eps) }

func layerNormRow(dst, x, w, b []float32, eps float32) {
	LayerNormRows(dst, len(x), x, len(x), 1, w, b, eps)
}

func TestNormsOfBlocks(t *testing.T) {
	const eps, rows = 1e-6, 19 // two groups of the assembly and a part of one
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(2, 1))
		for _, n := range []int{1, 7, 8, 31, 32, 63, 64, 65, 100, 127, 128, 192, 200, 384} {
			w, b := newFenced(n, 1), newFenced(n, 3)
			w.normal(r)
			b.normal(r)
			for name, norm := range map[string]func(dst []float32, ldd int, x []float32, ldx, rows int){
				"RMSNorm": func(dst []float32, ldd int, x []float32, ldx, rows int) {
					RMSNormRows(dst, ldd, x, ldx, rows, w.s, eps)
				},
				"LayerNorm": func(dst []float32, ldd int, x []float32, ldx, rows int) {
					LayerNormRows(dst, ldd, x, ldx, rows, w.s, b.s, eps)
				},
				"LayerNorm without bias": func(dst []float32, ldd int, x []float32, ldx, rows int) {
					LayerNormRows(dst, ldd, x, ldx, rows, w.s, nil, eps)
				},
			} {
				t.Run(fmt.Sprintf("%s of %d", name, n), func(t *testing.T) { checkNormOfBlock(t, norm, rows, n, r) })
			}
			w.check(t)
			b.check(t)
		}
	})
}

// checkNormOfBlock says that a row gives the same bits alone and in a block, in
// place and not.
func checkNormOfBlock(t *testing.T, norm func(dst []float32, ldd int, x []float32, ldx, rows int), rows, n int, r *rand.Rand) {
	ldd, ldx := n+3, n+5
	dst, x := newFenced((rows-1)*ldd+n, 2), newFenced((rows-1)*ldx+n, 7)
	x.normal(r)
	want := make([]float32, n)
	same := func(what string, got []float32, ld int, src []float32) {
		t.Helper()
		for i := range rows {
			norm(want, n, src[i*ldx:][:n], n, 1)
			require.Equal(t, bits(want), bits(got[i*ld:][:n]), "%s, row %d", what, i)
		}
	}
	norm(dst.s, ldd, x.s, ldx, rows)
	same("block", dst.s, ldd, x.s)
	old := append([]float32(nil), x.s...)
	norm(x.s, ldx, x.s, ldx, rows)
	same("in place", x.s, ldx, old)
	dst.check(t)
	x.check(t)
}

func TestNormsOfSpecialValues(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachLevel(t, func(t *testing.T) {
		for _, n := range []int{5, 64, 70} {
			w, x, y := make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range w {
				w[i] = 1
			}
			rmsNormRow(y, x, w, 1e-6)
			require.Equal(t, x, y, "the norm of zeros is zero")
			layerNormRow(y, x, w, nil, 1e-6)
			require.Equal(t, x, y)
			for at := range n {
				clear(x)
				x[at] = nan
				rmsNormRow(y, x, w, 1e-6)
				for i, v := range y {
					require.True(t, v != v, "NaN at %d, element %d of RMSNorm is %g", at, i, v)
				}
				layerNormRow(y, x, w, nil, 1e-6)
				for i, v := range y {
					require.True(t, v != v, "NaN at %d, element %d of LayerNorm is %g", at, i, v)
				}
				x[at] = inf
				rmsNormRow(y, x, w, 1e-6)
				for i, v := range y {
					require.True(t, i == at && v != v || i != at && v == 0, "Inf at %d, element %d of RMSNorm is %g", at, i, v)
				}
				layerNormRow(y, x, w, nil, 1e-6)
				for i, v := range y {
					require.True(t, v != v, "Inf at %d, element %d of LayerNorm is %g", at, i, v)
				}
			}
			for i := range x {
				x[i] = 1e-40 // denormal: its square is 0
			}
			rmsNormRow(y, x, w, 1e-6)
			require.InDelta(t, 1e-37, y[n-1], 1e-41)
		}
	})
}
