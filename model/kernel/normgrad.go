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
	mean := float32(sum(x) * inv) // rounded, not fused into what follows, whatever is inlined
	rstd := float32(1 / math.Sqrt(float64(sumSquares(x, mean)*inv+eps)))
	shift := float32(Dot(dy, w) * inv)
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

// adding is add as the assembly takes it.
func (s normStep) adding() int {
	if s.add {
		return 1
	}
	return 0
}
