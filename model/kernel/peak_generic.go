package kernel

import (
	"encoding/binary"
	"runtime"
)

// peakGenericOps is what one count of peakGeneric does, of peakGenericWhat.
const (
	peakGenericOps  = 32
	peakGenericWhat = "float32 multiplications and additions in plain Go"
)

// peakGeneric does n·16 multiply-adds in plain Go in eight independent sums, which
// the compiler must not drop.
func peakGeneric(n int) {
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
	runtime.KeepAlive(s)
}

// readGeneric reads x eight bytes at a time.
func readGeneric(x []byte) {
	var s [4]uint64
	for ; len(x) >= 32; x = x[32:] {
		s[0] ^= binary.LittleEndian.Uint64(x)
		s[1] ^= binary.LittleEndian.Uint64(x[8:])
		s[2] ^= binary.LittleEndian.Uint64(x[16:])
		s[3] ^= binary.LittleEndian.Uint64(x[24:])
	}
	runtime.KeepAlive(s)
}
