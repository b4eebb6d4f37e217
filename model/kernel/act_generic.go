package kernel

import "math"

func geluGeneric(x []float32, ldx, rows, cols int) {
	eachElement(x, ldx, rows, cols, func(v float32) float32 {
		return float32(0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2)))
	})
}

func geluTanhGeneric(x []float32, ldx, rows, cols int) {
	eachElement(x, ldx, rows, cols, geluTanhOf)
}

func reluGeneric(x []float32, ldx, rows, cols int) {
	eachElement(x, ldx, rows, cols, func(v float32) float32 { return max(v, 0) })
}

func softCapGeneric(x []float32, ldx, rows, cols int, limit float32) {
	l := float64(limit)
	eachElement(x, ldx, rows, cols, func(v float32) float32 {
		return float32(l * math.Tanh(float64(v)/l))
	})
}

func siluMulGeneric(dst []float32, ldd int, g []float32, ldg int, u []float32, ldu, rows, cols int) {
	eachPair(dst, ldd, g, ldg, u, ldu, rows, cols, func(g, u float32) float32 { return siluOf(g) * u })
}

func geluTanhMulGeneric(dst []float32, ldd int, g []float32, ldg int, u []float32, ldu, rows, cols int) {
	eachPair(dst, ldd, g, ldg, u, ldu, rows, cols, func(g, u float32) float32 { return geluTanhOf(g) * u })
}

func geluTanhOf(v float32) float32 {
	const c = 0.7978845608028654 // √(2/π)
	y := float64(v)
	return float32(0.5 * y * (1 + math.Tanh(c*(y+0.044715*y*y*y))))
}

func siluOf(v float32) float32 { return float32(float64(v) / (1 + math.Exp(-float64(v)))) }

// eachElement replaces every element of a block by f of it.
func eachElement(x []float32, ldx, rows, cols int, f func(float32) float32) {
	for r := range rows {
		row := x[r*ldx:][:cols]
		for i, v := range row {
			row[i] = f(v)
		}
	}
}

// eachPair computes dst = f(x, y), element by element of two blocks.
func eachPair(dst []float32, ldd int, x []float32, ldx int, y []float32, ldy, rows, cols int,
	f func(x, y float32) float32) {
	for r := range rows {
		to, ys := dst[r*ldd:][:cols], y[r*ldy:]
		for i, v := range x[r*ldx:][:cols] {
			to[i] = f(v, ys[i])
		}
	}
}
