package kernel

import "encoding/binary"

// peakGeneric does n·16 multiply-adds in plain Go in eight independent sums. Its
// result keeps the compiler from dropping them.
func peakGeneric(n int) float32 {
	var s [8]float32
	a, b := float32(n), float32(1)/float32(n+1)
	for range n {
		for range 2 {
			s[0] += a * b
			s[1] += a * b
			s[2] += a * b
			s[3] += a * b
			s[4] += a * b
			s[5] += a * b
			s[6] += a * b
			s[7] += a * b
		}
		a = b
	}
	return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]
}

// readGeneric reads x eight bytes at a time and returns what the compiler must
// not drop.
func readGeneric(x []byte) uint64 {
	var s [4]uint64
	for ; len(x) >= 32; x = x[32:] {
		s[0] ^= binary.LittleEndian.Uint64(x)
		s[1] ^= binary.LittleEndian.Uint64(x[8:])
		s[2] ^= binary.LittleEndian.Uint64(x[16:])
		s[3] ^= binary.LittleEndian.Uint64(x[24:])
	}
	return s[0] ^ s[1] ^ s[2] ^ s[3]
}
