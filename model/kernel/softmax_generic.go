package kernel

import "math"

func softmax(s []float32, lo, hi int, scale float32) {
	clear(s[:lo])
	clear(s[hi:])
	if lo >= hi {
		return
	}
	m := s[lo]
	for _, v := range s[lo:hi] {
		m = max(m, v)
	}
	const flush = flushBelow * math.Ln2
	var l [lanes]float32
	for j := lo; j < hi; j++ {
		x := float64(scale) * float64(s[j]-m)
		e := float32(math.Exp(x))
		if x < flush {
			e = 0
		}
		s[j] = e
		l[j%lanes] += e
	}
	inv := 1 / sumLanes(l[:])
	for j := lo; j < hi; j++ {
		s[j] *= inv
	}
}
