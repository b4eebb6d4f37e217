package kernel

// AddTo computes dst += x.
func AddTo(dst, x []float32) {
	dst = dst[:len(x)]
	for len(x) > 0 {
		n := min(len(x), callElements)
		addTo(dst[:n], x[:n])
		dst, x = dst[n:], x[n:]
	}
}

// AddScaled computes dst += alpha·x: a step of an average or of an optimiser.
func AddScaled(dst []float32, alpha float32, x []float32) {
	dst = dst[:len(x)]
	for len(x) > 0 {
		n := min(len(x), callElements)
		addScaled(dst[:n], alpha, x[:n])
		dst, x = dst[n:], x[n:]
	}
}

// Dot returns Σ a[i]·b[i], summed in sixty-four lanes by index mod 64 and then
// over the lanes, the upper half onto the lower.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	if len(a) == 0 {
		return 0
	}
	return dot(a, b)
}
