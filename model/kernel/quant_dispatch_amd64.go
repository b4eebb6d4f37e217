//go:build amd64 && !noasm

package kernel

import (
	"math"
	"unsafe"
)

//go:generate go -C _asm run . -out .. -only quant

// transposeArgs is what the transpose reads; the assembly knows the fields by
// name. Rows that no lane wants must still be readable.
type transposeArgs struct {
	rows  [16]unsafe.Pointer // k dwords each
	dst   unsafe.Pointer     // column 0 or 16 of a panel [k][NR]
	k     int
	lanes uint32 // bit i: store row i
}

// bf16Row rounds x into dst, which holds whole pairs.
func bf16Row(dst []uint32, x []float32) {
	if active.bf16 && len(x) > 0 {
		_ = dst[(len(x)-1)/2]
		bf16RowAVX512(&dst[0], &x[0], len(x))
		return
	}
	bf16RowGeneric(dst, x)
}

// pairRows stores rows 2i and 2i+1 of up to NR columns as the halves of step i.
func pairRows(dst []uint32, src []float32, lds, pairs, cols int) {
	if active.bf16 {
		pairRowsAVX512(&dst[0], &src[0], 4*lds, pairs, cols)
		return
	}
	pairRowsGeneric(dst, src, lds, pairs, cols)
}

// maxAbs returns the largest |x|, NaN if there is one.
func maxAbs(x []float32) float32 {
	n := len(x) &^ 7
	switch {
	case active.level == AVX512 && len(x) > 0:
		return math.Float32frombits(maxAbsAVX512(&x[0], len(x)))
	case active.level == AVX2 && n > 0:
		return math.Float32frombits(max(maxAbsAVX2(&x[0], n), maxAbsGeneric(x[n:])))
	}
	return math.Float32frombits(maxAbsGeneric(x))
}

// quantRow stores x as bytes around zero in whole quads and returns Σ round(x·inv).
func quantRow(dst []uint32, x []float32, inv float32, zero int32) (sum int32) {
	if active.level == AVX512 && len(x) > 0 {
		_ = dst[(len(x)-1)/4]
		return quantRowAVX512((*uint8)(unsafe.Pointer(&dst[0])), &x[0], len(x), inv, zero)
	}
	return quantRowGeneric(quads(dst), x, inv, zero)
}

// quantInt16 stores round(x·inv) as int16, which fill dst, zero after the last.
func quantInt16(dst []uint32, x []float32, inv float32) {
	if len(dst) == 0 {
		return
	}
	d := unsafe.Slice((*int16)(unsafe.Pointer(&dst[0])), 2*len(dst))
	n := len(x) &^ 15
	if n > 0 {
		quantInt16AVX2(&d[:n][0], &x[0], n, inv)
	}
	for i, v := range x[n:] {
		d[n+i] = int16(quant(v, inv))
	}
	clear(d[len(x):])
}

// bf16Floats stores x rounded to bfloat16 as floats, which fill dst, zero after
// the last.
func bf16Floats(dst []uint32, x []float32) {
	n := len(x) &^ 7
	if n > 0 {
		_ = dst[n-1]
		bf16FloatsAVX2(&dst[0], &x[0], n)
	}
	for i, v := range x[n:] {
		dst[n+i] = uint32(bf16(v)) << 16
	}
	clear(dst[len(x):])
}

// packHalf stores rows of k dwords, each lds after the one before, as columns
// [col, col+rows) of the panel dst, all in the same half. The caller has checked
// the lengths.
func packHalf(dst []uint32, col int, src []uint32, lds, rows, k int) {
	if active.level != AVX512 || k == 0 {
		packHalfGeneric(dst, col, src, lds, rows, k)
		return
	}
	first := col % 16
	t := transposeArgs{dst: unsafe.Pointer(&dst[col&^15]), k: k, lanes: (1<<rows - 1) << first}
	for i := range t.rows {
		r := min(max(i-first, 0), rows-1)
		t.rows[i] = unsafe.Pointer(&src[r*lds])
	}
	transposeAVX512(&t)
}
