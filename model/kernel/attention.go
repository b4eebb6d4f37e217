package kernel

// The two products of attention in bfloat16: queries by keys, and weights by
// values. They are meant for processors that multiply bfloat16 themselves
// ([HasBF16]); elsewhere they are right and slow, and float32 is the better choice.

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

// pairRowsGeneric stores rows 2i and 2i+1 as the halves of step i.
func pairRowsGeneric(dst []uint32, src []float32, lds, pairs, cols int) {
	for i := range pairs {
		d := dst[i*NR:][:NR]
		clear(d)
		lo, hi := src[2*i*lds:][:cols], src[(2*i+1)*lds:][:cols]
		for j, v := range lo {
			d[j] = uint32(bf16(v)) | uint32(bf16(hi[j]))<<16
		}
	}
}

// MatMulBF16 is [MatMul] in bfloat16, for panels of [PackRowsBF16] or
// [PackColsBF16]. A is rounded to bfloat16, an odd k completed with zero; sums
// are float32.
//
// Shapes: C is (m, n·NR) with stride ldc; A is (m, k) with stride lda; panels
// are n of [≥⌈k/2⌉][NR], panel dwords apart. Writes C.
func MatMulBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int, s *Scratch) {
	mulBF16(c, ldc, a, lda, panels, panel, m, k, n, false, s)
}

func mulBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int, add bool, s *Scratch) {
	if m <= 0 || n <= 0 {
		return
	}
	blocks := (m + RowBlock - 1) / RowBlock
	for b := range blocks {
		m0, m1 := b*m/blocks, (b+1)*m/blocks
		x := operand{dtype: BFloat16, m: m1 - m0, w: panels, panel: panel, n: n}
		x.low(s, k)
		for i := range x.m {
			x.convert(i, a[(m0+i)*lda:][:k])
		}
		x.mul(c[m0*ldc:], ldc, add)
	}
}

// ReserveBF16 makes room for [MatMulBF16] with up to k columns of A.
func (s *Scratch) ReserveBF16(k int) {
	x := operand{dtype: BFloat16}
	x.low(s, k)
}
