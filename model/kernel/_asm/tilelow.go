package main

// tilesLow writes the tiles of low precision for processors without fast instructions for
// them. A step takes eight bytes of A: two floats, or four int16 that were converted
// beforehand.
//
// Weights in bfloat16 are widened to floats, so that a product has the bits of the float32
// product of the same weights.
func tilesLow(a *Asm) {
	low := tile{
		format: "BFloat16", level: "AVX512", doc: "computes one panel of bfloat16 weights by float32 arithmetic.",
		keeps: true, panels: 1, reg: Z, size: 64, span: 128, rows: 14, unroll: 2, aStep: 8, store: storeFloats,
		setup: func(a *Asm) { upperHalves(a, "Z31") },
		step: func(a *Asm, mr, u int, at left) {
			a.I("PREFETCHT0", At(128*u+prefetch, regW))
			a.I("PREFETCHT0", At(128*u+64+prefetch, regW))
			for odd := range 2 {
				for h := range 2 {
					widen(a, At(128*u+64*h, regW), odd, 28+h)
				}
				multiplyHalf(a, mr, u, odd, at, Z, 28, 30)
			}
		},
	}
	low.write(a)
	// Tiles of float32 have no instruction to spare: to widen in every tile took 7 % of a
	// product's time on an Intel Xeon (Emerald Rapids), in one of many 1 %.
	low.pair().writeKept(a, 512, func(a *Asm, mr, u int, at left) {
		for odd := range 2 {
			for v := range 4 {
				widen(a, pairW(v, 128*u), odd, 24+v)
				a.I("VMOVUPS", Z(24+v), At(512*u+256*odd+64*v, regTmp))
			}
			multiplyPair(a, mr, 8*u+4*odd, at)
		}
	}, func(a *Asm, mr, u int, at left) {
		for odd := range 2 {
			for v := range 4 {
				a.I("VMOVUPS", At(512*u+256*odd+64*v, regW), Z(24+v))
			}
			multiplyPair(a, mr, 8*u+4*odd, at)
		}
	})
	tile{
		format: "BFloat16", level: "AVX2", doc: "computes half a panel, 16 columns, of bfloat16 weights by float32 arithmetic.",
		panels: 1, reg: Y, size: 32, span: 64, rows: 6, unroll: 2, aStep: 8, store: storeFloats,
		setup: func(a *Asm) { upperHalves(a, "Y15") },
		step: func(a *Asm, mr, u int, at left) {
			a.I("PREFETCHT0", At(128*u+prefetch, regW))
			for odd := range 2 {
				for h := range 2 {
					if w := At(128*u+32*h, regW); odd == 0 {
						a.I("VMOVDQU", w, Y(12+h))
						a.I("VPSLLD", "$16", Y(12+h), Y(12+h))
					} else {
						a.I("VPAND", w, Y(15), Y(12+h))
					}
				}
				multiplyHalf(a, mr, u, odd, at, Y, 12, 14)
			}
		},
	}.write(a)
	tile{
		format: "Int8", level: "AVX2", doc: "computes a quarter of a panel, 8 columns, of int8 quads by int16 arithmetic.",
		panels: 1, reg: Y, size: 32, span: 32, rows: 6, unroll: 2, aStep: 8, zero: true, step: stepInt16, store: dequantise256,
	}.write(a)
}

// widen sets a register to the first or second of the pairs of bfloat16 at w; register 31
// holds the mask of the second.
func widen(a *Asm, w string, odd, z int) {
	if odd == 0 {
		a.I("VPSLLD", "$16", w, Z(z))
	} else {
		a.I("VPANDD", w, Z(31), Z(z))
	}
}

// upperHalves sets reg to the mask of the upper sixteen bits of each dword.
func upperHalves(a *Asm, reg string) {
	a.I("MOVL", "$0xffff0000", regTmp)
	a.I("VMOVD", regTmp, "X"+reg[1:])
	a.I("VPBROADCASTD", "X"+reg[1:], reg)
}

// multiplyHalf adds the products of the first or second weights of each pair, which are
// in registers w and w+1.
func multiplyHalf(a *Asm, mr, u, odd int, at left, reg func(int) string, w, b int) {
	for i := range mr {
		a.I("VBROADCASTSS", at(i, 8*u+4*odd), reg(b))
		a.I("VFMADD231PS", reg(w), reg(b), reg(2*i))
		a.I("VFMADD231PS", reg(w+1), reg(b), reg(2*i+1))
	}
}

// stepInt16 keeps two partial sums a column: those of the first and of the last
// two of each quad.
func stepInt16(a *Asm, mr, u int, at left) {
	a.I("PREFETCHT0", At(128*u+prefetch, regW))
	a.I("VPMOVSXBW", At(128*u, regW), Y(12))
	a.I("VPMOVSXBW", At(128*u+16, regW), Y(13))
	for i := range mr {
		a.I("VPBROADCASTQ", at(i, 8*u), Y(14))
		for h := range 2 {
			a.I("VPMADDWD", Y(12+h), Y(14), Y(15))
			a.I("VPADDD", Y(15), Y(2*i+h), Y(2*i+h))
		}
	}
}

// dequantise256 is dequantise for eight columns in two registers.
func dequantise256(a *Asm, t tile, mr, _ int) {
	scale, wscale, wbias := scaleRegs(a)
	eachStore(a, mr, 1, func(i int) {
		a.I("VPHADDD", Y(2*i+1), Y(2*i), Y(2*i)) // columns 0 1 4 5 2 3 6 7
		a.I("VPERMQ", "$0xd8", Y(2*i), Y(2*i))
		a.I("VBROADCASTSS", At(4*i, scale), Y(14))
	}, func(i, _ int, add bool) {
		acc := Y(2 * i)
		a.I("VMULPS", At(0, wscale), Y(14), Y(15))
		a.I("VCVTDQ2PS", acc, acc)
		a.I("VMULPS", Y(15), acc, acc)
		a.I("VADDPS", At(0, wbias), acc, acc)
		if add {
			a.I("VADDPS", At(0, regC), acc, acc)
		}
		a.I("VMOVUPS", acc, At(0, regC))
	})
	nextScales(a, mr)
}
