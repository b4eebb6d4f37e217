package kernel

import "math"

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

// maxAbs returns the largest |x|, NaN if there is one.
func maxAbs(x []float32) float32 {
	n := len(x) &^ 7
	b := maxBitsGeneric(x[n:])
	if n > 0 {
		b = max(b, maxBits(x[:n]))
	}
	return math.Float32frombits(b)
}

// quantWide stores round(x·inv) as int16, which fill dst, zero after the last.
func quantWide(dst []uint32, x []float32, inv float32) {
	d := halves(dst)
	n := len(x) &^ 15
	if n > 0 {
		quantInt16(d[:n], x[:n], inv)
	}
	quantInt16Generic(d[n:len(x)], x[n:], inv)
	clear(d[len(x):])
}
