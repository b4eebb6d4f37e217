package main

// rows writes sums, dot products and conversions of rows.
func rows(a *Asm) {
	maskTable(a, "rows")
	vec := constants(a, "rows", []constant{{"one", 1}, {"half", 0x7fff}, {"quiet", 0x40}})
	for _, wide := range []bool{true, false} {
		v := vec(wide)
		v.addTo()
		v.addScaled()
		v.dot()
		v.roundBF16()
		v.widenBF16()
	}
}

func (v *Vec) addTo() {
	v.begin("addTo", "computes dst += x.", 0, false, "dst *float32", "x *float32", "n int")
	v.I("MOVQ", v.arg("dst"), "DI")
	v.I("MOVQ", v.arg("x"), "SI")
	v.I("MOVQ", v.arg("n"), regFull)
	v.columns()
	v.each(2, func() {
		v.load("SI", "t0")
		v.load("DI", "t1")
		v.op("VADDPS", "t0", "t1", "t0")
		v.store("t0", "DI")
	})
	v.end()
}

func (v *Vec) addScaled() {
	v.begin("addScaled", "computes dst += alpha·x.", 0, false, "dst *float32", "x *float32", "n int", "alpha float32")
	v.I("MOVQ", v.arg("dst"), "DI")
	v.I("MOVQ", v.arg("x"), "SI")
	v.I("MOVQ", v.arg("n"), regFull)
	v.I("VBROADCASTSS", v.arg("alpha"), v.r(14))
	v.columns()
	v.each(2, func() {
		v.load("SI", "t0")
		v.load("DI", "t1")
		v.op("VFMADD231PS", v.r(14), "t0", "t1")
		v.store("t1", "DI")
	})
	v.end()
}

func (v *Vec) dot() {
	v.begin("dot", "returns the dot product of a and b.", 0, true, "a *float32", "b *float32", "n int")
	v.I("MOVQ", v.arg("a"), "SI")
	v.I("MOVQ", v.arg("b"), "DX")
	v.I("MOVQ", v.arg("n"), regFull)
	v.columns()
	v.clear(normSum)
	v.reduce(func(acc int) {
		v.load("SI", "t0")
		v.load("DX", "t1")
		v.op("VFMADD231PS", "t0", "t1", v.r(normSum+acc))
	})
	v.total(normSum)
	v.I("VMOVSS", X(normSum), v.arg("ret"))
	v.end()
}

// halves emits a loop over n, a positive multiple of 16: 64 bytes of floats at
// float and 32 bytes of bfloat16 at short a turn.
func (v *Vec) halves(float, short string, body func()) {
	v.I("MOVQ", v.arg("n"), regCount)
	loop := v.Fresh("sixteen")
	v.Label(loop)
	body()
	v.I("ADDQ", "$64", float)
	v.I("ADDQ", "$32", short)
	v.I("SUBQ", "$16", regCount)
	v.I("JNE", loop)
}

// roundBF16 rounds to nearest even by integers, so that denormals and the
// order of the levels agree to the bit; a NaN keeps its sign and upper bits.
func (v *Vec) roundBF16() {
	v.begin("roundBF16", "rounds n floats, a positive multiple of 16, to bfloat16.", 0, false, "dst *uint16", "src *float32", "n int")
	v.I("MOVQ", v.arg("dst"), "DI")
	v.I("MOVQ", v.arg("src"), "SI")
	v.hold("one", "half", "quiet")
	round := func(base string) {
		v.op("VMOVUPS", "mem:"+base, "t0")
		v.op("VPSRLD", "$16", "t0", "t1")
		if v.wide {
			v.op("VPANDD", v.c("one"), "t1", "t2")
			v.op("VPADDD", "t2", "t0", "t2")
			v.op("VPADDD", v.c("half"), "t2", "t2")
			v.op("VPSRLD", "$16", "t2", "t2")
			v.op("VCMPPS", "$3", "t0", "t0", "K2")
			v.op("VPORD", v.c("quiet"), "t1", "K2", "t2")
			return
		}
		v.op("VPAND", v.c("one"), "t1", "t2")
		v.op("VPADDD", "t2", "t0", "t2")
		v.op("VPADDD", v.c("half"), "t2", "t2")
		v.op("VPSRLD", "$16", "t2", "t2")
		v.op("VCMPPS", "$3", "t0", "t0", "t0")
		v.op("VPOR", v.c("quiet"), "t1", "t1")
		v.op("VBLENDVPS", "t0", "t1", "t2", "t2")
	}
	v.I("XORL", regOffset, regOffset)
	v.halves("SI", "DI", func() {
		if v.wide {
			v.run(1, false, func() { round("SI") })
			v.I("VPMOVDW", Z(2), "(DI)")
			return
		}
		v.run(2, false, func() { round("SI") })
		v.I("VPACKUSDW", Y(v.temps+2), Y(2), Y(2))
		v.I("VPERMQ", "$0xd8", Y(2), Y(2))
		v.I("VMOVDQU", Y(2), "(DI)")
	})
	v.end()
}

func (v *Vec) widenBF16() {
	v.begin("widenBF16", "widens n bfloat16, a positive multiple of 16, to floats.", 0, false, "dst *float32", "src *uint16", "n int")
	v.I("MOVQ", v.arg("dst"), "DI")
	v.I("MOVQ", v.arg("src"), "SI")
	v.halves("DI", "SI", func() {
		for i := 0; i < 64; i += v.size() {
			r := v.r(i / 32)
			v.I("VPMOVZXWD", At(i/2, "SI"), r)
			v.I("VPSLLD", "$16", r, r)
			v.I("VMOVUPS", r, At(i, "DI"))
		}
	})
	v.end()
}
