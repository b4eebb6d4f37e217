package kernel

// tileGeneric is the specification: each element is one ascending sum over k
// that begins with the bias; the residual is added to the finished sum.
func tileGeneric(c []float32, ldc int, a []float32, lda int, w, bias []float32, m, k int, add bool) {
	for i := range m {
		var acc [NR]float32
		copy(acc[:], bias)
		row := a[i*lda:][:k]
		for kk, x := range row {
			wk := (*[NR]float32)(w[kk*NR:])
			for j := range acc {
				acc[j] += x * wk[j]
			}
		}
		ci := (*[NR]float32)(c[i*ldc:])
		if add {
			for j := range acc {
				ci[j] += acc[j]
			}
		} else {
			*ci = acc
		}
	}
}
