package kernel

import "math"

// What products of e4m3 read. Rows of both operands have [E4M3Width] bytes of values; those of the
// activations, which quantize_bf16 writes, end with their scale, those of weights have it in Scales.

const (
	// E4M3Largest is the largest number of eight bits with four of an exponent, which has neither
	// infinities nor more than two NaN.
	E4M3Largest = 448
	// least is what the largest value of a row is taken for at least, so that its scale is a number.
	least = 1e-30
)

// E4M3Width is how many bytes a row of k values has: the copy engine takes 16 at a time.
func E4M3Width(k int) int { return (k + 15) &^ 15 }

// E4M3Row is how many bytes a row of k values has with its scale.
func E4M3Row(k int) int { return E4M3Width(k) + 16 }

// QuantizeE4M3 writes a row of weights as e4m3, rounded to nearest even, and returns by what they are
// to be multiplied: dst[i]·scale ≈ src[i]. It does bit by bit what quantize_bf16 does.
func QuantizeE4M3(dst []byte, src []float32) (scale float32) {
	most := float32(least)
	for _, v := range src {
		if a := float32(math.Abs(float64(v))); a > most { // NaN is none
			most = a
		}
	}
	by := E4M3Largest / most
	for i, v := range src {
		dst[i] = E4M3(v * by)
	}
	return most / E4M3Largest
}

// E4M3 returns the bits of the nearest number, of two as near the even one. What is beyond is the
// largest, NaN stays.
func E4M3(f float32) byte {
	b := math.Float32bits(f)
	sign, a := byte(b>>24&0x80), b&0x7fffffff
	switch {
	case a > 0x7f800000:
		return 0x7f
	case a >= 0x43e00000: // 448
		return sign | 0x7e
	case a < 0x3c800000: // below 2⁻⁶ numbers are multiples of 2⁻⁹, which are the last bits of 2¹⁴
		return sign | byte(math.Float32bits(math.Float32frombits(a)+0x1p14))
	}
	return sign | byte((a+0x7ffff+a>>20&1)>>20-(127-7)<<3)
}
