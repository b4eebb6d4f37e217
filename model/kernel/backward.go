package kernel

// MatMulAdd computes C += A·P for float32 panels that the caller packed with
// [PackRows] or [PackCols]. Each element is one ascending sum over k, added to C
// when it is finished: what a gradient accumulates, in one fixed order.
//
// Shapes and aliasing are those of [MatMul]. Accumulates into C.
func MatMulAdd(c []float32, ldc int, a []float32, lda int, panels []float32, panel, m, k, n int) {
	if m <= 0 || n <= 0 || k <= 0 {
		return
	}
	x := operand{lda: lda, words: 1, k: k, w: words(panels), panel: panel, n: n}
	blocks := (m + RowBlock - 1) / RowBlock
	for b := range blocks {
		m0, m1 := b*m/blocks, (b+1)*m/blocks
		x.a, x.m = words(a[m0*lda:]), m1-m0
		x.mul(c[m0*ldc:], ldc, true)
	}
}

// MatMulAddBF16 is [MatMulAdd] in bfloat16, for panels of [PackRowsBF16] or
// [PackColsBF16]. A is rounded to bfloat16, an odd k completed with zero; sums
// are float32.
//
// Shapes and aliasing are those of [MatMulBF16]. Accumulates into C.
func MatMulAddBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int, s *Scratch) {
	if k > 0 {
		mulBF16(c, ldc, a, lda, panels, panel, m, k, n, true, s)
	}
}

// transposeCols is how many columns are turned at a time, 8 KB of a core's first
// cache.
const transposeCols = 64

// Transpose computes dst = srcᵀ: dst[j][i] = src[i][j].
//
// Shapes: src is (rows, cols) with stride lds; dst is (cols, rows) with stride
// ldd. Aliasing: dst must not overlap src. Writes dst. Disjoint rows of src may
// be transposed concurrently.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("Transpose: src", len(src), lds, rows, cols)
	checkRows("Transpose: dst", len(dst), ldd, cols, rows)
	d, s := words(dst), words(src)
	var buf [transposeCols * NR]uint32
	for i := 0; i < rows; i += NR {
		m := min(NR, rows-i)
		for j := 0; j < cols; j += transposeCols {
			n := min(transposeCols, cols-j)
			packHalf(buf[:], 0, s[i*lds+j:], lds, min(m, NR/2), n)
			if m > NR/2 {
				packHalf(buf[:], NR/2, s[(i+NR/2)*lds+j:], lds, m-NR/2, n)
			}
			if m == NR && active.level != Generic {
				// Row c of the buffer goes to row j+c of dst.
				_ = dst[(j+n-1)*ldd+i+NR-1]
				spreadRowsAsm(dst[j*ldd+i:], ldd, floats(buf[:]), 0, 1, n)
				continue
			}
			if m == NR {
				for c := range n {
					*(*[NR]uint32)(d[(j+c)*ldd+i:]) = [NR]uint32(buf[c*NR:])
				}
				continue
			}
			for c := range n {
				copy(d[(j+c)*ldd+i:][:m], buf[c*NR:])
			}
		}
	}
}
