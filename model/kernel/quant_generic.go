package kernel

import "math"

// maxBitsGeneric returns the bits of the largest |x|, of a NaN if there is one.
// As integers the bits of positive floats are in order, and NaN is above Inf.
func maxBitsGeneric(x []float32) uint32 {
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

func quantInt16Generic(dst []int16, x []float32, inv float32) {
	for i, v := range x {
		dst[i] = int16(quant(v, inv))
	}
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
