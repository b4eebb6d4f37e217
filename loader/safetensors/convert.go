package safetensors

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// littleEndian says whether the machine stores numbers as the file does.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Decode writes the first len(dst) elements of src, little-endian values of a floating type, into dst.
//
// F32, BF16 and F16 are exact for every bit pattern (the payload of a signalling NaN survives where
// the processor moves it unchanged); F64 is rounded to nearest even, to infinity beyond the float32 range.
// It panics when src is too short or the type is not one of the four: both are the caller's bugs.
func Decode(dst []float32, src []byte, dtype DType) {
	if !dtype.Float() {
		panic("safetensors: Decode of dtype " + string(dtype))
	}
	src = src[:len(dst)*dtype.Bits()/8]
	switch dtype {
	case F32:
		decodeF32(dst, src)
	case BF16:
		decodeBF16(dst, src)
	case F16:
		decodeF16(dst, src)
	case F64:
		decodeF64(dst, src)
	}
}

func decodeF32(dst []float32, src []byte) {
	if littleEndian && len(dst) > 0 {
		// A byte view of dst has no alignment to respect, whatever src's address is.
		copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), 4*len(dst)), src)
		return
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

// decodeBF16: a bfloat16 is the upper half of a float32.
func decodeBF16(dst []float32, src []byte) {
	for len(dst) >= 8 && len(src) >= 16 {
		lo, hi := binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint64(src[8:])
		dst[0] = math.Float32frombits(uint32(lo) << 16)
		dst[1] = math.Float32frombits(uint32(lo) & 0xffff0000)
		dst[2] = math.Float32frombits(uint32(lo>>32) << 16)
		dst[3] = math.Float32frombits(uint32(lo>>32) & 0xffff0000)
		dst[4] = math.Float32frombits(uint32(hi) << 16)
		dst[5] = math.Float32frombits(uint32(hi) & 0xffff0000)
		dst[6] = math.Float32frombits(uint32(hi>>32) << 16)
		dst[7] = math.Float32frombits(uint32(hi>>32) & 0xffff0000)
		dst, src = dst[8:], src[16:]
	}
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

func decodeF16(dst []float32, src []byte) {
	for len(dst) >= 4 && len(src) >= 8 {
		v := binary.LittleEndian.Uint64(src)
		dst[0] = halfToFloat32(uint32(v) & 0xffff)
		dst[1] = halfToFloat32(uint32(v) >> 16)
		dst[2] = halfToFloat32(uint32(v>>32) & 0xffff)
		dst[3] = halfToFloat32(uint32(v >> 48))
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = halfToFloat32(uint32(binary.LittleEndian.Uint16(src[2*i:])))
	}
}

// halfToFloat32 converts the lower 16 bits of h. Shifted into place, the exponent of a half is too
// small by 127-15 = 112. Infinities and NaNs have the largest exponent of a half and get the largest of a
// float32. A subnormal gets the exponent 113, which adds 2^-14, and then loses the 2^-14: exact,
// and without arithmetic on float32 subnormals, which is slow on many processors.
func halfToFloat32(h uint32) float32 {
	sign, u := h&0x8000<<16, h&0x7fff<<13
	switch {
	case u >= 0x7c00<<13:
		u |= 0x7f800000
	case u >= 0x0400<<13:
		u += 112 << 23
	default:
		u = math.Float32bits(math.Float32frombits(u+113<<23) - 0x1p-14)
	}
	return math.Float32frombits(sign | u)
}

func decodeF64(dst []float32, src []byte) {
	for len(dst) >= 4 && len(src) >= 32 {
		dst[0] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src)))
		dst[1] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8:])))
		dst[2] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[16:])))
		dst[3] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[24:])))
		dst, src = dst[4:], src[32:]
	}
	for i := range dst {
		dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

// EncodeF32 writes src into dst as little-endian F32; dst must hold 4*len(src) bytes.
func EncodeF32(dst []byte, src []float32) {
	dst = dst[:4*len(src)]
	if littleEndian && len(src) > 0 {
		copy(dst, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(src))), 4*len(src)))
		return
	}
	for i, v := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

// EncodeBF16 writes src into dst as little-endian BF16, rounded to nearest even; dst must hold
// 2*len(src) bytes. Values beyond the largest bfloat16 become infinite; a NaN stays a NaN.
func EncodeBF16(dst []byte, src []float32) {
	dst = dst[:2*len(src)]
	for len(src) >= 4 && len(dst) >= 8 {
		v := uint64(toBF16(src[0])) | uint64(toBF16(src[1]))<<16 | uint64(toBF16(src[2]))<<32 | uint64(toBF16(src[3]))<<48
		binary.LittleEndian.PutUint64(dst, v)
		src, dst = src[4:], dst[8:]
	}
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], toBF16(v))
	}
}

func toBF16(v float32) uint16 {
	u := math.Float32bits(v)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40 // Quiet, since the cut could turn a NaN into an infinity.
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
