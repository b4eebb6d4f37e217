package kernel

import "math"

func siluSlope(dst, x, dy []float32) {
	for i, v := range x[:len(dst)] {
		s := 1 / (1 + math.Exp(-float64(v)))
		dst[i] = dy[i] * float32(s+s*float64(v)*(1-s))
	}
}

func geluSlope(dst, x, dy []float32) {
	for i, v := range x[:len(dst)] {
		y := float64(v)
		cdf := 0.5 * math.Erfc(-y/math.Sqrt2)
		dst[i] = dy[i] * float32(cdf+y*math.Exp(-0.5*y*y)/math.Sqrt(2*math.Pi))
	}
}

func geluTanhSlope(dst, x, dy []float32) {
	const c, k = 0.7978845608028654, 0.044715 // √(2/π)
	for i, v := range x[:len(dst)] {
		y := float64(v)
		t := math.Tanh(c * (y + k*y*y*y))
		dst[i] = dy[i] * float32(0.5*(1+t)+0.5*y*(1-t*t)*c*(1+3*k*y*y))
	}
}

func reluSlope(dst, x, dy []float32) {
	for i, v := range x[:len(dst)] {
		if v > 0 {
			dst[i] = dy[i]
		} else {
			dst[i] = 0
		}
	}
}

func tanhSlope(dst, x, dy []float32) {
	for i, v := range x[:len(dst)] {
		t := math.Tanh(float64(v))
		dst[i] = float32(float64(dy[i]) * (1 - t*t))
	}
}
