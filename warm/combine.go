package warm

import "fmt"

// combine computes dst[i] = float32((Σₖ coefs[k]·columns[k][i]) / divisor).
//
// Shapes: every column has the length of dst; at least one column, as many coefficients.
// Writes: dst, which overlaps no column.
// Order: products in float64, rounded, then added in the order of k; one division; one rounding to
// float32. It is the same on every machine and for every length, to the bit. A product with 1 and a
// division by 1 are exact.
// Error bound: half a unit in the last place of the float32 plus, where the float64 sum is inexact,
// (M+1)·2⁻⁵³·Σ|coefs[k]·columns[k][i]|.
func combine(dst []float32, columns [][]float32, coefs []float64, divisor float64) {
	if len(columns) == 0 || len(columns) != len(coefs) {
		panic(fmt.Sprintf("warm: combine of %d columns and %d coefficients", len(columns), len(coefs)))
	}
	for _, c := range columns {
		if len(c) != len(dst) {
			panic(fmt.Sprintf("warm: combine: column of %d elements, want %d", len(c), len(dst)))
		}
	}
	done := combineVector(dst, columns, coefs, divisor)
	if done < len(dst) {
		combineGeneric(dst, columns, coefs, divisor, done)
	}
}
