package kernel

import (
	"math"
	"unsafe"
)

// Int8 products.
//
// A row x of activations becomes u8: q = round(x·127/m) + 128 with m = max|x|,
// and x ≈ (q − 128)·m/127. A row w of weights becomes s8 in the same way without
// the 128. The integer sum Σ q·w − 128·Σ w is exact, so that its order means
// nothing; it is scaled in float32: float(sum)·(m/127 · scale of w) + bias.
// A row that holds a NaN or an infinity yields no finite result.

// quantZero is what stands for zero in a quantised activation: the instruction
// wants one operand unsigned.
const quantZero = 128

// quantTiny is the largest |x| of a row that is quantised as if it were zero: its
// reciprocal would overflow.
const quantTiny = 0x1p-100

// quantScale returns the factor to integers and back for rows whose largest
// absolute value is m.
func quantScale(m float32) (inv, scale float32) {
	if m < quantTiny {
		return 0, 0
	}
	return 127 / m, m / 127
}

// maxAbsGeneric returns the bits of the largest |x|, of a NaN if there is one.
// As integers the bits of positive floats are in order, and NaN is above Inf.
func maxAbsGeneric(x []float32) uint32 {
	m := uint32(0)
	for _, v := range x {
		m = max(m, math.Float32bits(v)&^(1<<31))
	}
	return m
}

// quantRowGeneric stores round(x·inv) + zero, ties to even, one byte each, then
// zero up to whole quads. It returns Σ round(x·inv).
func quantRowGeneric(dst []uint8, x []float32, inv float32, zero int32) (sum int32) {
	for i, v := range x {
		q := quant(v, inv)
		sum += q
		dst[i] = uint8(q + zero)
	}
	for i := len(x); i < 4*steps(Int8, len(x)); i++ {
		dst[i] = uint8(zero)
	}
	return sum
}

// quant returns round(v·inv), ties to even, in [-127, 127]. What it returns for
// NaN only has to be the same everywhere: the scale of such a row is NaN or
// infinite.
func quant(v, inv float32) int32 {
	if y := v * inv; y == y {
		return int32(math.RoundToEven(float64(y)))
	}
	return -128
}

// bf16 rounds to the nearest bfloat16, ties to even. Denormals become zero of
// their sign, as in the processor's own conversion; NaN stays NaN.
func bf16(v float32) uint16 {
	b := math.Float32bits(v)
	switch {
	case b&0x7f800000 == 0:
		return uint16(b >> 16 & 0x8000)
	case v != v:
		return uint16(b>>16 | 0x40)
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// bf16RowGeneric stores x as pairs, the first of two in the lower half, and zero
// after an odd end.
func bf16RowGeneric(dst []uint32, x []float32) {
	for i := 0; i+1 < len(x); i += 2 {
		dst[i/2] = uint32(bf16(x[i])) | uint32(bf16(x[i+1]))<<16
	}
	if n := len(x); n%2 != 0 {
		dst[n/2] = uint32(bf16(x[n-1]))
	}
}

// quads returns dwords as bytes.
func quads(x []uint32) []uint8 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*uint8)(unsafe.Pointer(&x[0])), 4*len(x))
}

// steps returns how many four-byte steps a row of k values takes.
func steps(d DType, k int) int {
	switch d {
	case BFloat16:
		return (k + 1) / 2
	case Int8:
		return (k + 3) / 4
	}
	return k
}
