package kernel

import "math"

func rmsNormGeneric(dst []float32, ldd int, x []float32, ldx, rows int, w []float32, eps float32) {
	for r := range rows {
		rmsNormOne(dst[r*ldd:][:len(w)], x[r*ldx:][:len(w)], w, eps)
	}
}

func rmsNormOne(dst, x, w []float32, eps float32) {
	var l [rowLanes]float32
	for i, v := range x {
		l[i%rowLanes] += v * v
	}
	mean := sumLanes(l[:]) / float32(len(x))
	r := float32(1 / math.Sqrt(float64(mean+eps)))
	for i, v := range x {
		dst[i] = v * r * w[i]
	}
}

func layerNormGeneric(dst []float32, ldd int, x []float32, ldx, rows int, w, b []float32, eps float32) {
	for r := range rows {
		layerNormOne(dst[r*ldd:][:len(w)], x[r*ldx:][:len(w)], w, b, eps)
	}
}

func layerNormOne(dst, x, w, b []float32, eps float32) {
	var l [rowLanes]float32
	for i, v := range x {
		l[i%rowLanes] += v
	}
	mean := sumLanes(l[:]) / float32(len(x))
	l = [rowLanes]float32{}
	for i, v := range x {
		d := v - mean
		l[i%rowLanes] += d * d
	}
	rstd := float32(1 / math.Sqrt(float64(sumLanes(l[:])/float32(len(x))+eps)))
	for i, v := range x {
		y := (v - mean) * rstd * w[i]
		if b != nil {
			y += b[i]
		}
		dst[i] = y
	}
}
