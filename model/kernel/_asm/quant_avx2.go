package main

// quant256 writes the conversions for AVX2. They take whole registers; the
// caller converts what is left.
func quant256(a *Asm) {
	bf16Floats(a)
	maxAbs256(a)
	quantInt16(a)
}

// loop256 writes a loop over n elements, a multiple of each, at SI.
func loop256(a *Asm, name string, each int, body func()) {
	a.I("TESTQ", "CX", "CX")
	a.I("JEQ", name+"Done")
	a.Label(name + "Loop")
	body()
	a.I("ADDQ", Imm(4*each), "SI")
	a.I("SUBQ", Imm(each), "CX")
	a.I("JNE", name+"Loop")
	a.Label(name + "Done")
}

func bf16Floats(a *Asm) {
	const name = "bf16FloatsAVX2"
	a.Func(name, "(dst *uint32, src *float32, n int)",
		name+" rounds n floats, a multiple of 8, to the floats that bfloat16 can hold.", 0, 24)
	a.I("MOVQ", "dst+0(FP)", "DI")
	a.I("MOVQ", "src+8(FP)", "SI")
	a.I("MOVQ", "n+16(FP)", "CX")
	for i, v := range []string{"$0x7fff", "$1", "$0xffff0000", "$0x7fffffff", "$0x7f800000", "$0x00800000", "$0x00400000"} {
		a.I("MOVL", v, "AX")
		a.I("VMOVD", "AX", X(9+i))
		a.I("VPBROADCASTD", X(9+i), Y(9+i))
	}
	half, one, upper, abs, inf, normal, quiet := Y(9), Y(10), Y(11), Y(12), Y(13), Y(14), Y(15)
	loop256(a, name, 8, func() {
		a.I("VMOVDQU", "(SI)", "Y0")
		a.I("VPSRLD", "$16", "Y0", "Y1")
		a.I("VPAND", one, "Y1", "Y1")
		a.I("VPADDD", half, "Y0", "Y2")
		a.I("VPADDD", "Y1", "Y2", "Y2") // rounded
		a.I("VPAND", abs, "Y0", "Y3")
		a.I("VPCMPGTD", inf, "Y3", "Y4") // NaN
		a.I("VPOR", quiet, "Y0", "Y5")
		a.I("VPBLENDVB", "Y4", "Y5", "Y2", "Y2")
		a.I("VPCMPGTD", "Y3", normal, "Y4") // denormal or zero
		a.I("VPANDN", "Y0", abs, "Y5")
		a.I("VPBLENDVB", "Y4", "Y5", "Y2", "Y2")
		a.I("VPAND", upper, "Y2", "Y2")
		a.I("VMOVDQU", "Y2", "(DI)")
		a.I("ADDQ", "$32", "DI")
	})
	a.I("VZEROUPPER")
	a.I("RET")
}

func maxAbs256(a *Asm) {
	const name = "maxAbsAVX2"
	a.Func(name, "(src *float32, n int) (bits uint32)",
		name+" returns the largest |x| of n floats, a multiple of 8, as bits.", 0, 20)
	a.I("MOVQ", "src+0(FP)", "SI")
	a.I("MOVQ", "n+8(FP)", "CX")
	a.I("VPCMPEQD", "Y2", "Y2", "Y2")
	a.I("VPSRLD", "$1", "Y2", "Y2")
	a.I("VPXOR", "Y0", "Y0", "Y0")
	loop256(a, name, 8, func() {
		a.I("VPAND", "(SI)", "Y2", "Y1")
		a.I("VPMAXUD", "Y1", "Y0", "Y0")
	})
	reduceDwords(a, "VPMAXUD")
	a.I("VMOVD", "X0", "AX")
	a.I("MOVL", "AX", "bits+16(FP)")
	a.I("VZEROUPPER")
	a.I("RET")
}

func quantInt16(a *Asm) {
	const name = "quantInt16AVX2"
	a.Func(name, "(dst *int16, src *float32, n int, inv float32)",
		name+" stores round(x·inv) for n floats, a multiple of 16.", 0, 28)
	a.I("MOVQ", "dst+0(FP)", "DI")
	a.I("MOVQ", "src+8(FP)", "SI")
	a.I("MOVQ", "n+16(FP)", "CX")
	a.I("VBROADCASTSS", "inv+24(FP)", "Y4")
	loop256(a, name, 16, func() {
		for i := range 2 {
			a.I("VMULPS", At(32*i, "SI"), "Y4", Y(i))
			a.I("VCVTPS2DQ", Y(i), Y(i))
		}
		a.I("VPACKSSDW", "Y1", "Y0", "Y0")
		a.I("VPERMQ", "$0xd8", "Y0", "Y0")
		a.I("VMOVDQU", "Y0", "(DI)")
		a.I("ADDQ", "$32", "DI")
	})
	a.I("VZEROUPPER")
	a.I("RET")
}
