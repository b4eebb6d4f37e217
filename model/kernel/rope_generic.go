package kernel

func rotate(x []float32, heads, d int, cos, sin []float32) {
	h := len(cos)
	for i := range heads {
		x1, x2 := x[i*d:][:h], x[i*d+h:][:h]
		for j, c := range cos {
			a, b := x1[j], x2[j]
			x1[j] = a*c - b*sin[j]
			x2[j] = b*c + a*sin[j]
		}
	}
}
