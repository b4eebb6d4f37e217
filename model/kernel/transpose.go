package kernel

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
			if m == NR {
				// Row c of the buffer goes to row j+c of dst.
				_ = dst[(j+n-1)*ldd+i+NR-1] // the assembly trusts the length
				spreadRows(dst[j*ldd+i:], ldd, floats(buf[:]), 0, 1, n)
				continue
			}
			for c := range n {
				copy(d[(j+c)*ldd+i:][:m], buf[c*NR:])
			}
		}
	}
}
