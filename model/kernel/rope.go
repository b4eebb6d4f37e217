package kernel

import "fmt"

// RotateRows applies the rotary position embedding in its half-split form to the
// first 2·half elements of each of the heads: (x1, x2) becomes
// (x1·cos − x2·sin, x2·cos + x1·sin), x1 and x2 being the two halves. Row r is
// turned by row r of the tables: neighbouring tokens of a sequence have
// neighbouring rows of its cosines and sines.
//
// Shapes: x is (rows, heads·d) with stride ldx; cos and sin are (rows, half)
// with stride ldt; 2·half ≤ d.
// Source: Su et al. 2021, eq. 34; transformers apply_rotary_pos_emb.
func RotateRows(x []float32, ldx, rows, heads, d int, cos, sin []float32, ldt, half int) {
	if rows == 0 || heads == 0 || half == 0 {
		return
	}
	checkRows("RotateRows: x", len(x), ldx, rows, heads*d)
	checkRows("RotateRows: cos", len(cos), ldt, rows, half)
	checkRows("RotateRows: sin", len(sin), ldt, rows, half)
	if 2*half > d {
		panic(fmt.Sprintf("kernel: RotateRows: %d pairs in a head of %d", half, d))
	}
	for r, m := 0, rowsPerCall(heads*d); r < rows; r += m {
		rotate(x[r*ldx:], ldx, min(m, rows-r), heads, d, cos[r*ldt:], sin[r*ldt:], ldt, half)
	}
}
