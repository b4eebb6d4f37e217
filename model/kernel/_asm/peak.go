package main

// peak writes loops of nothing but multiply-adds, and one that reads memory:
// what the processor can do at most.
func peak(a *Asm) {
	peakLoop(a, "Float32", "AVX512", 28, 16, "float32 multiply-adds of 16 lanes", func(i int) {
		a.I("VFMADD231PS", Z(28), Z(29), Z(i))
	})
	peakLoop(a, "BFloat16", "AVX512BF16Dot", 28, 32, "bfloat16 dot products of 16 pairs", func(i int) {
		a.VDPBF16PS(28, 29, i)
	})
	peakLoop(a, "Int8", "AVX512VNNI", 28, 64, "int8 dot products of 16 quads", func(i int) {
		a.I("VPDPBUSD", Z(28), Z(29), Z(i))
	})
	peakLoop(a, "Float32", "AVX2", 12, 8, "float32 multiply-adds of 8 lanes", func(i int) {
		a.I("VFMADD231PS", Y(12), Y(13), Y(i))
	})
	peakLoop(a, "Int8", "AVXVNNI", 12, 32, "int8 dot products of 8 quads", func(i int) {
		a.VPDPBUSD256(12, 13, i)
	})
	peakLoop(a, "Int8", "AVX2", 12, 16, "int16 dot products of 8 pairs", func(i int) {
		a.I("VPMADDWD", Y(12), Y(13), Y(14))
		a.I("VPADDD", Y(14), Y(i), Y(i))
	})
	const name = "read"
	a.Begin(Kernel{
		Name:   name,
		Doc:    "reads x, a positive multiple of 512 bytes.",
		Params: "x []byte",
		Args:   []Arg{"x *byte", "n int = len(x)"},
	}, "AVX2", 0)
	a.take("x", "AX", "n", "CX")
	for i := range 8 {
		a.I("VPXOR", Y(i), Y(i), Y(i))
	}
	a.Label(name + "Loop")
	for i := range 16 {
		a.I("VPXOR", At(32*i, "AX"), Y(i%8), Y(i%8))
	}
	a.I("ADDQ", "$512", "AX")
	a.I("SUBQ", "$512", "CX")
	a.I("JGT", name+"Loop")
	a.end()
}

// peakLoop writes a loop of accs independent multiply-adds, so many to an
// instruction.
func peakLoop(a *Asm, format, level string, accs, each int, what string, step func(i int)) {
	name := "Peak" + format + level
	a.peaks = append(a.peaks, Peak{format, level, accs * each * 2, what})
	a.Func(name, "(n int)", name+" performs n times "+Imm(accs)[1:]+" independent "+what+".", 0, 8)
	a.I("MOVQ", "n+0(FP)", "CX")
	for i := range accs + 2 {
		if accs == 28 {
			a.I("VPXORD", Z(i), Z(i), Z(i))
		} else {
			a.I("VPXOR", Y(i), Y(i), Y(i))
		}
	}
	a.Label(name + "Loop")
	for i := range accs {
		step(i)
	}
	a.I("DECQ", "CX")
	a.I("JNE", name+"Loop")
	a.end()
}
