package kernel

import (
	"fmt"
	"math"
)

// ActivateBackward computes dx = dy · act′(x) for the activations GELU, GELUTanh
// and ReLU; with Store dx = dy.
//
// Shapes: all are (rows, cols) with strides lddx, lddy and ldx.
// Aliasing: dx may be dy or x with the same stride. Writes dx.
// Error: below 1e-6 of |dy| (measured over [-12, 12]).
func ActivateBackward(dx []float32, lddx int, dy []float32, lddy int, x []float32, ldx, rows, cols int, e Epilogue) {
	if e.Gated() {
		panic(fmt.Sprintf("kernel: ActivateBackward: epilogue %d is not an activation", e))
	}
	slope(dx, lddx, x, ldx, dy, lddy, rows, cols, e)
}

// GateBackward computes the gradients of y = act(gate)·up:
// dgate = dy·up·act′(gate) and dup = dy·act(gate).
//
// Shapes: dgate and dup are (rows, cols) with stride ldd, dy with stride lddy,
// gate and up with stride ldg. Aliasing: no output may overlap an input.
// Writes dgate and dup.
// Error: below 1e-6 of |dy|, times |up| for dgate and max(1, |gate|) for dup
// (measured over [-12, 12]).
func GateBackward(dgate, dup []float32, ldd int, dy []float32, lddy int, gate, up []float32, ldg, rows, cols int, e Epilogue) {
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("GateBackward: dgate", len(dgate), ldd, rows, cols)
	checkRows("GateBackward: dy", len(dy), lddy, rows, cols)
	checkRows("GateBackward: up", len(up), ldg, rows, cols)
	Gate(dup, ldd, gate, ldg, dy, lddy, rows, cols, e)
	times(dgate, ldd, dy, lddy, up, ldg, rows, cols)
	slope(dgate, ldd, gate, ldg, dgate, ldd, rows, cols, e)
}

// times computes dst = x·y, element by element.
func times(dst []float32, ldd int, x []float32, ldx int, y []float32, ldy, rows, cols int) {
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		n := min(m, rows-r)
		if active.level != Generic {
			timesAsm(dst[r*ldd:], ldd, x[r*ldx:], ldx, y[r*ldy:], ldy, n, cols)
			continue
		}
		for i := r; i < r+n; i++ {
			for j, v := range x[i*ldx:][:cols] {
				dst[i*ldd+j] = v * y[i*ldy+j]
			}
		}
	}
}

// slope computes dst = act′(x) · dy, the activation being that of a gated
// epilogue too. dst may be dy with the same stride.
func slope(dst []float32, ldd int, x []float32, ldx int, dy []float32, ldy, rows, cols int, e Epilogue) {
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("slope: dst", len(dst), ldd, rows, cols)
	checkRows("slope: x", len(x), ldx, rows, cols)
	checkRows("slope: dy", len(dy), ldy, rows, cols)
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		n := min(m, rows-r)
		if (e == GELU || e == SiLUMul) && active.level != Generic {
			slopeAsm(dst[r*ldd:], ldd, x[r*ldx:], ldx, dy[r*ldy:], ldy, n, cols, e)
			continue
		}
		for i := r; i < r+n; i++ {
			slopeRow(dst[i*ldd:][:cols], x[i*ldx:], dy[i*ldy:], e)
		}
	}
}

func slopeRow(dst, x, dy []float32, e Epilogue) {
	switch e {
	case Store:
		copy(dst, dy)
	case ReLU:
		reluSlope(dst, x, dy)
	case GELU:
		geluSlope(dst, x, dy)
	case SiLUMul:
		siluSlope(dst, x, dy)
	default:
		geluTanhSlope(dst, x, dy)
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
	mean := sum(x) * inv
	rstd := float32(1 / math.Sqrt(float64(sumSquares(x, mean)*inv+eps)))
	// Two sums each, so that an addition need not wait for the one before.
	var a0, a1, b0, b1 float32
	for i := 0; i+2 <= n; i += 2 {
		g0, g1 := dy[i]*w[i], dy[i+1]*w[i+1]
		a0, a1 = a0+g0, a1+g1
		b0, b1 = b0+g0*(x[i]-mean), b1+g1*(x[i+1]-mean)
	}
	if n%2 == 1 {
		g := dy[n-1] * w[n-1]
		a0, b0 = a0+g, b0+g*(x[n-1]-mean)
	}
	sg, sgx := (a0+a1)*inv, (b0+b1)*inv*rstd
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

// sum adds the elements up, four sums by index mod 4.
func sum(x []float32) float32 {
	var a, b, c, d float32
	for ; len(x) >= 4; x = x[4:] {
		a, b, c, d = a+x[0], b+x[1], c+x[2], d+x[3]
	}
	for _, v := range x {
		a += v
	}
	return a + b + (c + d)
}

// sumSquares adds up the squared differences from a mean, four sums by index mod
// 4.
func sumSquares(x []float32, mean float32) float32 {
	var a, b, c, d float32
	for ; len(x) >= 4; x = x[4:] {
		p, q, r, s := x[0]-mean, x[1]-mean, x[2]-mean, x[3]-mean
		a, b, c, d = a+p*p, b+q*q, c+r*r, d+s*s
	}
	for _, v := range x {
		a += (v - mean) * (v - mean)
	}
	return a + b + (c + d)
}
