package kernel

// MatMul computes C = A·P for float32 panels that the caller packed with
// [PackRows] or [PackCols]: the two products of attention.
//
// Shapes: C is (m, n·NR) with stride ldc; A is (m, k) with stride lda; panels
// are n of [≥k][NR], panel elements apart. Writes C.
func MatMul(c []float32, ldc int, a []float32, lda int, panels []float32, panel, m, k, n int, s *Scratch) {
	mulF32(c, ldc, a, lda, panels, panel, m, k, n, false, s)
}

// MatMulAdd computes C += A·P for float32 panels that the caller packed with
// [PackRows] or [PackCols]. Each element is one ascending sum over k, added to C
// when it is finished: what a gradient accumulates, in one fixed order.
//
// Shapes and aliasing are those of [MatMul]. Accumulates into C.
func MatMulAdd(c []float32, ldc int, a []float32, lda int, panels []float32, panel, m, k, n int, s *Scratch) {
	if k > 0 {
		mulF32(c, ldc, a, lda, panels, panel, m, k, n, true, s)
	}
}

func mulF32(c []float32, ldc int, a []float32, lda int, panels []float32, panel, m, k, n int, add bool,
	s *Scratch) {
	if m <= 0 || n <= 0 {
		return
	}
	x := operand{lda: lda, words: 1, k: k, w: words(panels), panel: panel, n: n}
	split := narrows(Float32) && k > 0
	if split {
		x.narrow(s, k)
	}
	rows := blockRows(Float32, k)
	blocks := (m + rows - 1) / rows
	for b := range blocks {
		m0, m1 := b*m/blocks, (b+1)*m/blocks
		x.m = m1 - m0
		if split {
			for i := range x.m {
				x.convert(i, a[(m0+i)*lda:][:k])
			}
		} else {
			x.a = words(a[m0*lda:])
		}
		x.mul(c[m0*ldc:], ldc, add)
	}
}

// MatMulBF16 is [MatMul] in bfloat16, for panels of [PackRowsBF16] or
// [PackColsBF16]. A is rounded to bfloat16, an odd k completed with zero; sums
// are float32. It is meant for processors that have bfloat16
// ([HasBF16]); elsewhere it is right, and float32 is the better choice.
//
// Shapes: C is (m, n·NR) with stride ldc; A is (m, k) with stride lda; panels
// are n of [≥⌈k/2⌉][NR], panel dwords apart. Writes C.
func MatMulBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int, s *Scratch) {
	mulBF16(c, ldc, a, lda, panels, panel, m, k, n, false, s)
}

// MatMulAddBF16 is [MatMulAdd] in bfloat16, for panels of [PackRowsBF16] or
// [PackColsBF16]. A is rounded to bfloat16, an odd k completed with zero; sums
// are float32.
//
// Shapes and aliasing are those of [MatMulBF16]. Accumulates into C.
func MatMulAddBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int,
	s *Scratch) {
	if k > 0 {
		mulBF16(c, ldc, a, lda, panels, panel, m, k, n, true, s)
	}
}

func mulBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int,
	add bool, s *Scratch) {
	if m <= 0 || n <= 0 {
		return
	}
	blocks := (m + RowBlock - 1) / RowBlock
	for b := range blocks {
		m0, m1 := b*m/blocks, (b+1)*m/blocks
		x := operand{dtype: BFloat16, m: m1 - m0, w: panels, panel: panel, n: n}
		x.narrow(s, k)
		for i := range x.m {
			x.convert(i, a[(m0+i)*lda:][:k])
		}
		x.mul(c[m0*ldc:], ldc, add)
	}
}

// Reserve makes room for products in d of up to k columns of A.
func (s *Scratch) Reserve(d DType, k int) {
	if narrows(d) {
		x := operand{dtype: d}
		x.narrow(s, k)
	}
}
