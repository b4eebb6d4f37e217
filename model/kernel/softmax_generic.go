package kernel

import "math"

func softmaxGeneric(s []float32, lds, rows, n int, p Span, scale float32) {
	for r := range rows {
		lo := min(max(p.Lo+r*p.LoStep, 0), n)
		hi := min(max(p.Hi+r*p.HiStep, 0), n)
		softmaxRow(s[r*lds:][:n], min(lo, hi), hi, scale)
	}
}

func softmaxRow(s []float32, lo, hi int, scale float32) {
	clear(s[:lo])
	clear(s[hi:])
	if lo >= hi {
		return
	}
	m := s[lo]
	for _, v := range s[lo:hi] {
		m = max(m, v)
	}
	var l [lanes]float32
	for j := lo; j < hi; j++ {
		e := flush(float32(math.Exp(float64(scale) * float64(s[j]-m))))
		s[j] = e
		l[j%lanes] += e
	}
	inv := 1 / sumLanes(l[:])
	for j := lo; j < hi; j++ {
		s[j] = flush(s[j] * inv)
	}
}

// flush makes a denormal zero.
func flush(x float32) float32 {
	if x < 0x1p-126 {
		return 0
	}
	return x
}
