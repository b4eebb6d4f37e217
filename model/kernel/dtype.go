package kernel

import (
	"fmt"
	"unsafe"
)

// DType is the number format in which weights are stored and multiplied.
// Accumulation is in float32 (int32 for Int8) in every case.
type DType uint8

// The number formats of packed weights.
const (
	Float32  DType = iota
	BFloat16       // weights and activations rounded to bfloat16 (nearest even)
	Int8           // weights per output channel, activations per row, both symmetric
	FP8            // e4m3, scaled as Int8; no kernel of this package: cards alone multiply it
)

// String returns the name used on the command line.
func (d DType) String() string {
	switch d {
	case Float32:
		return "float32"
	case BFloat16:
		return "bfloat16"
	case Int8:
		return "int8"
	case FP8:
		return "fp8"
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// ParseDType reads the name of a number format.
func ParseDType(s string) (DType, error) {
	for _, d := range []DType{Float32, BFloat16, Int8, FP8} {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("kernel: unknown dtype %q, want float32, bfloat16, int8 or fp8", s)
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

// words returns floats as dwords.
func words(x []float32) []uint32 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&x[0])), len(x))
}

// floats returns dwords as floats.
func floats(x []uint32) []float32 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&x[0])), len(x))
}

// quads returns dwords as bytes.
func quads(x []uint32) []uint8 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*uint8)(unsafe.Pointer(&x[0])), 4*len(x))
}

// halves returns dwords as 16-bit integers.
func halves(x []uint32) []int16 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*int16)(unsafe.Pointer(&x[0])), 2*len(x))
}
