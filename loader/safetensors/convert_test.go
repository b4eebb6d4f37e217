package safetensors

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// halfValue is the definition of a half: (-1)^s 2^(e-15) 1.f, or (-1)^s 2^-14 0.f for subnormals.
func halfValue(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	e, f := int(h>>10&31), float64(h&1023)
	switch {
	case e == 31 && f == 0:
		return sign * math.Inf(1)
	case e == 31:
		return math.NaN()
	case e == 0:
		return sign * math.Ldexp(f, -24)
	}
	return sign * math.Ldexp(1+f/1024, e-15)
}

func TestDecodeF16IsExactForEveryHalf(t *testing.T) {
	src := make([]byte, 2<<16)
	for h := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*h:], uint16(h))
	}
	dst := make([]float32, 1<<16)
	Decode(dst, src, F16)
	for h, got := range dst {
		want := halfValue(uint16(h))
		if math.IsNaN(want) {
			require.True(t, math.IsNaN(float64(got)), "half %#04x", h)
			require.Equal(t, uint32(h&0x3ff)<<13, math.Float32bits(got)&0x7fffff, "payload of half %#04x", h)
		} else {
			require.Equal(t, math.Float32bits(float32(want)), math.Float32bits(got), "half %#04x", h)
		}
		require.Equal(t, h&0x8000 != 0, math.Signbit(float64(got)), "sign of half %#04x", h)
	}
}

func TestDecodeBF16IsExactForEveryBfloat16(t *testing.T) {
	src := make([]byte, 2<<16)
	for h := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*h:], uint16(h))
	}
	dst := make([]float32, 1<<16)
	Decode(dst, src, BF16)
	for h, got := range dst {
		require.Equal(t, uint32(h)<<16, math.Float32bits(got))
	}
	back := make([]byte, len(src))
	EncodeBF16(back, dst)
	for h := range 1 << 16 {
		got := binary.LittleEndian.Uint16(back[2*h:])
		if f := dst[h]; f != f {
			require.Equal(t, uint16(h)|0x40, got, "a NaN stays a NaN, quiet")
			continue
		}
		require.Equal(t, uint16(h), got)
	}
}

func TestDecodeF64RoundsToNearestEven(t *testing.T) {
	tests := []struct {
		name string
		in   float64
		want float32
	}{
		{"one", 1, 1},
		{"a tie goes down to even", 1 + 0x1p-24, 1},
		{"a tie goes up to even", 1 + 3*0x1p-24, 1 + 0x1p-22},
		{"just above a tie", 1 + 0x1p-24 + 0x1p-50, 1 + 0x1p-23},
		{"the smallest subnormal", 0x1p-149, 0x1p-149},
		{"half of it is a tie with zero", 0x1p-150, 0},
		{"beyond the range", 1e300, float32(math.Inf(1))},
		{"minus infinity", math.Inf(-1), float32(math.Inf(-1))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Five copies pass through the unrolled loop and the tail.
			var src []byte
			for range 5 {
				src = binary.LittleEndian.AppendUint64(src, math.Float64bits(tt.in))
			}
			dst := make([]float32, 5)
			Decode(dst, src, F64)
			for _, got := range dst {
				assert.Equal(t, math.Float32bits(tt.want), math.Float32bits(got))
			}
		})
	}
}

func TestEncodeBF16RoundsToNearestEven(t *testing.T) {
	tests := []struct {
		name string
		in   float32
		want uint16
	}{
		{"a tie goes down to even", math.Float32frombits(0x3f808000), 0x3f80},
		{"a tie goes up to even", math.Float32frombits(0x3f818000), 0x3f82},
		{"just above a tie", math.Float32frombits(0x3f808001), 0x3f81},
		{"just below a tie", math.Float32frombits(0x3f807fff), 0x3f80},
		{"minus zero", math.Float32frombits(0x80000000), 0x8000},
		{"the largest float32 becomes infinite", math.MaxFloat32, 0x7f80},
		{"a NaN whose upper half is an infinity", math.Float32frombits(0x7f800001), 0x7fc0},
		{"minus infinity", float32(math.Inf(-1)), 0xff80},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst := make([]byte, 2)
			EncodeBF16(dst, []float32{tt.in})
			assert.Equal(t, tt.want, binary.LittleEndian.Uint16(dst))
		})
	}
}

func TestDecodeKeepsToItsLengthAtEveryTail(t *testing.T) {
	for _, dtype := range []DType{F64, F32, BF16, F16} {
		t.Run(string(dtype), func(t *testing.T) {
			width := dtype.Bits() / 8
			for n := range 35 {
				for shift := range 4 { // Odd addresses of the source are legal.
					src := make([]byte, shift+n*width)
					for i := range n {
						v := src[shift+i*width:]
						switch dtype {
						case F64:
							binary.LittleEndian.PutUint64(v, math.Float64bits(float64(i)+1))
						case F32:
							binary.LittleEndian.PutUint32(v, math.Float32bits(float32(i)+1))
						case BF16:
							EncodeBF16(v, []float32{float32(i) + 1})
						case F16: // 2^(i-15), for which a half needs only the exponent
							binary.LittleEndian.PutUint16(v, uint16(i%30+1)<<10)
						}
					}
					buf := make([]float32, n+2)
					buf[0], buf[n+1] = -7, -7
					Decode(buf[1:n+1], src[shift:], dtype)
					require.Equal(t, float32(-7), buf[0])
					require.Equal(t, float32(-7), buf[n+1])
					for i := range n {
						want := float32(i) + 1
						if dtype == F16 {
							want = float32(math.Ldexp(1, i%30+1-15))
						}
						require.Equal(t, want, buf[i+1], "n %d, element %d", n, i)
					}
				}
			}
		})
	}
}

func TestDecodePanicsOnIntegers(t *testing.T) {
	assert.PanicsWithValue(t, "safetensors: Decode of dtype I64", func() { Decode(make([]float32, 1), make([]byte, 8), "I64") })
}

func BenchmarkDecode(b *testing.B) {
	const n = 1 << 14 // 64 KiB of float32: the loop, not the memory
	dst := make([]float32, n)
	for _, dtype := range []DType{F32, BF16, F16, F64} {
		b.Run(string(dtype), func(b *testing.B) {
			src := make([]byte, n*dtype.Bits()/8)
			for i := range src {
				src[i] = byte(i%251) & 0x3f // Finite values of every type.
			}
			b.SetBytes(4 * n) // of float32 written
			for b.Loop() {
				Decode(dst, src, dtype)
			}
		})
	}
}

func BenchmarkEncodeBF16(b *testing.B) {
	src, dst := make([]float32, 1<<14), make([]byte, 2<<14)
	for i := range src {
		src[i] = float32(i)
	}
	b.SetBytes(int64(4 * len(src)))
	for b.Loop() {
		EncodeBF16(dst, src)
	}
}
