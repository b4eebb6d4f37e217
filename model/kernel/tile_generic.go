package kernel

import "math"

// tileGeneric is the specification of a float32 tile: each element is one
// ascending sum over k that begins with the bias; the residual is added to the
// finished sum.
func tileGeneric(c []float32, ldc int, x *operand, add bool) {
	for i := range x.m {
		var acc [NR]float32
		copy(acc[:], x.bias)
		for kk, a := range x.a[i*x.lda:][:x.k] {
			a := math.Float32frombits(a)
			w := (*[NR]uint32)(x.w[kk*NR:])
			for j := range acc {
				acc[j] += a * math.Float32frombits(w[j])
			}
		}
		storeGeneric(c[i*ldc:], &acc, add)
	}
}

// tileBF16Generic is the specification of a bfloat16 tile where float32 arithmetic
// multiplies: that of the float32 product of the same weights.
func tileBF16Generic(c []float32, ldc int, x *operand, add bool) {
	for i := range x.m {
		var acc [NR]float32
		copy(acc[:], x.bias)
		a := floats(x.a[i*x.lda:][:2*x.k])
		for kk := range x.k {
			w := (*[NR]uint32)(x.w[kk*NR:])
			for j, w := range w {
				acc[j] += a[2*kk] * math.Float32frombits(w<<16)
				acc[j] += a[2*kk+1] * math.Float32frombits(w&0xffff0000)
			}
		}
		storeGeneric(c[i*ldc:], &acc, add)
	}
}

// tileInt8Generic is the specification of an int8 tile: an exact integer sum,
// then float(sum)·(scale of the row · scale of the column) + bias, rounded after
// each operation. The bits are equal at every level.
func tileInt8Generic(c []float32, ldc int, x *operand, add bool) {
	for i := range x.m {
		var sum [NR]int32
		copy(sum[:], x.start)
		for kk, a := range x.a[i*x.lda:][:x.k] {
			a0, a1, a2, a3 := int32(a&255), int32(a>>8&255), int32(a>>16&255), int32(a>>24)
			w := (*[NR]uint32)(x.w[kk*NR:])
			for j, w := range w {
				sum[j] += a0*int32(int8(w)) + a1*int32(int8(w>>8)) + a2*int32(int8(w>>16)) +
					a3*int32(int8(w>>24))
			}
		}
		var acc, bias [NR]float32
		copy(bias[:], x.bias)
		for j, s := range sum {
			scale := x.scale[i] * x.wscale[j]
			y := float32(float32(s) * scale) // the conversion forbids a fused multiply-add
			acc[j] = y + bias[j]
		}
		storeGeneric(c[i*ldc:], &acc, add)
	}
}

func storeGeneric(c []float32, acc *[NR]float32, add bool) {
	ci := (*[NR]float32)(c)
	if !add {
		*ci = *acc
		return
	}
	for j := range acc {
		ci[j] += acc[j]
	}
}
