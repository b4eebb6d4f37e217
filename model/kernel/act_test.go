package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// silu replaces x by x·σ(x), through the gate of ones.
func silu(x []float32) {
	ones := make([]float32, len(x))
	for i := range ones {
		ones[i] = 1
	}
	Gate(x, len(x), x, len(x), ones, len(x), 1, len(x), SiLUMul)
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// activations are the operations of one element. The error bound of a result y
// is abs + rel·|y|: rel is two units in the last place of the result, abs what
// the approximation adds where the result is smaller than its parts.
var activations = []struct {
	name     string
	apply    func(x []float32)
	oracle   func(x float64) float64
	abs, rel float64
}{
	{"GELU", func(x []float32) { Activate(x, len(x), 1, len(x), GELU) },
		func(x float64) float64 { return x * 0.5 * math.Erfc(-x/math.Sqrt2) }, 1.5e-7, 2.4e-7},
	{"GELUTanh", func(x []float32) { Activate(x, len(x), 1, len(x), GELUTanh) },
		func(x float64) float64 { return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)) }, 1e-7, 2.4e-7},
	{"ReLU", func(x []float32) { Activate(x, len(x), 1, len(x), ReLU) },
		func(x float64) float64 { return max(x, 0) }, 0, 0},
	{"SiLU", silu, func(x float64) float64 { return x * sigmoid(x) }, 1e-7, 2.4e-7},
	{"Tanh", func(x []float32) { Activate(x, len(x), 1, len(x), Tanh) }, math.Tanh, 0, 3e-7},
	{"SoftCap", func(x []float32) { SoftCap(x, len(x), 1, len(x), 30) },
		func(x float64) float64 { return 30 * math.Tanh(x/30) }, 0, 4e-7},
}

func TestActivationsMatchTheOracle(t *testing.T) {
	for _, a := range activations {
		t.Run(a.name, func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				var worst, at float64
				check := func(x []float32) {
					y := append([]float32(nil), x...)
					a.apply(y)
					for i, v := range x {
						want := a.oracle(float64(v))
						got := float64(y[i])
						// Denormals have a smaller precision, or are flushed.
						e := math.Abs(got-want) / (a.abs + a.rel*math.Abs(want) + 0x1p-126)
						if !(e <= worst) {
							worst, at = e, float64(v)
						}
					}
				}
				const n = 1 << 12
				x := make([]float32, n)
				for k := range 64 { // a dense sweep of [-12, 12]
					for i := range x {
						x[i] = float32(-12 + 24*float64(k*n+i)/(64*n-1))
					}
					check(x)
				}
				r := rand.New(rand.NewPCG(1, 2))
				for range 16 { // every magnitude
					for i := range x {
						x[i] = math.Float32frombits(r.Uint32())
						if v := float64(x[i]); math.IsNaN(v) || math.IsInf(v, 0) {
							x[i] = 0
						}
					}
					check(x)
				}
				t.Logf("worst error %.2f of the bound, at %g", worst, at)
				assert.LessOrEqual(t, worst, 1.0, "at %g", at)
			})
		})
	}
}

func TestActivationsOfSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	limits := map[string][2]float32{ // of −Inf and +Inf
		"GELU": {nan, inf}, "GELUTanh": {nan, inf}, "ReLU": {0, inf}, "SiLU": {nan, inf}, "Tanh": {-1, 1}, "SoftCap": {-30, 30},
	}
	for _, a := range activations {
		t.Run(a.name, func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				for _, n := range []int{1, 7, 16, 33} { // masked, whole and both
					fillWith := func(v float32) []float32 {
						x := make([]float32, n)
						for i := range x {
							x[i] = v
						}
						a.apply(x)
						return x
					}
					for _, v := range fillWith(nan) {
						require.True(t, v != v, "NaN became %g", v)
					}
					for i, in := range []float32{-inf, inf} {
						for _, v := range fillWith(in) {
							want := limits[a.name][i]
							require.True(t, v == want || v != v && want != want, "%g became %g, want %g", in, v, want)
						}
					}
					for _, v := range fillWith(0) {
						require.Equal(t, float32(0), v)
					}
				}
			})
		})
	}
}

// TestActivationsOfOneElement says that the bits of an element depend on nothing
// but the element: a row of any length, at any alignment, gives what single
// elements give.
func TestActivationsOfOneElement(t *testing.T) {
	for _, a := range activations {
		t.Run(a.name, func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(3, 4))
				for n := range 132 {
					x := newFenced(n, n%17)
					want := make([]float32, n)
					for i := range x.s {
						x.s[i] = float32(r.NormFloat64() * 3)
						want[i] = x.s[i]
						a.apply(want[i : i+1])
					}
					a.apply(x.s)
					require.Equal(t, bits(want), bits(x.s), "length %d", n)
					x.check(t)
				}
			})
		})
	}
}

func TestActivateTakesBlocks(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for _, e := range []Epilogue{Store, GELU, GELUTanh, ReLU, Tanh} {
			for _, cols := range []int{1, 15, 16, 31, 32, 33, 70} {
				const rows, ld = 5, 73
				x := newFenced((rows-1)*ld+cols, 3)
				x.normal(r)
				want := append([]float32(nil), x.s...)
				for i := range rows {
					Activate(want[i*ld:], cols, 1, cols, e)
				}
				Activate(x.s, ld, rows, cols, e)
				require.Equal(t, bits(want), bits(x.s), "epilogue %d, %d columns", e, cols)
				x.check(t)
			}
		}
	})
}

func TestGate(t *testing.T) {
	for _, e := range []Epilogue{SiLUMul, GELUTanhMul, GELUMul} {
		act := silu
		if e == GELUMul {
			act = activations[0].apply
		}
		if e == GELUTanhMul {
			act = activations[1].apply
		}
		t.Run(fmt.Sprintf("epilogue %d is the activation times up", e), func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(7, 8))
				for _, cols := range []int{1, 7, 8, 9, 15, 16, 17, 32, 33, 65} {
					const rows, ldd, ldg, ldu = 3, 70, 67, 69
					dst, gate, up := newFenced((rows-1)*ldd+cols, 1), newFenced((rows-1)*ldg+cols, 2), newFenced((rows-1)*ldu+cols, 5)
					gate.normal(r)
					up.normal(r)
					Gate(dst.s, ldd, gate.s, ldg, up.s, ldu, rows, cols, e)
					for i := range rows {
						want := append([]float32(nil), gate.s[i*ldg:][:cols]...)
						act(want)
						for j := range want {
							want[j] *= up.s[i*ldu+j]
						}
						require.Equal(t, bits(want), bits(dst.s[i*ldd:][:cols]), "%d columns, row %d", cols, i)
					}
					dst.check(t)
					// In place over the gate.
					want := append([]float32(nil), dst.s[:cols]...)
					Gate(gate.s, ldg, gate.s, ldg, up.s, ldu, rows, cols, e)
					require.Equal(t, bits(want), bits(gate.s[:cols]))
					gate.check(t)
					up.check(t)
				}
			})
		})
	}
}

func TestActivationsRefuseBadBlocks(t *testing.T) {
	x := make([]float32, 10)
	assert.PanicsWithValue(t, "kernel: Activate: x has 10 elements, stride 4, want (3, 4)", func() { Activate(x, 4, 3, 4, GELU) })
	assert.Panics(t, func() { Activate(x, 4, 2, 4, SiLUMul) }, "a gated epilogue needs two inputs")
	assert.Panics(t, func() { Gate(x, 4, x, 4, x, 4, 1, 4, GELU) }, "a plain epilogue has one")
}
