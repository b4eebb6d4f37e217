package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rounded returns x as bfloat16 holds it.
func rounded(x float32) float64 { return float64(math.Float32frombits(uint32(bf16(x)) << 16)) }

func TestBFloat16AttentionProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			for range 60 {
				m, k, n := 1+r.IntN(40), 1+r.IntN(70), 1+r.IntN(100)
				ld := max(k, n) + r.IntN(5)
				a, b := randomRows(r, m, ld), randomRows(r, max(n, k), ld)
				var s Scratch
				panel := (k + 1) / 2 * NR

				// Keys: rows of b are the columns of C, packed in two pieces.
				keys := make([]uint32, Pad(n)/NR*panel)
				cut := r.IntN(n + 1)
				PackRowsBF16(keys, panel, 0, b, ld, cut, k)
				PackRowsBF16(keys, panel, cut, b[cut*ld:], ld, n-cut, k)
				c := make([]float32, m*Pad(n))
				MatMulBF16(c, Pad(n), a, ld, keys, panel, m, k, Pad(n)/NR, &s)
				for i := range m {
					for j := range n {
						sum, size := 0.0, 0.0
						for x := range k {
							p := float64(bf16Side(a[i*ld+x])) * rounded(b[j*ld+x])
							sum, size = sum+p, size+math.Abs(p)
						}
						require.InDelta(t, sum, c[i*Pad(n)+j], float64(k)*size*0x1p-23+1e-30, "keys %d %d %d at %d %d", m, k, n, i, j)
					}
				}

				// Values: rows of b are summed over, packed in two pieces.
				values := make([]uint32, Pad(n)/NR*panel)
				for i := range values {
					values[i] = 0xffffffff // NaN: what is not written must not count
				}
				cut = r.IntN(k + 1)
				PackColsBF16(values, panel, 0, b, ld, cut, n)
				PackColsBF16(values, panel, cut, b[cut*ld:], ld, k-cut, n)
				MatMulBF16(c, Pad(n), a, ld, values, panel, m, k, Pad(n)/NR, &s)
				for i := range m {
					for j := range Pad(n) {
						sum, size := 0.0, 0.0
						for x := 0; x < k && j < n; x++ {
							p := float64(bf16Side(a[i*ld+x])) * rounded(b[x*ld+j])
							sum, size = sum+p, size+math.Abs(p)
						}
						require.InDelta(t, sum, c[i*Pad(n)+j], float64(k)*size*0x1p-23+1e-30, "values %d %d %d at %d %d", m, k, n, i, j)
					}
				}
			}
		})
	}
}

func randomRows(r *rand.Rand, rows, ld int) []float32 {
	x := make([]float32, rows*ld)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func TestMatMulAddAddsTheProduct(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			for _, m := range []int{1, 3, 17, 130} { // one row has a kernel of its own
				const k, n = 19, 5
				a, b := make([]float32, m*k), make([]float32, n*NR*k)
				for i := range a {
					a[i] = float32(math.Sin(float64(i)))
				}
				for i := range b {
					b[i] = float32(math.Cos(float64(i)))
				}
				want, got := make([]float32, m*n*NR), make([]float32, m*n*NR)
				MatMul(want, n*NR, a, k, b, k*NR, m, k, n, &Scratch{})
				for i := range got {
					got[i] = 3
					want[i] += 3
				}
				MatMulAdd(got, n*NR, a, k, b, k*NR, m, k, n, &Scratch{})
				assert.Equal(t, want, got, "%d rows", m)
			}
		})
	}
}

func TestMatMulAddBF16AddsTheProductInBFloat16(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(2, 3))
		var s Scratch
		for _, k := range []int{1, 2, 7, 64} {
			for _, m := range []int{1, 15, RowBlock + 1} {
				const n = 2
				a, _ := uniform(rnd, m*k)
				b, _ := uniform(rnd, k*n*NR)
				panel := (k + 1) / 2 * NR
				panels := make([]uint32, n*panel)
				PackColsBF16(panels, panel, 0, b, n*NR, k, n*NR)
				product, sum := make([]float32, m*n*NR), make([]float32, m*n*NR)
				for i := range sum {
					sum[i] = float32(i % 5)
				}
				MatMulBF16(product, n*NR, a, k, panels, panel, m, k, n, &s)
				MatMulAddBF16(sum, n*NR, a, k, panels, panel, m, k, n, &s)
				for i := range sum {
					require.Equal(t, float32(i%5)+product[i], sum[i], "element %d of %d rows, %d steps", i, m, k)
				}
			}
		}
	})
}

// TestMatMulAddTIsMatMulAddOfTheTransposed to the bit, for A plain and packed.
func TestMatMulAddTIsMatMulAddOfTheTransposed(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 5))
		for range 60 {
			m, k, n := 1+r.IntN(2*RowBlock+20), 1+r.IntN(90), 1+r.IntN(3)
			lda, ldc := m+r.IntN(5), n*NR+r.IntN(5)
			a, okA := walled(r, (k-1)*lda+m)
			panels, okP := walled(r, n*k*NR)
			got, okC := walled(r, (m-1)*ldc+n*NR)
			want, packed := slices.Clone(got), slices.Clone(got)
			turned := make([]float32, m*k)
			Transpose(turned, k, a, lda, k, m)
			var s Scratch
			MatMulAdd(want, ldc, turned, k, panels, k*NR, m, k, n, &s)

			MatMulAddT(got, ldc, a, lda, LeftRows, panels, k*NR, m, k, n, &s)
			sameBits(t, want, got, m, " rows, k ", k)

			group := (k + r.IntN(3)) * LeftRows
			left, okL := walled(r, (m-1)/LeftRows*group+k*LeftRows)
			for at := 0; at < k; {
				rows := 1 + r.IntN(k-at)
				PackLeft(left, group, at, a[at*lda:], lda, rows, m)
				at += rows
			}
			MatMulAddT(packed, ldc, left, LeftRows, group, panels, k*NR, m, k, n, &s)
			sameBits(t, want, packed, m, " packed rows, k ", k)
			require.True(t, okA() && okP() && okC() && okL())
		}
	})
}
