package main

// bf16 writes the conversions between float32 and bfloat16.
func bf16(a *Asm) {
	for v := range constants(a, "bf16", []constant{{"one", 1}, {"half", 0x7fff}, {"quiet", 0x40}}) {
		v.roundBF16()
		v.widenBF16()
	}
	bf16Row(a)
	splitRow(a)
}

// splitRow writes the parts of a row as tiles of the matrix unit's left side.
func splitRow(a *Asm) {
	a.Begin(Kernel{
		Name:   "splitBF16",
		Doc:    "splits floats, a positive multiple of 32, into three bfloat16 each: 32 values are sixteen pairs of each part, two values sixteen apart, in a row of three neighbouring tiles of a matrix unit.",
		Params: "dst []uint32, src []float32",
		Args:   []Arg{"dst *uint32", "src *float32", "n int = len(src)"},
	}, "AVX512", 0)
	a.take("dst", "DI", "src", "SI", "n", "CX")
	splitConstants(a)
	loop := a.Fresh("thirtytwo")
	a.Label(loop)
	splitPairs(a, "(SI)", "64(SI)", [3]string{"(DI)", "1024(DI)", "2048(DI)"})
	a.I("ADDQ", "$128", "SI")
	a.I("ADDQ", "$3072", "DI")
	a.I("SUBQ", "$32", "CX")
	a.I("JNE", loop)
	a.end()
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
	v.begin(Kernel{
		Name:   "roundBF16",
		Doc:    "rounds floats, a positive multiple of 16, to bfloat16.",
		Params: "dst []uint16, src []float32",
		Args:   []Arg{"dst *uint16", "src *float32", "n int = len(src)"},
	}, 0)
	v.take("dst", "DI", "src", "SI")
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
	v.begin(Kernel{
		Name:   "widenBF16",
		Doc:    "widens bfloat16, a positive multiple of 16, to floats.",
		Params: "dst []float32, src []uint16",
		Args:   []Arg{"dst *float32", "src *uint16", "n int = len(src)"},
	}, 0)
	v.take("dst", "DI", "src", "SI")
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

func bf16Row(a *Asm) {
	const name = "bf16Row"
	a.Begin(Kernel{
		Name:   name,
		Doc:    "rounds floats, at least one, to bfloat16 pairs, zero after an odd end.",
		Params: "dst []uint32, src []float32",
		Args:   []Arg{"dst *uint32", "src *float32", "k int = len(src)"},
	}, "AVX512BF16", 0)
	a.take("dst", "DI", "src", "SI", "k", "CX")
	a.I("SUBQ", "$32", "CX")
	a.I("JLT", name+"Tail")
	a.Label(name + "Loop")
	a.I("VMOVUPS", "(SI)", "Z0")
	a.I("VMOVUPS", "64(SI)", "Z1")
	a.VCVTNE2PS2BF16(0, 1, 2)
	a.I("VMOVUPS", "Z2", "(DI)")
	a.I("ADDQ", "$128", "SI")
	a.I("ADDQ", "$64", "DI")
	a.I("SUBQ", "$32", "CX")
	a.I("JGE", name+"Loop")
	a.Label(name + "Tail")
	a.I("ADDQ", "$32", "CX")
	a.I("JEQ", name+"Done")
	a.I("MOVQ", "CX", "R8")
	lowLanes(a, "K1")
	a.I("SUBQ", "$16", "CX")
	lowLanes(a, "K2")
	a.I("LEAQ", "1(R8)", "CX")
	a.I("SHRQ", "$1", "CX")
	lowLanes(a, "K3")
	a.I("VMOVUPS.Z", "(SI)", "K1", "Z0")
	a.I("VMOVUPS.Z", "64(SI)", "K2", "Z1")
	a.VCVTNE2PS2BF16(0, 1, 2)
	a.I("VMOVUPS", "Z2", "K3", "(DI)")
	a.Label(name + "Done")
	a.end()
}
