//go:build amd64 && !noasm

package kernel

//go:generate go -C _asm run . -out .. -only slope

// timesAsm computes dst = x·y. The caller has checked every length; there is at
// least one row and one column.
func timesAsm(dst []float32, ldd int, x []float32, ldx int, y []float32, ldy, rows, cols int) {
	if active.level == AVX512 {
		timesAVX512(&dst[0], 4*ldd, &x[0], 4*ldx, &y[0], 4*ldy, rows, cols)
	} else {
		timesAVX2(&dst[0], 4*ldd, &x[0], 4*ldx, &y[0], 4*ldy, rows, cols)
	}
}

// slopeAsm computes dst = act′(x)·dy for SiLUMul and GELU, the activations whose
// derivatives are in assembly. The caller has checked every length; there is at
// least one row and one column.
func slopeAsm(dst []float32, ldd int, x []float32, ldx int, dy []float32, ldy, rows, cols int, e Epilogue) {
	wide := active.level == AVX512
	switch {
	case e == SiLUMul && wide:
		siluSlopeAVX512(&dst[0], 4*ldd, &x[0], 4*ldx, &dy[0], 4*ldy, rows, cols)
	case e == SiLUMul:
		siluSlopeAVX2(&dst[0], 4*ldd, &x[0], 4*ldx, &dy[0], 4*ldy, rows, cols)
	case wide:
		geluSlopeAVX512(&dst[0], 4*ldd, &x[0], 4*ldx, &dy[0], 4*ldy, rows, cols)
	default:
		geluSlopeAVX2(&dst[0], 4*ldd, &x[0], 4*ldx, &dy[0], 4*ldy, rows, cols)
	}
}
