package warm

// combineGeneric is the specification of combine, for the elements from begin on. It works in
// blocks, so that the float64 sums stay in the first-level cache.
func combineGeneric(dst []float32, columns [][]float32, coefs []float64, divisor float64, begin int) {
	var acc [1024]float64
	for at := begin; at < len(dst); at += len(acc) {
		out := dst[at:min(at+len(acc), len(dst))]
		sum := acc[:len(out)]
		for k, column := range columns {
			c := column[at : at+len(out)][:len(sum)]
			w := coefs[k]
			if k == 0 { // Not 0 + c·x, which would lose the sign of −0.
				for i := range sum {
					sum[i] = float64(c[i]) * w
				}
				continue
			}
			for i := range sum {
				// The conversion forbids a fused multiply-add, which rounds differently.
				sum[i] += float64(float64(c[i]) * w)
			}
		}
		for i := range out {
			out[i] = float32(sum[i] / divisor)
		}
	}
}
