package kernel

import "math"

// tileBF16MatrixGeneric is the specification of a bfloat16 tile on the matrix unit,
// whose order of sums is another than that of [tileBF16Generic]. k is taken in blocks
// of 32, filled up with zeros. Within a block the even and the odd k have a sum each,
// which begins at +0 and grows in ascending order by one fused multiply-add a value;
// then their sum is added to the element. Each result is rounded to nearest even,
// denormal operands and results are zero, and a NaN that arises is negative. Source:
// Intel SDM volume 2, TDPBF16PS; equal bit for bit to a Xeon of the generation Granite
// Rapids. It computes no product of its own: level AMX has the instructions, and no
// other level this order.
func tileBF16MatrixGeneric(c []float32, ldc int, x *operand, add bool) {
	const block = 16 // steps
	for i := range x.m {
		var acc [NR]float32
		copy(acc[:], x.bias)
		for k0 := 0; k0 < x.k; k0 += block {
			var even, odd [NR]float32
			for k := k0; k < min(k0+block, x.k); k++ {
				a := x.a[i*x.lda+k]
				for j, w := range (*[NR]uint32)(x.w[k*NR:]) {
					even[j] = fusedBF16(even[j], a<<16, w<<16)
					odd[j] = fusedBF16(odd[j], a&0xffff0000, w&0xffff0000)
				}
			}
			for j := range acc {
				acc[j] = normal(normal(acc[j]) + normal(even[j]+odd[j]))
			}
		}
		storeGeneric(c[i*ldc:], &acc, add)
	}
}

// tileFloat32MatrixGeneric is the specification of a float32 tile on the matrix unit. Each
// value is three bfloat16, see split, and a block of 32 k six products of parts, each
// added to the element as a block of [tileBF16MatrixGeneric] is, with k from 0 to 15 in
// the place of its even k and k from 16 to 31 in that of the odd. x.a is A unsplit.
func tileFloat32MatrixGeneric(c []float32, ldc int, x *operand, add bool) {
	upper := func(w uint32) (u [3]uint32) {
		for p, h := range split(math.Float32frombits(w)) {
			u[p] = uint32(h) << 16
		}
		return u
	}
	for j := range NR {
		w := make([][3]uint32, x.k)
		for k := range w {
			w[k] = upper(x.w[k*NR+j])
		}
		for i := range x.m {
			var acc float32
			if x.bias != nil {
				acc = x.bias[j]
			}
			a := make([][3]uint32, x.k)
			for k := range a {
				a[k] = upper(x.a[i*x.lda+k])
			}
			for k0 := 0; k0 < x.k; k0 += 32 {
				for _, p := range [][2]int{{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}} { // of A and of W
					var sums [2]float32
					for k := k0; k < min(k0+32, x.k); k++ {
						s := &sums[(k-k0)/16]
						*s = fusedBF16(*s, a[k][p[0]], w[k][p[1]])
					}
					acc = normal(normal(acc) + normal(sums[0]+sums[1]))
				}
			}
			if add {
				acc += c[i*ldc+j]
			}
			c[i*ldc+j] = acc
		}
	}
}

// fusedBF16 returns sum + a·w for bfloat16 in the upper halves, rounded once: the
// product is exact in float64, and so is the sum wherever that matters to float32.
func fusedBF16(sum float32, a, w uint32) float32 {
	x, y := normal(math.Float32frombits(a)), normal(math.Float32frombits(w))
	return normal(float32(float64(x)*float64(y) + float64(sum)))
}

// normal returns x, for a denormal the zero of its sign.
func normal(x float32) float32 {
	if b := math.Float32bits(x); b&0x7f800000 == 0 {
		return math.Float32frombits(b & 0x80000000)
	}
	return x
}
