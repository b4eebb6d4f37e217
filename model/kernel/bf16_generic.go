package kernel

import "math"

func roundBF16Generic(dst []uint16, src []float32) {
	for i, v := range src {
		u := math.Float32bits(v)
		if v != v {
			dst[i] = uint16(u>>16) | 0x40
			continue
		}
		dst[i] = uint16((u + 0x7fff + u>>16&1) >> 16)
	}
}

func widenBF16Generic(dst []float32, src []uint16) {
	for i, v := range src {
		dst[i] = math.Float32frombits(uint32(v) << 16)
	}
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

// Values whose parts make a row of three tiles, and the dwords of these.
const (
	splitBlock = 32
	splitWords = 3 * splitRows * splitBlock / 2
	splitRows  = 16 // of a tile
)

// split returns three bfloat16 whose sum is v: the first two are rounded to nearest,
// ties away from zero, and the third is what is left, which has 8 bits at most. An
// infinity, or what rounds to one, leaves a NaN. A part below the smallest normal number
// may lose bits, which products of them ignore.
func split(v float32) (parts [3]uint16) {
	for i := range 2 {
		h := (math.Float32bits(v) + 0x8000) & 0xffff0000
		parts[i] = uint16(h >> 16)
		v -= math.Float32frombits(h)
	}
	parts[2] = uint16(math.Float32bits(v) >> 16)
	return parts
}

func splitBF16Generic(dst []uint32, src []float32) {
	for k := 0; k < len(src); k += splitBlock {
		for i := range splitBlock / 2 {
			lo, hi := split(src[k+i]), split(src[k+i+splitBlock/2])
			for p := range lo {
				dst[k/splitBlock*splitWords+p*splitWords/3+i] = uint32(lo[p]) | uint32(hi[p])<<16
			}
		}
	}
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
