package kernel

// PackRows packs rows of a matrix as panel columns: source row r becomes output
// column row+r. It serves weights, and the keys of attention, where the keys of
// a sequence are the columns of the score matrix.
//
// Shapes: dst is panels of stride panel elements, [k][NR] each; src is (rows, k)
// with row stride lds. Columns outside [row, row+rows) are left as they are.
func PackRows(dst []float32, panel, row int, src []float32, lds, rows, k int) {
	if rows <= 0 || k <= 0 {
		return
	}
	// Slicing checks the bounds without reading an element that another caller may be writing.
	d := words(dst[:(row+rows-1)/NR*panel+k*NR])
	s := words(src[:(rows-1)*lds+k])
	for r := 0; r < rows; {
		j := row + r
		n := min(rows-r, 16-j%16)
		packHalf(d[j/NR*panel:], j%NR, s[r*lds:], lds, n, k)
		r += n
	}
}

// PackCols packs rows of a matrix as panel rows: source row r becomes step
// k = step+r of every panel. It serves the values of attention, where the
// tokens are summed over.
//
// Shapes: dst is panels of stride panel elements, [panel/NR][NR] each; src is
// (rows, n) with row stride lds. Columns from n to Pad(n) are set to zero.
func PackCols(dst []float32, panel, step int, src []float32, lds, rows, n int) {
	packRowsAsSteps(dst, panel, step, src, lds, rows, n, NR, spreadRows)
}

// packRowsAsSteps makes rows of src the steps from step on of panels of some columns, whole ones
// by spread; columns from n to a whole panel are set to zero.
func packRowsAsSteps(dst []float32, panel, step int, src []float32, lds, rows, n, cols int,
	spread func(dst []float32, panel int, src []float32, lds, rows, panels int)) {
	if rows <= 0 || n <= 0 {
		return
	}
	whole := n / cols
	if whole > 0 {
		// The assembly trusts these lengths.
		_, _ = src[(rows-1)*lds+n-1], dst[(whole-1)*panel+(step+rows)*cols-1]
		for r, m := 0, rowsPerCall(n); r < rows; r += m {
			spread(dst[(step+r)*cols:], panel, src[r*lds:], lds, min(m, rows-r), whole)
		}
	}
	if n%cols == 0 {
		return
	}
	for r := range rows {
		d := dst[whole*panel+(step+r)*cols:][:cols]
		clear(d[copy(d, src[r*lds:][:n][whole*cols:]):])
	}
}

// LeftRows is the number of columns of A in a group of [PackLeft], one or two tiles, and
// LeftBlock the largest number of them that panels pass by at a time, see [RowBlock].
const (
	LeftRows  = 12
	LeftBlock = RowBlock / LeftRows * LeftRows
)

// PackLeft packs rows of a matrix A for products Aᵀ·P, which sum over them: source row r
// becomes step k = step+r of every group, a group being LeftRows columns of A.
//
// Shapes: dst is groups of stride group elements, [group/LeftRows][LeftRows] each; src is
// (rows, n) with row stride lds. Columns of the last group from n on are set to zero.
func PackLeft(dst []float32, group, step int, src []float32, lds, rows, n int) {
	packRowsAsSteps(dst, group, step, src, lds, rows, n, LeftRows, spreadLeft)
}

// PackRowsBF16 is [PackRows] in bfloat16: a step is a pair of neighbouring k.
//
// Shapes: dst is panels of stride panel dwords, [⌈k/2⌉][NR] each; src is
// (rows, k) with row stride lds. An odd k is completed with zero.
func PackRowsBF16(dst []uint32, panel, row int, src []float32, lds, rows, k int) {
	for r := 0; r < rows; {
		j := row + r
		n := min(rows-r, 16-j%16)
		packBF16(dst[j/NR*panel:], j%NR, src[r*lds:], lds, n, k)
		r += n
	}
}

// PackColsBF16 is [PackCols] in bfloat16: source row r becomes row step+r, and
// rows 2i and 2i+1 the two halves of step i. An odd last row is completed with
// zero, which a later call for the next row replaces.
//
// Shapes: dst is panels of stride panel dwords, [panel/NR][NR] each; src is
// (rows, n) with row stride lds. Columns from n to Pad(n) are set to zero.
func PackColsBF16(dst []uint32, panel, step int, src []float32, lds, rows, n int) {
	if rows <= 0 {
		return
	}
	if step%2 != 0 { // the other half of a step that is there
		for p := 0; p*NR < n; p++ {
			d := dst[p*panel+step/2*NR:][:NR]
			for j, v := range src[p*NR : min(n, (p+1)*NR)] {
				d[j] = d[j]&0xffff | uint32(bf16(v))<<16
			}
		}
		step, rows = step+1, rows-1
		if rows == 0 {
			return
		}
		src = src[lds:]
	}
	for p := 0; p*NR < n; p++ {
		cols := min(NR, n-p*NR)
		d := dst[p*panel+step/2*NR:]
		if pairs := rows / 2; pairs > 0 {
			_, _ = src[(2*pairs-1)*lds+p*NR+cols-1], d[pairs*NR-1]
			pairRows(d, src[p*NR:], lds, pairs, cols)
		}
		if rows%2 != 0 {
			last := d[rows/2*NR:][:NR]
			clear(last)
			for j, v := range src[(rows-1)*lds+p*NR:][:cols] {
				last[j] = uint32(bf16(v))
			}
		}
	}
}

// packSteps is how many steps of sixteen rows are converted at a time: 16 KB.
const packSteps = 256

// packBF16 converts rows of W, lds apart, to the columns [col, col+rows) of one
// half panel.
func packBF16(panel []uint32, col int, src []float32, lds, rows, k int) {
	var buf [16 * packSteps]uint32
	for k0 := 0; k0 < k; k0 += 2 * packSteps {
		k1 := min(k, k0+2*packSteps)
		for r := range rows {
			bf16Row(buf[r*packSteps:], src[r*lds+k0:r*lds+k1])
		}
		packHalf(panel[k0/2*NR:], col, buf[:], packSteps, rows, steps(BFloat16, k1-k0))
	}
}

// packInt8 converts rows of W to the columns [col, col+rows) of one half panel.
func packInt8(panel []uint32, col int, src []float32, rows, k int, scale []float32, start []int32) {
	var buf [16 * packSteps]uint32
	clear(start)
	var inv [16]float32
	for r := range rows {
		inv[r], scale[r] = quantScale(maxAbs(src[r*k:][:k]))
	}
	for k0 := 0; k0 < k; k0 += 4 * packSteps {
		k1 := min(k, k0+4*packSteps)
		for r := range rows {
			start[r] -= quantZero * quantRow(quads(buf[r*packSteps:]), src[r*k+k0:r*k+k1], inv[r], 0)
		}
		packHalf(panel[k0/4*NR:], col, buf[:], packSteps, rows, steps(Int8, k1-k0))
	}
}
