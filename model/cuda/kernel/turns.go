package kernel

import "math"

// Turns makes the table that the heads epilogues read of the one that rotate does:
// (positions, pairs) of {cos, sin}, as float16. What a thread needs of a position lies
// together: of pairs 2q and 2q+1 of every eight for q = 0, 1, 2, 3.
func Turns(turn []float32, pairs int) []uint16 {
	out := make([]uint16, len(turn))
	for i := range len(turn) / 2 {
		row, pair := i/pairs, i%pairs
		at := 2 * (row*pairs + pair%8/2*(pairs/4) + pair/8*2 + pair%2)
		out[at], out[at+1] = float16(turn[2*i]), float16(turn[2*i+1])
	}
	return out
}

// float16 rounds to the nearest, to even in the middle.
func float16(f float32) uint16 {
	b := math.Float32bits(f)
	sign, a := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case a > 0x7f800000:
		return sign | 0x7e00
	case a >= 0x477ff000: // 65520 and more
		return sign | 0x7c00
	case a < 0x38800000: // below 2^-14: so many times 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(a))*0x1p24))
	}
	a += 0xfff + a>>13&1
	return sign | uint16((a-0x38000000)>>13)
}
