package kernel

import "math"

// lanes is the number of partial sums of a row reduction.
const lanes = 16

// sumLanes adds the lanes in a fixed tree: 8 apart, then 4, 2 and 1.
func sumLanes(l *[lanes]float32) float32 {
	for w := lanes / 2; w > 0; w /= 2 {
		for i := range w {
			l[i] += l[i+w]
		}
	}
	return l[0]
}

func rmsNorm(dst, x, w []float32, eps float32) {
	var l [lanes]float32
	for i, v := range x {
		l[i%lanes] += v * v
	}
	mean := sumLanes(&l) / float32(len(x))
	r := float32(1 / math.Sqrt(float64(mean+eps)))
	for i, v := range x {
		dst[i] = v * r * w[i]
	}
}

func layerNorm(dst, x, w, b []float32, eps float32) {
	var l [lanes]float32
	for i, v := range x {
		l[i%lanes] += v
	}
	mean := sumLanes(&l) / float32(len(x))
	l = [lanes]float32{}
	for i, v := range x {
		d := v - mean
		l[i%lanes] += d * d
	}
	rstd := float32(1 / math.Sqrt(float64(sumLanes(&l)/float32(len(x))+eps)))
	for i, v := range x {
		y := (v - mean) * rstd * w[i]
		if b != nil {
			y += b[i]
		}
		dst[i] = y
	}
}

func softmax(s []float32, lo, hi int, scale float32) {
	clear(s[:lo])
	clear(s[hi:])
	if lo >= hi {
		return
	}
	m := s[lo]
	for _, v := range s[lo:hi] {
		m = max(m, v)
	}
	var l [lanes]float32
	for j := lo; j < hi; j++ {
		e := float32(math.Exp(float64(scale * (s[j] - m))))
		s[j] = e
		l[j%lanes] += e
	}
	inv := 1 / sumLanes(&l)
	for j := lo; j < hi; j++ {
		s[j] *= inv
	}
}

func rotate(x []float32, heads, d int, cos, sin []float32) {
	h := len(cos)
	for i := range heads {
		x1, x2 := x[i*d:][:h], x[i*d+h:][:h]
		for j, c := range cos {
			a, b := x1[j], x2[j]
			x1[j] = a*c - b*sin[j]
			x2[j] = b*c + a*sin[j]
		}
	}
}

func addTo(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func dot(a, b []float32) float32 {
	var l [lanes]float32
	for i, v := range a {
		l[i%lanes] += v * b[i]
	}
	return sumLanes(&l)
}

func gelu(x []float32) {
	for i, v := range x {
		x[i] = float32(0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2)))
	}
}

func geluTanh(x []float32) {
	const c = 0.7978845608028654 // √(2/π)
	for i, v := range x {
		y := float64(v)
		x[i] = float32(0.5 * y * (1 + math.Tanh(c*(y+0.044715*y*y*y))))
	}
}

func relu(x []float32) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

func siluMul(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = float32(float64(g)/(1+math.Exp(-float64(g)))) * up[i]
	}
}
