package kernel

import "math"

// RMSNormBackward computes the gradients of one row of y = x·rstd·w:
// dx = rstd·(g − x̂·mean(g·x̂)) with g = dy·w and x̂ = x·rstd; dw += dy·x̂.
//
// Shapes: all have the length of x. Aliasing: dx may be dy.
// Writes dx, or with add accumulates into it; accumulates into dw.
func RMSNormBackward(dx, dw, dy, x, w []float32, eps float32, add bool) {
	n := len(x)
	if n == 0 {
		return
	}
	dx, dw, dy, w = dx[:n], dw[:n], dy[:n], w[:n]
	inv := 1 / float32(n)
	rstd := float32(1 / math.Sqrt(float64(Dot(x, x)*inv+eps)))
	turn := tripleDot(dy, w, x, 0) * rstd * inv
	normSlope(dx, dw, dy, x, w, normStep{rstd: rstd, turn: turn, add: add})
}

// LayerNormBackward computes the gradients of one row of y = x̂·w + b with
// x̂ = (x − mean)·rstd: dx = rstd·(g − mean(g) − x̂·mean(g·x̂)) with g = dy·w;
// dw += dy·x̂ and db += dy.
//
// Shapes: all have the length of x. Aliasing: dx may be dy.
// Writes dx, or with add accumulates into it; accumulates into dw and db.
func LayerNormBackward(dx, dw, db, dy, x, w []float32, eps float32, add bool) {
	n := len(x)
	if n == 0 {
		return
	}
	dx, dw, db, dy, w = dx[:n], dw[:n], db[:n], dy[:n], w[:n]
	inv := 1 / float32(n)
	mean := sum(x) * inv
	rstd := float32(1 / math.Sqrt(float64(sumSquares(x, mean)*inv+eps)))
	shift := Dot(dy, w) * inv
	turn := tripleDot(dy, w, x, mean) * rstd * inv
	AddTo(db, dy)
	normSlope(dx, dw, dy, x, w, normStep{mean: mean, rstd: rstd, shift: shift, turn: turn, add: add})
}

// normStep is what the gradient of a norm's row takes beside the row: with
// x̂ = (x − mean)·rstd, dx = rstd·(dy·w − shift − x̂·turn).
type normStep struct {
	mean, rstd, shift, turn float32
	add                     bool // dx is added to
}

// normSlope writes dx, or adds to it, and adds dy·x̂ to dw.
func normSlope(dx, dw, dy, x, w []float32, s normStep) {
	if active.level != Generic {
		normSlopeAsm(dx, dw, dy, x, w, s)
		return
	}
	for i, d := range dy {
		xh := (x[i] - s.mean) * s.rstd
		dw[i] += d * xh
		v := s.rstd * (d*w[i] - s.shift - xh*s.turn)
		if s.add {
			v += dx[i]
		}
		dx[i] = v
	}
}

// sum adds the elements up, in the lanes of [Dot].
func sum(x []float32) float32 {
	if active.level != Generic {
		return sumAsm(x)
	}
	var l [rowLanes]float32
	for i, v := range x {
		l[i%rowLanes] += v
	}
	return sumLanes(l[:])
}

// sumSquares adds up the squared differences from a mean, in the lanes of [Dot].
func sumSquares(x []float32, mean float32) float32 {
	if active.level != Generic {
		return sumSquaresAsm(x, mean)
	}
	var l [rowLanes]float32
	for i, v := range x {
		l[i%rowLanes] += (v - mean) * (v - mean)
	}
	return sumLanes(l[:])
}

// tripleDot adds up a·b·(x − mean), in the lanes of [Dot].
func tripleDot(a, b, x []float32, mean float32) float32 {
	if active.level != Generic {
		return tripleDotAsm(a, b, x, mean)
	}
	var l [rowLanes]float32
	for i, v := range x {
		l[i%rowLanes] += a[i] * b[i] * (v - mean)
	}
	return sumLanes(l[:])
}
