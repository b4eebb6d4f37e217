//go:build amd64 && !noasm

package kernel

//go:generate go -C _asm run . -out .. -only act
//go:generate go -C _asm run . -out .. -only norm
//go:generate go -C _asm run . -out .. -only rope
//go:generate go -C _asm run . -out .. -only rows
//go:generate go -C _asm run . -out .. -only softmax

// The functions here call the assembly of the active level, AVX2 or AVX512. The
// callers have checked every length; there is at least one row and one column.

// rowGroup is the number of rows of n elements that go through each step of a
// norm or of softmax together: 16 KB, a third of the first-level cache.
func rowGroup(n int) int { return min(max(4096/n, 1), 8) }

func rmsNormAsm(dst []float32, ldd int, x []float32, ldx, rows int, w []float32, eps float32) {
	n := len(w)
	if active.level == AVX512 {
		rmsNormAVX512(&dst[0], 4*ldd, &x[0], 4*ldx, &w[0], rows, n, rowGroup(n), eps, float32(n))
	} else {
		rmsNormAVX2(&dst[0], 4*ldd, &x[0], 4*ldx, &w[0], rows, n, rowGroup(n), eps, float32(n))
	}
}

// first is the address of b's first element, nil without one.
func first(b []float32) *float32 {
	if b == nil {
		return nil
	}
	return &b[0]
}

func layerNormAsm(dst []float32, ldd int, x []float32, ldx, rows int, w, b []float32, eps float32) {
	n := len(w)
	if active.level == AVX512 {
		layerNormAVX512(&dst[0], 4*ldd, &x[0], 4*ldx, &w[0], first(b), rows, n, rowGroup(n), eps, float32(n))
	} else {
		layerNormAVX2(&dst[0], 4*ldd, &x[0], 4*ldx, &w[0], first(b), rows, n, rowGroup(n), eps, float32(n))
	}
}

func softmaxAsm(s []float32, lds, rows, n int, p Span, scale float32) {
	high, low := powerScale(scale)
	least := -256 / high
	if active.level == AVX512 {
		softmaxAVX512(&s[0], 4*lds, rows, n, p.Lo, p.Hi, p.LoStep, p.HiStep, rowGroup(n), high, low, least)
	} else {
		softmaxAVX2(&s[0], 4*lds, rows, n, p.Lo, p.Hi, p.LoStep, p.HiStep, rowGroup(n), high, low, least)
	}
}

func rotateAsm(x []float32, ldx, rows, heads, d int, cos, sin []float32, ldt, half int) {
	if active.level == AVX512 {
		rotateAVX512(&x[0], 4*ldx, rows, heads, d, &cos[0], &sin[0], 4*ldt, half)
	} else {
		rotateAVX2(&x[0], 4*ldx, rows, heads, d, &cos[0], &sin[0], 4*ldt, half)
	}
}

func addToAsm(dst, x []float32) {
	if active.level == AVX512 {
		addToAVX512(&dst[0], &x[0], len(x))
	} else {
		addToAVX2(&dst[0], &x[0], len(x))
	}
}

func addScaledAsm(dst []float32, alpha float32, x []float32) {
	if active.level == AVX512 {
		addScaledAVX512(&dst[0], &x[0], len(x), alpha)
	} else {
		addScaledAVX2(&dst[0], &x[0], len(x), alpha)
	}
}

func dotAsm(a, b []float32) float32 {
	if active.level == AVX512 {
		return dotAVX512(&a[0], &b[0], len(a))
	}
	return dotAVX2(&a[0], &b[0], len(a))
}

func roundBF16Asm(dst []uint16, src []float32) {
	if active.level == AVX512 {
		roundBF16AVX512(&dst[0], &src[0], len(src))
	} else {
		roundBF16AVX2(&dst[0], &src[0], len(src))
	}
}

func widenBF16Asm(dst []float32, src []uint16) {
	if active.level == AVX512 {
		widenBF16AVX512(&dst[0], &src[0], len(src))
	} else {
		widenBF16AVX2(&dst[0], &src[0], len(src))
	}
}

func activateAsm(x []float32, ldx, rows, cols int, e Epilogue) {
	wide := active.level == AVX512
	switch {
	case e == GELU && wide:
		geluAVX512(&x[0], 4*ldx, rows, cols)
	case e == GELU:
		geluAVX2(&x[0], 4*ldx, rows, cols)
	case e == GELUTanh && wide:
		geluTanhAVX512(&x[0], 4*ldx, rows, cols)
	case e == GELUTanh:
		geluTanhAVX2(&x[0], 4*ldx, rows, cols)
	case wide:
		reluAVX512(&x[0], 4*ldx, rows, cols)
	default:
		reluAVX2(&x[0], 4*ldx, rows, cols)
	}
}

func gateAsm(dst []float32, ldd int, gate []float32, ldg int, up []float32, ldu, rows, cols int, e Epilogue) {
	wide := active.level == AVX512
	switch {
	case e == SiLUMul && wide:
		siluMulAVX512(&dst[0], 4*ldd, &gate[0], 4*ldg, &up[0], 4*ldu, rows, cols)
	case e == SiLUMul:
		siluMulAVX2(&dst[0], 4*ldd, &gate[0], 4*ldg, &up[0], 4*ldu, rows, cols)
	case wide:
		geluTanhMulAVX512(&dst[0], 4*ldd, &gate[0], 4*ldg, &up[0], 4*ldu, rows, cols)
	default:
		geluTanhMulAVX2(&dst[0], 4*ldd, &gate[0], 4*ldg, &up[0], 4*ldu, rows, cols)
	}
}

func softCapAsm(s []float32, lds, rows, n int, limit float32) {
	if active.level == AVX512 {
		softCapAVX512(&s[0], 4*lds, rows, n, 1/limit, limit)
	} else {
		softCapAVX2(&s[0], 4*lds, rows, n, 1/limit, limit)
	}
}
