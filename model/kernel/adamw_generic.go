package kernel

import "math"

// adamWGeneric rounds every product by a conversion, lest the compiler fuses it with the
// sum that follows.
func adamWGeneric(w, grad, m, v []float32, s *AdamWStep) {
	inv := 1 / s.Root
	for i, g := range grad {
		mi := float32(s.Beta1*m[i]) + float32(s.Rest1*g)
		vi := float32(s.Beta2*v[i]) + float32(float32(s.Rest2*g)*g)
		m[i], v[i] = mi, vi
		root := float32(math.Sqrt(float64(vi)))
		w[i] = float32(s.Keep*w[i]) - float32(s.Step*mi)/(float32(root*inv)+s.Eps)
	}
}
