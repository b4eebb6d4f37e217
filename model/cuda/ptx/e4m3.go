package ptx

import (
	"encoding/binary"
	"math"
	"sort"
)

// e4m3 holds the numbers of eight bits with four of an exponent, 7 less, and three of a mantissa.
// There is no infinity; 0x7f and 0xff are NaN.
var e4m3 = func() (out [256]float32) {
	for i := range out {
		exp, m := i>>3&15, float64(i&7)
		v := math.Ldexp(1+m/8, exp-7)
		switch {
		case i&0x7f == 0x7f:
			v = math.NaN()
		case exp == 0:
			v = math.Ldexp(m/8, -6)
		}
		out[i] = float32(math.Copysign(v, 64-float64(i&128)))
	}
	return out
}()

// toE4M3 returns the nearest of them, of two as near the even one, as cvt.rn.satfinite does.
func toE4M3(f float32) byte {
	sign := byte(math.Float32bits(f) >> 24 & 0x80)
	a := math.Abs(float64(f))
	if a != a {
		return 0x7f
	}
	i := sort.Search(0x7e, func(i int) bool { return float64(e4m3[i]) >= a }) // the largest for what is beyond
	if i > 0 && i < 0x7f {
		below, above := a-float64(e4m3[i-1]), float64(e4m3[i])-a
		if above >= 0 && (below < above || below == above && i&1 != 0) {
			i--
		}
	}
	return sign | byte(i)
}

// format is how tensor cores take 16 bytes of an operand.
type format struct {
	name  string
	n     int // values of 16 bytes
	widen func(b []byte, to []float32)
}

var formats = map[string]*format{
	"bf16": {"bf16", 8, func(b []byte, to []float32) {
		_ = b[15]
		for i := range to {
			to[i] = bfloat(binary.LittleEndian.Uint16(b[2*i:]))
		}
	}},
	"e4m3": {"e4m3", 16, func(b []byte, to []float32) {
		for i := range to {
			to[i] = e4m3[b[i]]
		}
	}},
}

// k is how many values of K an instruction takes, which are 32 bytes.
func (f *format) k() int { return 2 * f.n }
