package kernel

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTransposeTurnsEveryShape(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			for rows := 0; rows <= 67; rows++ {
				for _, cols := range []int{0, 1, 5, 31, 32, 33, 64, 65, 129} {
					lds, ldd := cols+3, rows+2
					src, dst := make([]float32, rows*lds+3), make([]float32, cols*ldd+2)
					for i := range src {
						src[i] = float32(i)
					}
					for i := range dst {
						dst[i] = -1
					}
					Transpose(dst, ldd, src, lds, rows, cols)
					for j := range cols {
						for i := range ldd {
							want := float32(-1) // the gap between rows stays
							if i < rows {
								want = src[i*lds+j]
							}
							require.Equal(t, want, dst[j*ldd+i], "%d rows, %d columns", rows, cols)
						}
					}
				}
			}
		})
	}
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
				MatMul(want, n*NR, a, k, b, k*NR, m, k, n)
				for i := range got {
					got[i] = 3
					want[i] += 3
				}
				MatMulAdd(got, n*NR, a, k, b, k*NR, m, k, n)
				assert.Equal(t, want, got, "%d rows", m)
			}
		})
	}
}

// difference is the derivative of f by central differences in float64.
func difference(f func(float64) float64, x float64) float64 {
	const h = 1e-5
	return (f(x+h) - f(x-h)) / (2 * h)
}

func TestActivationGradientsEqualDifferences(t *testing.T) {
	var xs []float32
	for x := -12.0; x <= 12; x += 1.0 / 64 {
		xs = append(xs, float32(x))
	}
	xs = append(xs, 0, 1e-3, -1e-3, 0.4999, 0.5001)
	tanh := func(x float64) float64 {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			dy, dx := make([]float32, len(xs)), make([]float32, len(xs))
			for i := range dy {
				dy[i] = 1
			}
			for _, c := range []struct {
				name string
				e    Epilogue
				f    func(float64) float64
				tol  float64 // as documented; the differences are exact to 1e-9
			}{
				{"gelu", GELU, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }, 1e-6},
				{"gelu tanh", GELUTanh, tanh, 1e-6},
				{"tanh", Tanh, math.Tanh, 1e-6},
				{"store", Store, func(x float64) float64 { return x }, 1e-6},
			} {
				ActivateBackward(dx, len(xs), dy, len(xs), xs, len(xs), 1, len(xs), c.e)
				for i, x := range xs {
					require.InDelta(t, difference(c.f, float64(x)), dx[i], c.tol, "%s at %v", c.name, x)
				}
			}
			ActivateBackward(dx[:3], 3, dy[:3], 3, []float32{-1, 0, 2}, 3, 1, 3, ReLU)
			assert.Equal(t, []float32{0, 0, 1}, dx[:3])

			up := make([]float32, len(xs))
			dup := make([]float32, len(xs))
			for i := range up {
				up[i] = 1
			}
			silu := func(x float64) float64 { return x / (1 + math.Exp(-x)) }
			for _, c := range []struct {
				name string
				e    Epilogue
				f    func(float64) float64
				tol  float64 // as documented; the differences are exact to 1e-9
			}{{"silu", SiLUMul, silu, 1e-6}, {"gelu tanh", GELUTanhMul, tanh, 1e-6}} {
				GateBackward(dx, dup, len(xs), dy, len(xs), xs, up, len(xs), 1, len(xs), c.e)
				for i, x := range xs {
					require.InDelta(t, difference(c.f, float64(x)), dx[i], c.tol, "%s gate at %v", c.name, x)
					require.InDelta(t, c.f(float64(x)), dup[i], c.tol*max(1, math.Abs(float64(x))), "%s up at %v", c.name, x)
				}
			}
		})
	}
}

func TestSlopesOfEveryShapeStayWithinTheirRows(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			for _, e := range []Epilogue{GELU, SiLUMul, GELUTanh, ReLU} {
				for rows := 1; rows <= 5; rows++ {
					for cols := 1; cols <= 67; cols++ {
						ld := cols + 3
						x, dy, dst := make([]float32, rows*ld), make([]float32, rows*ld), make([]float32, rows*ld)
						for i := range x {
							x[i], dy[i], dst[i] = float32(math.Sin(float64(i)))*4, float32(i%7)-3, -99
						}
						slope(dst, ld, x, ld, dy, ld, rows, cols, e)
						want := make([]float32, cols)
						for i := range rows {
							slopeRow(want, x[i*ld:], dy[i*ld:], e)
							for j := range ld {
								if j >= cols {
									require.EqualValues(t, -99, dst[i*ld+j], "the gap between rows stays")
									continue
								}
								require.InDelta(t, want[j], dst[i*ld+j], 4e-6, "%d rows, %d columns", rows, cols) // 1e-6 of |dy| ≤ 3
							}
						}
					}
				}
			}
		})
	}
}

func BenchmarkLayerNormBackward(b *testing.B) {
	const n = 384
	x, dy, w, dx, sums := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, 2*n)
	for i := range x {
		x[i], dy[i], w[i] = float32(i%13), float32(i%7), 1
	}
	for b.Loop() {
		LayerNormBackward(dx, sums[:n], sums[n:], dy, x, w, 1e-5, false)
	}
}
