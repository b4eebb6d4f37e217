package kernel

func normSlopeGeneric(dx, dw, dy, x, w []float32, s normStep) {
	for i, d := range dy {
		xh := (x[i] - s.mean) * s.rstd
		dw[i] += d * xh
		v := s.rstd * (d*w[i] - s.shift - xh*s.turn)
		if s.add {
			v += dx[i]
		}
		dx[i] = v
	}
}

func sumGeneric(x []float32) float32 {
	var l [rowLanes]float32
	for i, v := range x {
		l[i%rowLanes] += v
	}
	return sumLanes(l[:])
}

func sumSquaresGeneric(x []float32, mean float32) float32 {
	var l [rowLanes]float32
	for i, v := range x {
		l[i%rowLanes] += (v - mean) * (v - mean)
	}
	return sumLanes(l[:])
}

func tripleDotGeneric(a, b, x []float32, mean float32) float32 {
	var l [rowLanes]float32
	for i, v := range x {
		l[i%rowLanes] += a[i] * b[i] * (v - mean)
	}
	return sumLanes(l[:])
}
