//go:build amd64 && !noasm

package kernel

//go:generate go -C _asm run . -out .. -only learn

// The functions here call the assembly of the active level, AVX2 or AVX512. The
// callers have checked every length; there is at least one row and one column.

func sumAsm(x []float32) float32 {
	if active.level == AVX512 {
		return sumAVX512(&x[0], len(x))
	}
	return sumAVX2(&x[0], len(x))
}

func sumSquaresAsm(x []float32, mean float32) float32 {
	if active.level == AVX512 {
		return sumSquaresAVX512(&x[0], len(x), mean)
	}
	return sumSquaresAVX2(&x[0], len(x), mean)
}

func tripleDotAsm(a, b, x []float32, mean float32) float32 {
	if active.level == AVX512 {
		return tripleDotAVX512(&a[0], &b[0], &x[0], len(x), mean)
	}
	return tripleDotAVX2(&a[0], &b[0], &x[0], len(x), mean)
}

func normSlopeAsm(dx, dw, dy, x, w []float32, s normStep) {
	add := 0
	if s.add {
		add = 1
	}
	if active.level == AVX512 {
		normSlopeAVX512(&dx[0], &dw[0], &dy[0], &x[0], &w[0], len(x), add, s.mean, s.rstd, s.shift, s.turn)
	} else {
		normSlopeAVX2(&dx[0], &dw[0], &dy[0], &x[0], &w[0], len(x), add, s.mean, s.rstd, s.shift, s.turn)
	}
}

func siluBackwardAsm(dgate, dup []float32, ldd int, dy []float32, lddy int, gate, up []float32, ldg, rows, cols int) {
	if active.level == AVX512 {
		siluBackwardAVX512(&dgate[0], &dup[0], 4*ldd, &dy[0], 4*lddy, &gate[0], &up[0], 4*ldg, rows, cols)
	} else {
		siluBackwardAVX2(&dgate[0], &dup[0], 4*ldd, &dy[0], 4*lddy, &gate[0], &up[0], 4*ldg, rows, cols)
	}
}

func adamWAsm(w, grad, m, v []float32, s *AdamWStep) {
	inv := 1 / s.Root
	if active.level == AVX512 {
		adamWAVX512(&w[0], &grad[0], &m[0], &v[0], len(w), s.Keep, s.Beta1, s.Rest1, s.Beta2, s.Rest2, inv, s.Eps, s.Step)
	} else {
		adamWAVX2(&w[0], &grad[0], &m[0], &v[0], len(w), s.Keep, s.Beta1, s.Rest1, s.Beta2, s.Rest2, inv, s.Eps, s.Step)
	}
}

func spreadRowsAsm(dst []float32, panel int, src []float32, lds, rows, panels int) {
	if active.level == AVX512 {
		spreadRowsAVX512(&dst[0], 4*panel, &src[0], 4*lds, rows, panels)
	} else {
		spreadRowsAVX2(&dst[0], 4*panel, &src[0], 4*lds, rows, panels)
	}
}
