package kernel

func rotateGeneric(x []float32, ldx, rows, heads, d int, cos, sin []float32, ldt, half int) {
	for r := range rows {
		c, s := cos[r*ldt:][:half], sin[r*ldt:][:half]
		for h := range heads {
			x1, x2 := x[r*ldx+h*d:][:half], x[r*ldx+h*d+half:][:half]
			for j := range half {
				a, b := x1[j], x2[j]
				x1[j] = a*c[j] - b*s[j]
				x2[j] = b*c[j] + a*s[j]
			}
		}
	}
}
