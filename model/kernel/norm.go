package kernel

// RMSNorm computes dst = x / √(mean(x²) + eps) · w for one row.
// dst may be x. Source: transformers LlamaRMSNorm.
func RMSNorm(dst, x, w []float32, eps float32) {
	RMSNormRows(dst, len(x), x, len(x), 1, w[:len(x)], eps)
}

// LayerNorm computes dst = (x − mean) / √(var + eps) · w + b for one row, with
// the population variance; b may be nil. dst may be x. Source: torch LayerNorm.
func LayerNorm(dst, x, w, b []float32, eps float32) {
	LayerNormRows(dst, len(x), x, len(x), 1, w[:len(x)], b, eps)
}

// RMSNormRows is [RMSNorm] for rows of len(w) elements.
//
// Shapes: dst and x are (rows, len(w)) with strides ldd and ldx.
// Aliasing: dst may be x with the same stride.
// Error: relative, below 3e-7 (measured 2e-7, rows of up to 4096 normal
// deviates). The sum has sixty-four lanes by index mod 64.
// A NaN makes the whole row NaN; an infinite element becomes NaN and the others 0.
func RMSNormRows(dst []float32, ldd int, x []float32, ldx, rows int, w []float32, eps float32) {
	cols := len(w)
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("RMSNormRows: dst", len(dst), ldd, rows, cols)
	checkRows("RMSNormRows: x", len(x), ldx, rows, cols)
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		rmsNormRows(dst[r*ldd:], ldd, x[r*ldx:], ldx, min(m, rows-r), w, eps)
	}
}

func rmsNormRows(dst []float32, ldd int, x []float32, ldx, rows int, w []float32, eps float32) {
	if active.level != Generic {
		rmsNormAsm(dst, ldd, x, ldx, rows, w, eps)
		return
	}
	for r := range rows {
		rmsNorm(dst[r*ldd:][:len(w)], x[r*ldx:][:len(w)], w, eps)
	}
}

// LayerNormRows is [LayerNorm] for rows of len(w) elements.
//
// Shapes: dst and x are (rows, len(w)) with strides ldd and ldx; b is len(w)
// long or nil. Aliasing: dst may be x with the same stride.
// Error: below 2e-7 of |w|·rstd·(|mean| + |x − mean|) + |y| (measured 1.2e-7,
// rows as for RMSNormRows with a mean of ten deviations). Lanes are as there.
// A NaN or an infinite element makes the whole row NaN.
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
		layerNormRows(dst[r*ldd:], ldd, x[r*ldx:], ldx, min(m, rows-r), w, b, eps)
	}
}

func layerNormRows(dst []float32, ldd int, x []float32, ldx, rows int, w, b []float32, eps float32) {
	if active.level != Generic {
		layerNormAsm(dst, ldd, x, ldx, rows, w, b, eps)
		return
	}
	for r := range rows {
		layerNorm(dst[r*ldd:][:len(w)], x[r*ldx:][:len(w)], w, b, eps)
	}
}

// AddRMSNormRows adds x to the residual stream and normalises that, in one pass
// less over memory: res += x, dst = RMSNorm(res). The bits are those of the two
// steps done one after the other.
//
// Shapes: dst, res and x are (rows, len(w)) with strides ldd, ldr and ldx.
// Aliasing: dst may be res or x with the same stride. Accumulates into res.
func AddRMSNormRows(dst []float32, ldd int, res []float32, ldr int, x []float32, ldx, rows int, w []float32, eps float32) {
	cols := len(w)
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("AddRMSNormRows: dst", len(dst), ldd, rows, cols)
	checkRows("AddRMSNormRows: res", len(res), ldr, rows, cols)
	checkRows("AddRMSNormRows: x", len(x), ldx, rows, cols)
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		n := min(m, rows-r)
		if active.level != Generic {
			addRMSNormAsm(dst[r*ldd:], ldd, res[r*ldr:], ldr, x[r*ldx:], ldx, n, w, eps)
			continue
		}
		for i := r; i < r+n; i++ {
			y := res[i*ldr:][:cols]
			addTo(y, x[i*ldx:][:cols])
			rmsNorm(dst[i*ldd:][:cols], y, w, eps)
		}
	}
}

// AddLayerNormRows is [AddRMSNormRows] with LayerNorm; b may be nil.
func AddLayerNormRows(dst []float32, ldd int, res []float32, ldr int, x []float32, ldx, rows int, w, b []float32, eps float32) {
	cols := len(w)
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("AddLayerNormRows: dst", len(dst), ldd, rows, cols)
	checkRows("AddLayerNormRows: res", len(res), ldr, rows, cols)
	checkRows("AddLayerNormRows: x", len(x), ldx, rows, cols)
	if b != nil {
		b = b[:cols]
	}
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		n := min(m, rows-r)
		if active.level != Generic {
			addLayerNormAsm(dst[r*ldd:], ldd, res[r*ldr:], ldr, x[r*ldx:], ldx, n, w, b, eps)
			continue
		}
		for i := r; i < r+n; i++ {
			y := res[i*ldr:][:cols]
			addTo(y, x[i*ldx:][:cols])
			layerNorm(dst[i*ldd:][:cols], y, w, b, eps)
		}
	}
}
