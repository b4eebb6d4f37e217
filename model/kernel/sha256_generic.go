package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"unsafe"
)

// The constants of FIPS 180-4: the first 32 bits of the fractional parts of the square
// roots of the first eight primes and of the cube roots of the first 64.
var sha256Start, sha256K = sha256Constants()

func sha256Constants() (start [8]uint32, k [64]uint32) {
	fraction := func(root float64) uint32 {
		_, frac := math.Modf(root)
		return uint32(frac * (1 << 32))
	}
	for n, p := 0, 2; n < len(k); p++ {
		prime := true
		for d := 2; d*d <= p; d++ {
			prime = prime && p%d != 0
		}
		if !prime {
			continue
		}
		if n < len(start) {
			start[n] = fraction(math.Sqrt(float64(p)))
		}
		k[n] = fraction(math.Cbrt(float64(p)))
		n++
	}
	return start, k
}

// sha256BlocksGeneric adds blocks of each text to its state, a text after the other.
//
// Source: FIPS 180-4, section 6.2.2.
func sha256BlocksGeneric(state *sha256State, texts *[sha256Lanes]*byte, blocks int) {
	for lane, text := range texts {
		p := unsafe.Slice(text, blocks*sha256.BlockSize)
		for ; len(p) > 0; p = p[sha256.BlockSize:] {
			sha256Block(state, lane, p[:sha256.BlockSize])
		}
	}
}

func sha256Block(state *sha256State, lane int, p []byte) {
	var w [64]uint32
	for t := range w {
		if t < 16 {
			w[t] = binary.BigEndian.Uint32(p[4*t:])
			continue
		}
		x, y := w[t-15], w[t-2]
		s0 := rotr(x, 7) ^ rotr(x, 18) ^ x>>3
		s1 := rotr(y, 17) ^ rotr(y, 19) ^ y>>10
		w[t] = w[t-16] + s0 + w[t-7] + s1
	}
	var v [8]uint32
	for i := range v {
		v[i] = state[i][lane]
	}
	for t := range w {
		a, b, c, e, f, g := v[0], v[1], v[2], v[4], v[5], v[6]
		s1 := rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)
		s0 := rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)
		t1 := v[7] + s1 + (e&f ^ ^e&g) + sha256K[t] + w[t]
		t2 := s0 + (a&b ^ a&c ^ b&c)
		v = [8]uint32{t1 + t2, a, b, c, v[3] + t1, e, f, g}
	}
	for i := range v {
		state[i][lane] += v[i]
	}
}

// rotr rotates x right by n bits, 0 < n < 32.
func rotr(x uint32, n int) uint32 { return x>>n | x<<(32-n) }
