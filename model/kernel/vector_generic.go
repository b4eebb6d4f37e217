package kernel

func addToGeneric(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func addScaledGeneric(dst []float32, alpha float32, x []float32) {
	for i, v := range x {
		dst[i] += alpha * v
	}
}

func dotGeneric(a, b []float32) float32 {
	var l [rowLanes]float32
	for i, v := range a {
		l[i%rowLanes] += v * b[i]
	}
	return sumLanes(l[:])
}
