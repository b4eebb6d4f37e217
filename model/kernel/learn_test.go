package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// learnLengths reach over two blocks of sixty-four and every tail of a vector.
func learnLengths() []int {
	var out []int
	for n := 1; n <= 2*rowLanes+1; n++ {
		out = append(out, n)
	}
	return append(out, 384, 1000)
}

// uniform returns n random numbers in [-2, 2) between fences, and what checks
// the fences.
func uniform(r *rand.Rand, n int) ([]float32, *fenced) {
	f := newFenced(n, r.IntN(5))
	for i := range f.s {
		f.s[i] = r.Float32()*4 - 2
	}
	return f.s, f
}

func TestAdamWHasTheSameBitsAtEveryLevel(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			rnd := rand.New(rand.NewPCG(3, 5))
			for _, n := range learnLengths() {
				var got, want [4][]float32
				var fences [4]*fenced
				for i := range got {
					got[i], fences[i] = uniform(rnd, n)
					for j, v := range got[i] {
						if i == 3 { // a second moment is not negative
							got[i][j] = v * v
						}
					}
					want[i] = append([]float32(nil), got[i]...)
				}
				got[1][0], want[1][0] = 0, 0
				s := &AdamWStep{Keep: 0.9999, Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, Root: 0.0447, Eps: 1e-8, Step: 1e-3}
				s.Apply(got[0], got[1], got[2], got[3])
				adamW(want[0], want[1], want[2], want[3], s)
				for i, name := range []string{"weight", "gradient", "first moment", "second moment"} {
					require.Equal(t, want[i], got[i], "%s of %d", name, n)
					fences[i].check(t)
				}
			}
		})
	}
}

func TestAdamWKeepsWhatIsNotFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			s := &AdamWStep{Keep: 1, Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, Root: 1, Eps: 1e-8, Step: 1e-3}
			w, m, v := []float32{1, 1, 1}, make([]float32, 3), make([]float32, 3)
			s.Apply(w, []float32{nan, inf, 1}, m, v)
			assert.True(t, math.IsNaN(float64(w[0])), "a gradient that is no number spoils its weight: %v", w)
			assert.True(t, math.IsNaN(float64(w[1])), "and so does an infinite one: %v", w)
			assert.InDelta(t, 1-1e-3*0.1/math.Sqrt(0.001), w[2], 1e-6, "and no other") // one rounding of 1
		})
	}
}

// normGradients are those of a row in float64, RMSNorm's when centred is false.
func normGradients(dy, x, w []float32, eps float64, centred bool) (dx, dw []float64) {
	n := float64(len(x))
	mean, square := 0.0, 0.0
	for _, v := range x {
		if centred {
			mean += float64(v) / n
		}
	}
	for _, v := range x {
		square += (float64(v) - mean) * (float64(v) - mean) / n
	}
	rstd := 1 / math.Sqrt(square+eps)
	shift, turn := 0.0, 0.0
	for i, v := range x {
		g := float64(dy[i]) * float64(w[i])
		turn += g * (float64(v) - mean) * rstd / n
		if centred {
			shift += g / n
		}
	}
	for i, v := range x {
		xh := (float64(v) - mean) * rstd
		dw = append(dw, float64(dy[i])*xh)
		dx = append(dx, rstd*(float64(dy[i])*float64(w[i])-shift-xh*turn))
	}
	return dx, dw
}

func TestNormGradientsOfEveryLengthEqualFloat64(t *testing.T) {
	const eps = 1e-5
	for _, l := range Available() {
		for _, norm := range []string{"RMSNorm", "LayerNorm"} {
			t.Run(fmt.Sprintf("%s at %v", norm, l), func(t *testing.T) {
				defer SetLevel(l)()
				rnd := rand.New(rand.NewPCG(7, 11))
				for _, n := range learnLengths() {
					var rows [6][]float32 // dx, dw, db, dy, x, w
					var fences [6]*fenced
					for i := range rows {
						rows[i], fences[i] = uniform(rnd, n)
					}
					dx, dw, db, dy, x, w := rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
					for _, add := range []bool{false, true} {
						before := [3][]float32{append([]float32(nil), dx...), append([]float32(nil), dw...), append([]float32(nil), db...)}
						if norm == "RMSNorm" {
							RMSNormBackward(dx, dw, dy, x, w, eps, add)
							require.Equal(t, before[2], db)
						} else {
							LayerNormBackward(dx, dw, db, dy, x, w, eps, add)
						}
						wantX, wantW := normGradients(dy, x, w, eps, norm == "LayerNorm")
						for i := range n {
							// Sums of up to 1000 products below 8 in float32, in 64 lanes,
							// and 1/√(σ² + eps), which reaches 300 in a row of one or two.
							tol := 2e-5 * max(1, math.Abs(wantX[i]), math.Abs(wantW[i]))
							if n < 4 {
								tol = 2e-3
							}
							x0 := 0.0
							if add {
								x0 = float64(before[0][i])
							}
							require.InDelta(t, x0+wantX[i], dx[i], tol, "dx %d of %d, add %v", i, n, add)
							require.InDelta(t, float64(before[1][i])+wantW[i], dw[i], tol, "dw %d of %d", i, n)
							if norm == "LayerNorm" {
								require.InDelta(t, before[2][i]+dy[i], db[i], 1e-6, "db %d of %d", i, n)
							}
						}
						for _, f := range fences {
							f.check(t)
						}
					}
				}
			})
		}
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

func TestMatMulAddBF16AddsTheProductInBFloat16(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
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
}

func BenchmarkAdamW(b *testing.B) {
	const n = 1 << 15
	var x [4][]float32
	for i := range x {
		x[i] = make([]float32, n)
		for j := range x[i] {
			x[i][j] = float32(j%17) * 0.01
		}
	}
	s := &AdamWStep{Keep: 0.9999, Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, Root: 0.5, Eps: 1e-8, Step: 1e-9}
	for b.Loop() {
		s.Apply(x[0], x[1], x[2], x[3])
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gweights/s")
}
