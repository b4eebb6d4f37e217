package kernel

import "fmt"

// callElements bounds the elements that one call of an assembly function works
// on, because the runtime cannot stop a goroutine in one: about 10 µs from
// cache, and below 100 µs from memory. A longer row is one call all the same.
const callElements = 1 << 16

// rowsPerCall is the number of rows of cols elements that make one call.
func rowsPerCall(cols int) int { return max(1, callElements/cols) }

// checkRows panics unless n elements hold (rows, cols) with stride ld. The
// assembly trusts the lengths that it has seen.
func checkRows(what string, n, ld, rows, cols int) {
	if rows < 0 || cols < 0 || ld < cols && rows > 1 || n < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernel: %s has %d elements, stride %d, want (%d, %d)", what, n, ld, rows, cols))
	}
}

// AddTo computes dst += x.
func AddTo(dst, x []float32) {
	dst = dst[:len(x)]
	if active.level == Generic {
		addTo(dst, x)
		return
	}
	for len(x) > 0 {
		n := min(len(x), callElements)
		addToAsm(dst[:n], x[:n])
		dst, x = dst[n:], x[n:]
	}
}

// AddScaled computes dst += alpha·x: a step of an average or of an optimiser.
func AddScaled(dst []float32, alpha float32, x []float32) {
	dst = dst[:len(x)]
	if active.level == Generic {
		addScaled(dst, alpha, x)
		return
	}
	for len(x) > 0 {
		n := min(len(x), callElements)
		addScaledAsm(dst[:n], alpha, x[:n])
		dst, x = dst[n:], x[n:]
	}
}

// Dot returns Σ a[i]·b[i], summed in sixty-four lanes by index mod 64 and then
// over the lanes, the upper half onto the lower.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	if len(a) == 0 || active.level == Generic {
		return dot(a, b)
	}
	return dotAsm(a, b)
}

// RoundBF16 rounds src to bfloat16, to nearest even, into dst. Numbers beyond
// the largest finite bfloat16 become infinite and denormals stay denormal; a NaN
// becomes quiet and keeps its sign and upper bits. All levels give the same bits.
func RoundBF16(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	if active.level != Generic {
		for len(src) >= lanes {
			n := min(len(src), callElements) &^ (lanes - 1)
			roundBF16Asm(dst[:n], src[:n])
			dst, src = dst[n:], src[n:]
		}
	}
	roundBF16(dst, src)
}

// WidenBF16 converts bfloat16 to float32, which is exact.
func WidenBF16(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	if active.level != Generic {
		for len(src) >= lanes {
			n := min(len(src), callElements) &^ (lanes - 1)
			widenBF16Asm(dst[:n], src[:n])
			dst, src = dst[n:], src[n:]
		}
	}
	widenBF16(dst, src)
}
