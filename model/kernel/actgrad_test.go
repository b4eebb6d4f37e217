package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
			}{{"silu", SiLUMul, silu, 1e-6}, {"gelu tanh", GELUTanhMul, tanh, 1e-6},
				{"gelu", GELUMul, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }, 1e-6}} {
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
							restore := SetLevel(Generic)
							slope(want, cols, x[i*ld:], ld, dy[i*ld:], ld, 1, cols, e)
							restore()
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

func TestGatedGradientsOfEveryShapeStayWithinTheirRows(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			rnd := rand.New(rand.NewPCG(1, 2))
			for rows := 1; rows <= 3; rows++ {
				for cols := 1; cols <= 67; cols++ {
					ld := cols + 3
					var in [3][]float32 // dy, gate, up
					for i := range in {
						in[i], _ = uniform(rnd, rows*ld)
					}
					dgate, gateFence := uniform(rnd, rows*ld)
					dup, upFence := uniform(rnd, rows*ld)
					wasGate, wasUp := append([]float32(nil), dgate...), append([]float32(nil), dup...)
					GateBackward(dgate, dup, ld, in[0], ld, in[1], in[2], ld, rows, cols, SiLUMul)
					for i := range rows * ld {
						if i%ld >= cols {
							require.Equal(t, [2]float32{wasGate[i], wasUp[i]}, [2]float32{dgate[i], dup[i]}, "the gap between rows stays")
							continue
						}
						dy, x, u := float64(in[0][i]), float64(in[1][i]), float64(in[2][i])
						s := 1 / (1 + math.Exp(-x))
						// 1e-6 of |dy| ≤ 2, times |up| and |gate| ≤ 2: as documented.
						require.InDelta(t, dy*u*(s+s*x*(1-s)), dgate[i], 4e-6, "%d rows, %d columns", rows, cols)
						require.InDelta(t, dy*x*s, dup[i], 4e-6, "%d rows, %d columns", rows, cols)
					}
					gateFence.check(t)
					upFence.check(t)
				}
			}
		})
	}
}
