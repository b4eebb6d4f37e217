package kernel

// RMSNormRows computes dst = x / √(mean(x²) + eps) · w for rows of len(w)
// elements.
//
// Shapes: dst and x are (rows, len(w)) with strides ldd and ldx.
// Aliasing: dst may be x with the same stride.
// Error: relative, below 3e-7 (measured 2e-7, rows of up to 4096 normal
// deviates). The sum has sixty-four lanes by index mod 64.
// A NaN makes the whole row NaN; an infinite element becomes NaN and the others 0.
// Source: transformers LlamaRMSNorm.
func RMSNormRows(dst []float32, ldd int, x []float32, ldx, rows int, w []float32, eps float32) {
	cols := len(w)
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("RMSNormRows: dst", len(dst), ldd, rows, cols)
	checkRows("RMSNormRows: x", len(x), ldx, rows, cols)
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		rmsNorm(dst[r*ldd:], ldd, x[r*ldx:], ldx, min(m, rows-r), w, eps)
	}
}

// LayerNormRows computes dst = (x − mean) / √(var + eps) · w + b for rows of
// len(w) elements, with the population variance; b may be nil.
//
// Shapes: dst and x are (rows, len(w)) with strides ldd and ldx; b is len(w)
// long or nil. Aliasing: dst may be x with the same stride.
// Error: below 2e-7 of |w|·rstd·(|mean| + |x − mean|) + |y| (measured 1.2e-7,
// rows as for RMSNormRows with a mean of ten deviations). Lanes are as there.
// A NaN or an infinite element makes the whole row NaN.
// Source: torch LayerNorm.
func LayerNormRows(dst []float32, ldd int, x []float32, ldx, rows int, w, b []float32, eps float32) {
	cols := len(w)
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("LayerNormRows: dst", len(dst), ldd, rows, cols)
	checkRows("LayerNormRows: x", len(x), ldx, rows, cols)
	if b != nil {
		b = b[:cols]
	}
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		layerNorm(dst[r*ldd:], ldd, x[r*ldx:], ldx, min(m, rows-r), w, b, eps)
	}
}
