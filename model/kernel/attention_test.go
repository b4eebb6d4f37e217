package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
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
							p := rounded(a[i*ld+x]) * rounded(b[j*ld+x])
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
							p := rounded(a[i*ld+x]) * rounded(b[x*ld+j])
							sum, size = sum+p, size+math.Abs(p)
						}
						require.InDelta(t, sum, c[i*Pad(n)+j], float64(k)*size*0x1p-23+1e-30, "values %d %d %d at %d %d", m, k, n, i, j)
					}
				}
			}
		})
	}
}

func TestBFloat16PackingWritesNothingElse(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			const n, guard = 45, 0xdeadbeef
			src := randomRows(rand.New(rand.NewPCG(3, 4)), 9, n)
			for _, step := range []int{0, 1, 4, 5} {
				panel := 8 * NR
				dst := make([]uint32, 2*panel)
				for i := range dst {
					dst[i] = guard
				}
				PackColsBF16(dst, panel, step, src, n, 9, n)
				for p := range 2 {
					for i := range 8 {
						inside := i >= step/2 && i <= (step+8)/2
						for j := range NR {
							got := dst[p*panel+i*NR+j]
							if !inside {
								assert.EqualValues(t, guard, got, fmt.Sprint(step, p, i, j))
							} else if i == step/2 && step%2 == 1 && p*NR+j < n {
								assert.EqualValues(t, guard&0xffff, got&0xffff, "the half that was there stays")
							}
						}
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
