package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// wallBits is the bit pattern around a slice that a kernel must not touch: a NaN
// no arithmetic makes, so that a read of it shows too.
const wallBits = 0x7fc0beef

const wallLen = 64

// walled returns n random floats with guard words on both sides, at an odd
// offset in memory, and a check that the guards are whole.
func walled(r *rand.Rand, n int) (x []float32, intact func() bool) {
	all := make([]float32, n+2*wallLen+1)
	for i := range all {
		all[i] = math.Float32frombits(wallBits)
	}
	lo := wallLen + 1
	x = all[lo : lo+n : lo+n]
	for i := range x {
		x[i] = r.Float32()*2 - 1
	}
	return x, func() bool {
		for i, v := range all {
			if (i < lo || i >= lo+n) && math.Float32bits(v) != wallBits {
				return false
			}
		}
		return true
	}
}

// fuse marks the columns between n and the stride with guard words, which a
// product must leave alone, and returns a check.
func fuse(c []float32, ld, n int) (intact func() bool) {
	each := func(f func(*float32)) {
		for i := range c {
			if i%ld >= n {
				f(&c[i])
			}
		}
	}
	each(func(v *float32) { *v = math.Float32frombits(wallBits) })
	return func() bool {
		ok := true
		each(func(v *float32) { ok = ok && math.Float32bits(*v) == wallBits })
		return ok
	}
}

func sameBits(t *testing.T, want, got []float32, msg ...any) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
			require.Failf(t, "bits differ", "element %d: want %v (%#x), got %v (%#x) %v", i,
				want[i], math.Float32bits(want[i]), got[i], math.Float32bits(got[i]), fmt.Sprint(msg...))
		}
	}
}

// within requires |want - got| ≤ bound; a NaN is never within.
func within(t *testing.T, want float64, got float32, bound float64, format string, args ...any) {
	t.Helper()
	if !(math.Abs(want-float64(got)) <= bound) {
		require.Failf(t, "out of bounds", "want %v ± %v, got %v: "+format, append([]any{want, bound, got}, args...)...)
	}
}

// sumBound is the largest error of a float32 sum of k products in any order of
// rounding: (k+2)·2⁻²⁴·Σ|terms| (Higham 2002, eq. 3.5, plus bias and residual).
func sumBound(k int, abs float64) float64 { return float64(k+2)*0x1p-24*abs*1.01 + 1e-40 }

// tiles computes n float32 panels, each panel elements after the one before.
func tiles(c []float32, ldc int, a []float32, lda int, w []float32, panel int, bias []float32, m, k, n int, add bool) {
	x := operand{a: words(a), lda: lda, words: 1, m: m, k: k, w: words(w), panel: panel, n: n, bias: bias}
	if !converts(Float32, k) || k == 0 {
		x.mul(c, ldc, add)
		return
	}
	x.narrow(&Scratch{}, k)
	rows := blockRows(Float32, k)
	for lo := 0; lo < m; lo += rows {
		x.m = min(rows, m-lo)
		for i := range x.m {
			x.convert(i, a[(lo+i)*lda:][:k])
		}
		x.mul(c[lo*ldc:], ldc, add)
	}
}

func TestTileAgreesWithFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 80 {
			m, k, n := 1+r.IntN(130), r.IntN(131), 1+r.IntN(6)
			lda, ldc, panel := k+r.IntN(9), n*NR+r.IntN(9), k*NR+r.IntN(9)
			add, withBias := r.IntN(2) == 0, r.IntN(2) == 0
			a, okA := walled(r, (m-1)*lda+k)
			w, okW := walled(r, (n-1)*panel+k*NR)
			c, okC := walled(r, (m-1)*ldc+n*NR)
			okLD := fuse(c, ldc, n*NR)
			var bias []float32
			okB := func() bool { return true }
			if withBias {
				bias, okB = walled(r, n*NR)
			}
			before := append([]float32(nil), c...)
			tiles(c, ldc, a, lda, w, panel, bias, m, k, n, add)
			require.True(t, okA() && okW() && okC() && okB() && okLD(), "guards of %d×%d×%d", m, k, n)
			for i := range m {
				for j := range n * NR {
					var sum, abs float64
					if withBias {
						sum, abs = float64(bias[j]), math.Abs(float64(bias[j]))
					}
					for kk := range k {
						p := float64(a[i*lda+kk]) * float64(w[j/NR*panel+kk*NR+j%NR])
						sum, abs = sum+p, abs+math.Abs(p)
					}
					if add {
						sum, abs = sum+float64(before[i*ldc+j]), abs+math.Abs(float64(before[i*ldc+j]))
					}
					within(t, sum, c[i*ldc+j], sumBound(k, abs), "[%d %d] of %d×%d×%d", i, j, m, k, n)
				}
			}
		}
	})
}

func TestTileRowsDoNotDependOnTheirCompany(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, k := range []int{1, 3, 64, 129} {
			const m, n = 120, 9
			a, _ := walled(r, m*k)
			w, _ := walled(r, n*NR*k)
			bias, _ := walled(r, n*NR)
			all := make([]float32, m*n*NR)
			for i := range m { // one row at a time, one panel at a time
				for p := range n {
					tiles(all[i*n*NR+p*NR:], n*NR, a[i*k:], k, w[p*k*NR:], k*NR, bias[p*NR:], 1, k, 1, false)
				}
			}
			for rows := 1; rows <= m; rows++ {
				m0, p0 := r.IntN(m-rows+1), r.IntN(n)
				np := 1 + r.IntN(n-p0)
				c := make([]float32, rows*n*NR)
				tiles(c[p0*NR:], n*NR, a[m0*k:], k, w[p0*k*NR:], k*NR, bias[p0*NR:], rows, k, np, false)
				for i := range rows {
					sameBits(t, all[(m0+i)*n*NR+p0*NR:][:np*NR], c[i*n*NR+p0*NR:][:np*NR], rows, " rows, k ", k)
				}
			}
		}
	})
}

func TestTileSpecialValues(t *testing.T) {
	inf, nan, allOnes := float32(math.Inf(1)), float32(math.NaN()), math.Float32frombits(0x7fffffff)
	tests := []struct {
		name   string
		a, w   []float32
		want   float32
		matrix float32 // on a matrix unit, where an infinity has parts that are not
	}{
		{"an infinity stays", []float32{1, inf, 1}, []float32{1, 1, 1}, inf, nan},
		{"a negative infinity stays", []float32{1, -inf, 1}, []float32{1, 1, 1}, -inf, nan},
		{"infinities of both signs make NaN", []float32{inf, -inf, 1}, []float32{1, 1, 1}, nan, nan},
		{"zero times infinity makes NaN", []float32{0, 1, 1}, []float32{inf, 1, 1}, nan, nan},
		{"NaN stays", []float32{1, nan, 1}, []float32{1, 0, 1}, nan, nan},
		{"NaN of whatever bits stays", []float32{1, allOnes, 1}, []float32{1, 0, 1}, nan, nan},
		{"denormals are added exactly", []float32{1, 1, 2}, []float32{0x1p-149, 0x1p-149, 0x1p-140}, 0x1p-139 + 0x1p-148, 0},
		{"a product may be denormal", []float32{0x1p-80, 0, 0}, []float32{0x1p-60, 0, 0}, 0x1p-140, 0},
		{"a value has all its bits", []float32{0, 1 + 0x1p-23, 0}, []float32{1, 1, 1}, 1 + 0x1p-23, 1 + 0x1p-23},
		{"a product of eighteen bits is exact", []float32{1, 0x1p-11 + 0x1p-19, 1}, []float32{-1, 0x1p11 + 0x1p2, 0}, 0x1p-8 + 0x1p-9 + 0x1p-17, 0x1p-8 + 0x1p-9 + 0x1p-17},
		{"negative zero times one is absorbed by the bias of zero", []float32{float32(math.Copysign(0, -1)), 0, 0}, []float32{1, 0, 0}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T) {
				want := tt.want
				if Active() == AMXFloat32 {
					want = tt.matrix
				}
				for _, m := range []int{1, 4, 14, 40} {
					a := make([]float32, m*3)
					w := make([]float32, 4*3*NR)
					for i := range a {
						a[i] = tt.a[i%3]
					}
					for i := range w {
						w[i] = tt.w[i/NR%3]
					}
					c := make([]float32, m*4*NR)
					tiles(c, 4*NR, a, 3, w, 3*NR, nil, m, 3, 4, false)
					for i, got := range c {
						if want != want && got != got || math.Float32bits(want) == math.Float32bits(got) {
							continue
						}
						require.Failf(t, "wrong value", "element %d: want %v, got %v", i, want, got)
					}
				}
			})
		})
	}
}
