package kernel

import "math"

func activateGeneric(x []float32, e Epilogue) {
	switch e {
	case GELU:
		gelu(x)
	case GELUTanh:
		geluTanh(x)
	case ReLU:
		relu(x)
	}
}

func gateGeneric(dst, gate, up []float32, e Epilogue) {
	if e == SiLUMul {
		siluMul(dst, gate[:len(dst)], up)
		return
	}
	for i := range dst {
		dst[i] = geluTanhOf(gate[i]) * up[i]
	}
}

func gelu(x []float32) {
	for i, v := range x {
		x[i] = float32(0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2)))
	}
}

func geluTanh(x []float32) {
	for i, v := range x {
		x[i] = geluTanhOf(v)
	}
}

func geluTanhOf(v float32) float32 {
	const c = 0.7978845608028654 // √(2/π)
	y := float64(v)
	return float32(0.5 * y * (1 + math.Tanh(c*(y+0.044715*y*y*y))))
}

func relu(x []float32) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

func siluOf(v float32) float32 { return float32(float64(v) / (1 + math.Exp(-float64(v)))) }

func siluMul(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = siluOf(g) * up[i]
	}
}

func softCap(s []float32, limit float32) {
	l := float64(limit)
	for i, v := range s {
		s[i] = float32(l * math.Tanh(float64(v)/l))
	}
}
