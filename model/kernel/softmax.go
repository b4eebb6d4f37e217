package kernel

import "math"

// Span is the part of each row of a block that is in use: row r has the columns
// [Lo + r·LoStep, Hi + r·HiStep), cut to those that exist. All keys are steps 0;
// a causal block is HiStep 1, with a sliding window LoStep 1 as well.
type Span struct {
	Lo, Hi         int
	LoStep, HiStep int // any sign
}

// Softmax replaces s[lo:hi] by softmax(scale·s[lo:hi]) and every other element
// of s by zero. The lane of an element in the sum is its index mod 16.
func Softmax(s []float32, lo, hi int, scale float32) {
	_ = s[lo:hi]
	SoftmaxRows(s, len(s), 1, len(s), Span{Lo: lo, Hi: hi}, scale)
}

// SoftmaxRows replaces the span of each row by its softmax and the row's other
// columns by zero: w = exp(scale·(s − max s)) / Σ exp(scale·(s − max s)).
// An empty span makes a row of zeros.
//
// The bits of a row depend on its elements in use and on their indices mod 16
// alone, not on what surrounds them.
//
// Shapes: s is (rows, n) with stride lds. scale must not be negative.
// Error: the exponential has a relative error below 2e-7 (measured over
// [-87, 0]) with respect to the rounded difference s − max s; it is exactly 1 at
// 0. Denormal exponentials and weights, those below 2⁻¹²⁶, become zero.
// A NaN or +Inf in use makes the whole span NaN, as does a span of −Inf alone;
// −Inf beside finite numbers has weight 0.
func SoftmaxRows(s []float32, lds, rows, n int, span Span, scale float32) {
	if rows == 0 || n == 0 {
		return
	}
	checkRows("SoftmaxRows: s", len(s), lds, rows, n)
	m := rowsPerCall(n)
	for r := 0; r < rows; r += m {
		part := span
		part.Lo += r * span.LoStep
		part.Hi += r * span.HiStep
		softmax(s[r*lds:], lds, min(m, rows-r), n, part, scale)
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

// powerScale returns scale/ln 2, which turns exp into 2^x, as a float32;
// powerScaleRest is what that leaves.
func powerScale(scale float32) float32 { return float32(float64(scale) * math.Log2E) }

func powerScaleRest(scale float32) float32 {
	p := float64(float64(scale) * math.Log2E) // rounded, not fused
	return float32(p - float64(float32(p)))
}
