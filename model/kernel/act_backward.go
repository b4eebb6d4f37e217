package kernel

import (
	"fmt"
	"math"
)

// actBlock is how many elements an activation's gradient takes at a time, so
// that its intermediate values stay in a core's first cache.
const actBlock = 256

// ActivateBackward computes dx = dy · act′(x) for the activations GELU, GELUTanh
// and ReLU; with Store dx = dy.
//
// Shapes: all are (rows, cols) with strides lddx, lddy and ldx.
// Aliasing: dx may be dy with the same stride. Writes dx.
// Error: below 5e-7 (GELU) and 3e-6 (GELUTanh) of |dy| (measured over [-12, 12]).
func ActivateBackward(dx []float32, lddx int, dy []float32, lddy int, x []float32, ldx, rows, cols int, e Epilogue) {
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("ActivateBackward: dx", len(dx), lddx, rows, cols)
	checkRows("ActivateBackward: dy", len(dy), lddy, rows, cols)
	checkRows("ActivateBackward: x", len(x), ldx, rows, cols)
	for i := range rows {
		for j := 0; j < cols; j += actBlock {
			n := min(actBlock, cols-j)
			activateBackward(dx[i*lddx+j:][:n], dy[i*lddy+j:][:n], x[i*ldx+j:][:n], e)
		}
	}
}

func activateBackward(dx, dy, x []float32, e Epilogue) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	switch e {
	case Store:
		copy(dx, dy)
	case ReLU:
		for i, v := range x {
			if v > 0 {
				dx[i] = dy[i]
			} else {
				dx[i] = 0
			}
		}
	case GELU:
		geluBackward(dx, dy, x)
	case GELUTanh:
		var t [actBlock]float32
		geluTanhSlope(t[:len(x)], x)
		for i, d := range dy {
			dx[i] = d * t[i]
		}
	default:
		panic(fmt.Sprintf("kernel: ActivateBackward: epilogue %d is not an activation", e))
	}
}

// geluBackward uses gelu′(x) = Φ(x) + x·φ(x). Φ is GELU(x)/x where that is well
// conditioned and its series around 0 elsewhere; the density's exponential is
// (1+t)/(1−t) with t = tanh(−x²/4), which has an absolute error of one rounding.
func geluBackward(dx, dy, x []float32) {
	var y, t [actBlock]float32
	n := len(x)
	copy(y[:n], x)
	Activate(y[:n], n, 1, n, GELU)
	for i, v := range x {
		t[i] = -0.25 * v * v
	}
	Tanh(t[:n])
	const density = 0.3989422804014327 // 1/√(2π)
	for i, v := range x {
		phi := density * (1 + t[i]) / (1 - t[i])
		var cdf float32
		if v > 0.5 || v < -0.5 {
			cdf = y[i] / v
		} else {
			s := v * v
			cdf = 0.5 + density*v*(1+s*(-1.0/6+s*(1.0/40+s*(-1.0/336+s*(1.0/3456-s*(1.0/42240))))))
		}
		dx[i] = dy[i] * (cdf + v*phi)
	}
}

// geluTanhSlope writes the derivative of GELUTanh at x.
func geluTanhSlope(d, x []float32) {
	const c, k = 0.7978845608028654, 0.044715 // √(2/π)
	for i, v := range x {
		d[i] = c * (v + k*v*v*v)
	}
	Tanh(d)
	for i, v := range x {
		t := d[i]
		d[i] = 0.5*(1+t) + 0.5*v*(1-t*t)*c*(1+3*k*v*v)
	}
}

// GateBackward computes the gradients of y = act(gate)·up:
// dgate = dy·up·act′(gate) and dup = dy·act(gate).
//
// Shapes: all have the length of dy. Aliasing: none of the outputs may overlap
// an input. Writes dgate and dup.
// Error: below 1e-6 (SiLUMul) and 3e-6 (GELUTanhMul) of |dy|, times |up| for
// dgate and max(1, |gate|) for dup (measured over [-12, 12]).
func GateBackward(dgate, dup, dy, gate, up []float32, e Epilogue) {
	if !e.Gated() {
		panic(fmt.Sprintf("kernel: GateBackward: epilogue %d is not gated", e))
	}
	for n := 0; len(dy) > 0; dgate, dup, dy, gate, up = dgate[n:], dup[n:], dy[n:], gate[n:], up[n:] {
		n = min(len(dy), actBlock)
		gateBackward(dgate[:n], dup[:n], dy[:n], gate[:n], up[:n], e)
	}
}

func gateBackward(dgate, dup, dy, gate, up []float32, e Epilogue) {
	n := len(dy)
	dgate, dup, gate, up = dgate[:n], dup[:n], gate[:n], up[:n]
	var t [actBlock]float32
	if e == SiLUMul {
		for i, g := range gate {
			t[i] = 0.5 * g
		}
		Tanh(t[:n])
		for i, g := range gate {
			s := 0.5 + 0.5*t[i] // σ(g)
			a := g * s
			dgate[i] = dy[i] * up[i] * (s + a*(1-s))
			dup[i] = dy[i] * a
		}
		return
	}
	geluTanhSlope(t[:n], gate)
	copy(dup, gate)
	Activate(dup, n, 1, n, GELUTanh)
	for i, d := range dy {
		dgate[i] = d * up[i] * t[i]
		dup[i] *= d
	}
}

// SoftmaxBackward replaces dp by the gradient of the scores s behind
// p = softmax(scale·s): ds = scale·p·(dp − Σ p·dp), with delta = Σ p·dp.
//
// Shapes: all have the length of p. Writes dp.
// Source: Dao et al. 2022 (arXiv 2205.14135), algorithm 4, for delta.
func SoftmaxBackward(dp, p []float32, delta, scale float32) {
	p = p[:len(dp)]
	for i, d := range dp {
		dp[i] = scale * p[i] * (d - delta)
	}
}

// RMSNormBackward computes the gradients of one row of y = x·rstd·w:
// dx = rstd·(g − x̂·mean(g·x̂)) with g = dy·w and x̂ = x·rstd; dw += dy·x̂.
//
// Shapes: all have the length of x. Aliasing: dx may be dy.
// Writes dx, or with add accumulates into it; accumulates into dw.
func RMSNormBackward(dx, dw, dy, x, w []float32, eps float32, add bool) {
	n := len(x)
	dx, dw, dy, w = dx[:n], dw[:n], dy[:n], w[:n]
	rstd := float32(1 / math.Sqrt(float64(Dot(x, x)/float32(n)+eps)))
	var l [4]float32
	i := 0
	for ; i+4 <= n; i += 4 {
		l[0] += dy[i] * w[i] * x[i]
		l[1] += dy[i+1] * w[i+1] * x[i+1]
		l[2] += dy[i+2] * w[i+2] * x[i+2]
		l[3] += dy[i+3] * w[i+3] * x[i+3]
	}
	for ; i < n; i++ {
		l[0] += dy[i] * w[i] * x[i]
	}
	k := (l[0] + l[1] + (l[2] + l[3])) * rstd / float32(n)
	for i, d := range dy {
		xh := x[i] * rstd
		dw[i] += d * xh
		v := rstd * (d*w[i] - xh*k)
		if add {
			v += dx[i]
		}
		dx[i] = v
	}
}

// LayerNormBackward computes the gradients of one row of y = x̂·w + b with
// x̂ = (x − mean)·rstd: dx = rstd·(g − mean(g) − x̂·mean(g·x̂)) with g = dy·w;
// dw += dy·x̂ and db += dy.
//
// Shapes: all have the length of x. Aliasing: dx may be dy.
// Writes dx, or with add accumulates into it; accumulates into dw and db.
func LayerNormBackward(dx, dw, db, dy, x, w []float32, eps float32, add bool) {
	n := len(x)
	dx, dw, db, dy, w = dx[:n], dw[:n], db[:n], dy[:n], w[:n]
	inv := 1 / float32(n)
	var sum float32
	for _, v := range x {
		sum += v
	}
	mean := sum * inv
	var square float32
	for _, v := range x {
		square += (v - mean) * (v - mean)
	}
	rstd := float32(1 / math.Sqrt(float64(square*inv+eps)))
	var sg, sgx float32
	for i, d := range dy {
		g := d * w[i]
		sg += g
		sgx += g * (x[i] - mean)
	}
	sg, sgx = sg*inv, sgx*inv*rstd
	for i, d := range dy {
		xh := (x[i] - mean) * rstd
		dw[i] += d * xh
		db[i] += d
		v := rstd * (d*w[i] - sg - xh*sgx)
		if add {
			v += dx[i]
		}
		dx[i] = v
	}
}
