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

// rowGroup is the number of rows of n elements that go through each step of a
// norm or of softmax together: 16 KB, a third of the first-level cache.
func rowGroup(n int) int { return min(max(4096/n, 1), 8) }

// first is the address of b's first element, nil without one.
func first(b []float32) *float32 {
	if b == nil {
		return nil
	}
	return &b[0]
}

// The number of partial sums of a reduction: the softmax of a row keeps sixteen,
// by index mod 16, so that any part of a row is summed alike; norms and dot
// products keep sixty-four.
const (
	lanes    = 16
	rowLanes = 64
)

// sumLanes adds the lanes in a fixed tree: the upper half to the lower, then
// the halves of that. It overwrites l.
func sumLanes(l []float32) float32 {
	for w := len(l) / 2; w > 0; w /= 2 {
		for i := range w {
			l[i] += l[i+w]
		}
	}
	return l[0]
}
