package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

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
				for _, n := range append(lengths()[1:], 384, 1000) {
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
