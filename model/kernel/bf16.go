package kernel

// RoundBF16 rounds src to bfloat16, to nearest even, into dst. Numbers beyond
// the largest finite bfloat16 become infinite and denormals stay denormal; a NaN
// becomes quiet and keeps its sign and upper bits. All levels give the same bits.
func RoundBF16(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for len(src) >= lanes {
		n := min(len(src), callElements) &^ (lanes - 1)
		roundBF16(dst[:n], src[:n])
		dst, src = dst[n:], src[n:]
	}
	roundBF16Generic(dst, src)
}

// WidenBF16 converts bfloat16 to float32, which is exact.
func WidenBF16(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	for len(src) >= lanes {
		n := min(len(src), callElements) &^ (lanes - 1)
		widenBF16(dst[:n], src[:n])
		dst, src = dst[n:], src[n:]
	}
	widenBF16Generic(dst, src)
}

// splitRow stores the parts of a row, see splitBF16, zero after the last value.
func splitRow(dst []uint32, x []float32) {
	n := len(x) &^ (splitBlock - 1)
	if n > 0 {
		_ = dst[(n/splitBlock-1)*splitWords+2*splitWords/3+splitBlock/2-1] // the assembly trusts it
		splitBF16(dst, x[:n])
	}
	if n < len(x) {
		var rest [splitBlock]float32
		copy(rest[:], x[n:])
		dst = dst[n/splitBlock*splitWords:]
		_ = dst[2*splitWords/3+splitBlock/2-1]
		splitBF16(dst, rest[:])
	}
}
