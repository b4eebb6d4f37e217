package kernel

import "time"

// peakRuns and peakSpan: the best of several spans of about a millisecond, short
// enough that some pass without an interruption.
const (
	peakRuns = 12
	peakSpan = time.Millisecond
)

// Peak measures what one core can do at most in products of format d at the
// active level: the rate of a loop that holds nothing but the multiply-adds that
// the product itself uses, in 10⁹ operations a second, a multiply-add being two.
// It takes about 30 ms.
func Peak(d DType) float64 {
	loop, ops := peakLoop(d)
	n := 1000
	for {
		t := time.Now()
		loop(n)
		if e := time.Since(t); e > peakSpan/2 {
			break
		}
		n *= 2
	}
	best := 0.0
	for range peakRuns {
		t := time.Now()
		loop(n)
		best = max(best, float64(n)*ops/time.Since(t).Seconds()/1e9)
	}
	return best
}

// ReadBandwidth measures how fast one core reads x from front to back, in 10⁹
// bytes a second, the best of runs passes. The level of memory that it measures
// is the smallest cache that holds x.
func ReadBandwidth(x []byte, runs int) float64 {
	n := len(x) &^ 511
	if n == 0 {
		return 0
	}
	best := 0.0
	for range runs {
		t := time.Now()
		readAll(x[:n])
		best = max(best, float64(n)/time.Since(t).Seconds()/1e9)
	}
	return best
}

// peakGeneric does n·16 multiply-adds in plain Go in eight independent sums.
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
	sink = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]
}

// sink keeps the compiler from dropping a measured loop.
var sink float32

func readGeneric(x []byte) {
	var s [8]uint64
	for len(x) >= 64 {
		for i := range s {
			s[i] ^= uint64(x[8*i]) | uint64(x[8*i+1])<<8 | uint64(x[8*i+2])<<16 | uint64(x[8*i+3])<<24 |
				uint64(x[8*i+4])<<32 | uint64(x[8*i+5])<<40 | uint64(x[8*i+6])<<48 | uint64(x[8*i+7])<<56
		}
		x = x[64:]
	}
	sink = float32(s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6] ^ s[7])
}
