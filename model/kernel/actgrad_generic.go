package kernel

import "math"

// Each of the slopes computes dst = act′(x)·dy. Those without Generic in their
// names have no assembly.

func siluSlopeGeneric(dst []float32, ldd int, x []float32, ldx int, dy []float32, lddy, rows, cols int) {
	eachPair(dst, ldd, x, ldx, dy, lddy, rows, cols, func(x, dy float32) float32 {
		s := 1 / (1 + math.Exp(-float64(x)))
		return dy * float32(s+s*float64(x)*(1-s))
	})
}

func geluSlopeGeneric(dst []float32, ldd int, x []float32, ldx int, dy []float32, lddy, rows, cols int) {
	eachPair(dst, ldd, x, ldx, dy, lddy, rows, cols, func(x, dy float32) float32 {
		y := float64(x)
		cdf := 0.5 * math.Erfc(-y/math.Sqrt2)
		return dy * float32(cdf+y*math.Exp(-0.5*y*y)/math.Sqrt(2*math.Pi))
	})
}

func geluTanhSlope(dst []float32, ldd int, x []float32, ldx int, dy []float32, lddy, rows, cols int) {
	const c, k = 0.7978845608028654, 0.044715 // √(2/π)
	eachPair(dst, ldd, x, ldx, dy, lddy, rows, cols, func(x, dy float32) float32 {
		y := float64(x)
		t := math.Tanh(c * (y + k*y*y*y))
		return dy * float32(0.5*(1+t)+0.5*y*(1-t*t)*c*(1+3*k*y*y))
	})
}

func reluSlope(dst []float32, ldd int, x []float32, ldx int, dy []float32, lddy, rows, cols int) {
	eachPair(dst, ldd, x, ldx, dy, lddy, rows, cols, func(x, dy float32) float32 {
		if x > 0 {
			return dy
		}
		return 0
	})
}

func tanhSlope(dst []float32, ldd int, x []float32, ldx int, dy []float32, lddy, rows, cols int) {
	eachPair(dst, ldd, x, ldx, dy, lddy, rows, cols, func(x, dy float32) float32 {
		t := math.Tanh(float64(x))
		return float32(float64(dy) * (1 - t*t))
	})
}

func timesGeneric(dst []float32, ldd int, x []float32, ldx int, y []float32, ldy, rows, cols int) {
	eachPair(dst, ldd, x, ldx, y, ldy, rows, cols, func(x, y float32) float32 { return x * y })
}

func siluBackwardGeneric(dgate, dup []float32, ldd int, dy []float32, ldy int, gate, up []float32,
	ldg, rows, cols int) {
	siluMulGeneric(dup, ldd, gate, ldg, dy, ldy, rows, cols)
	timesGeneric(dgate, ldd, dy, ldy, up, ldg, rows, cols)
	siluSlopeGeneric(dgate, ldd, gate, ldg, dgate, ldd, rows, cols)
}
