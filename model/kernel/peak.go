package kernel

import "time"

// peakRuns and peakSpan: the best of many spans, short enough that some pass
// without an interruption.
const (
	peakRuns = 50
	peakSpan = time.Millisecond / 2
)

// Peak measures what one core can do at most in products of format d at the
// active level: the rate of a loop that holds nothing but the multiply-adds that
// the product itself uses, in 10⁹ operations a second, a multiply-add being two.
// It takes about 30 ms.
func Peak(d DType) float64 {
	loop, ops, _ := peakLoop(d)
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

// PeakOf says what the loop that [Peak] measures repeats, as "int8 dot products of 16
// quads": which of the processor's instructions products of format d use.
func PeakOf(d DType) string {
	_, _, what := peakLoop(d)
	return what
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
		read(x[:n])
		best = max(best, float64(n)/time.Since(t).Seconds()/1e9)
	}
	return best
}
