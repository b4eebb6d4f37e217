package kernel

import "math"

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

func addTo(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func addScaled(dst []float32, alpha float32, x []float32) {
	for i, v := range x {
		dst[i] += alpha * v
	}
}

func dot(a, b []float32) float32 {
	var l [rowLanes]float32
	for i, v := range a {
		l[i%rowLanes] += v * b[i]
	}
	return sumLanes(l[:])
}

func roundBF16(dst []uint16, src []float32) {
	for i, v := range src {
		u := math.Float32bits(v)
		if v != v {
			dst[i] = uint16(u>>16) | 0x40
			continue
		}
		dst[i] = uint16((u + 0x7fff + u>>16&1) >> 16)
	}
}

func widenBF16(dst []float32, src []uint16) {
	for i, v := range src {
		dst[i] = math.Float32frombits(uint32(v) << 16)
	}
}
