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

// bf16FloatsGeneric stores x rounded by bf16 as floats.
func bf16FloatsGeneric(dst []uint32, x []float32) {
	for i, v := range x {
		dst[i] = uint32(bf16(v)) << 16
	}
}
