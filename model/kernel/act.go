package kernel

import "fmt"

// Activate applies the activation e to every element: GELU, GELUTanh, ReLU or
// Tanh. Store leaves them as they are.
//
// Shapes: x is (rows, cols) with stride ldx.
// Error: below 1e-7 (GELU) and 3e-8 (GELUTanh) of absolute value beside 1.2e-7 of
// the result, measured densely over [-12, 12] and over every magnitude.
// NaN stays NaN. +Inf stays; −Inf becomes NaN (−Inf·0) as in the references,
// but 0 by ReLU.
func Activate(x []float32, ldx, rows, cols int, e Epilogue) {
	if rows == 0 || cols == 0 || e == Store {
		return
	}
	if e == Tanh {
		SoftCap(x, ldx, rows, cols, 1)
		return
	}
	if e != GELU && e != GELUTanh && e != ReLU {
		panic(fmt.Sprintf("kernel: Activate: epilogue %d is not an activation", e))
	}
	checkRows("Activate: x", len(x), ldx, rows, cols)
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		n := min(m, rows-r)
		switch e {
		case GELU:
			gelu(x[r*ldx:], ldx, n, cols)
		case GELUTanh:
			geluTanh(x[r*ldx:], ldx, n, cols)
		case ReLU:
			relu(x[r*ldx:], ldx, n, cols)
		}
	}
}

// Gate computes dst = act(gate)·up for the gated epilogues SiLUMul,
// GELUTanhMul and GELUMul.
//
// Shapes: dst, gate and up are (rows, cols) with strides ldd, ldg and ldu.
// Aliasing: dst may be gate or up with the same stride.
// Error and special values: those of the activation, times up.
func Gate(dst []float32, ldd int, gate []float32, ldg int, up []float32, ldu, rows, cols int, e Epilogue) {
	if rows == 0 || cols == 0 {
		return
	}
	if !e.Gated() {
		panic(fmt.Sprintf("kernel: Gate: epilogue %d is not gated", e))
	}
	checkRows("Gate: dst", len(dst), ldd, rows, cols)
	checkRows("Gate: gate", len(gate), ldg, rows, cols)
	checkRows("Gate: up", len(up), ldu, rows, cols)
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		n := min(m, rows-r)
		switch e {
		case SiLUMul:
			siluMul(dst[r*ldd:], ldd, gate[r*ldg:], ldg, up[r*ldu:], ldu, n, cols)
		case GELUTanhMul:
			geluTanhMul(dst[r*ldd:], ldd, gate[r*ldg:], ldg, up[r*ldu:], ldu, n, cols)
		case GELUMul:
			geluMul(dst[r*ldd:], ldd, gate[r*ldg:], ldg, up[r*ldu:], ldu, n, cols)
		}
	}
}

// geluMul is Gate for GELUMul, of two kernels through memory of its own.
func geluMul(dst []float32, ldd int, gate []float32, ldg int, up []float32, ldu, rows, cols int) {
	const room = 1024
	var buf [room]float32
	for c := 0; c < cols; c += room {
		n := min(room, cols-c)
		for r, m := 0, room/n; r < rows; r += m {
			k := min(m, rows-r)
			for i := range k {
				copy(buf[i*n:][:n], gate[(r+i)*ldg+c:])
			}
			gelu(buf[:], n, k, n)
			times(dst[r*ldd+c:], ldd, buf[:], n, up[r*ldu+c:], ldu, k, n)
		}
	}
}

// SoftCap replaces s by limit·tanh(s/limit), which bounds scores smoothly.
//
// Shapes: s is (rows, n) with stride lds. limit is positive and finite.
// Error: relative, below 4e-7, and 3e-7 at limit 1 (measured 3.2e-7 and 2.1e-7
// as for Activate). ±Inf becomes ±limit; NaN stays NaN.
// Source: Bello et al. 2016; transformers Gemma 2 (attn_logit_softcapping).
func SoftCap(s []float32, lds, rows, n int, limit float32) {
	if rows == 0 || n == 0 {
		return
	}
	checkRows("SoftCap: s", len(s), lds, rows, n)
	for r, m := 0, rowsPerCall(n); r < rows; r += m {
		softCap(s[r*lds:], lds, min(m, rows-r), n, limit)
	}
}
