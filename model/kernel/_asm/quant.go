package main

// quant writes the conversions of rows to int8.
func quant(a *Asm) {
	maxBits(a)
	maxBits256(a)
	quantRow(a)
	quantRow256(a)
	quantInt16(a)
}

// maxBitsKernel is written for both widths; 256 bits take whole registers alone.
var maxBitsKernel = Kernel{
	Name:   "maxBits",
	Doc:    "returns the bits of the largest |x|, a NaN if there is one; x is a positive multiple of 8.",
	Params: "x []float32",
	Args:   []Arg{"x *float32", "n int = len(x)"},
	Result: "uint32",
}

func maxBits(a *Asm) {
	const name = "maxBits"
	a.Begin(maxBitsKernel, "AVX512", 0)
	a.take("x", "SI", "n", "CX")
	a.I("MOVL", "$0x7fffffff", "AX")
	a.I("VPBROADCASTD", "AX", "Z31")
	for i := range 4 {
		a.I("VPXORD", Z(i), Z(i), Z(i))
	}
	a.I("SUBQ", "$64", "CX")
	a.I("JLT", name+"Tail")
	a.Label(name + "Loop")
	for i := range 4 {
		a.I("VPANDD", At(64*i, "SI"), "Z31", Z(4+i))
		a.I("VPMAXUD", Z(4+i), Z(i), Z(i))
	}
	a.I("ADDQ", "$256", "SI")
	a.I("SUBQ", "$64", "CX")
	a.I("JGE", name+"Loop")
	a.Label(name + "Tail")
	a.I("ADDQ", "$64", "CX")
	a.I("JEQ", name+"Reduce")
	for i := range 4 {
		lowLanes(a, "K1")
		a.I("VMOVDQU32.Z", At(64*i, "SI"), "K1", "Z4")
		a.I("VPANDD", "Z4", "Z31", "Z4")
		a.I("VPMAXUD", "Z4", Z(i), Z(i))
		a.I("SUBQ", "$16", "CX")
	}
	a.Label(name + "Reduce")
	a.I("VPMAXUD", "Z1", "Z0", "Z0")
	a.I("VPMAXUD", "Z3", "Z2", "Z2")
	a.I("VPMAXUD", "Z2", "Z0", "Z0")
	a.I("VEXTRACTI64X4", "$1", "Z0", "Y1")
	a.I("VPMAXUD", "Y1", "Y0", "Y0")
	reduceDwords(a, "VPMAXUD")
	a.I("VMOVD", "X0", "AX")
	a.I("MOVL", "AX", a.arg("ret"))
	a.end()
}

// quantRowKernel is written for both widths.
var quantRowKernel = Kernel{
	Name: "quantRow",
	Doc: "stores round(x·inv) + zero, ties to even, one byte each, then zero up to whole quads; " +
		"it returns Σ round(x·inv). x is not empty.",
	Params: "dst []uint8, x []float32, inv float32, zero int32",
	Result: "int32",
	Args:   []Arg{"dst *uint8", "x *float32", "n int = len(x)", "inv float32", "zero int32"},
}

func quantRow(a *Asm) {
	const name = "quantRow"
	// Packing works inside of 128-bit lanes: dword 4·lane+j then holds the bytes of
	// lane of register j.
	order := make([]uint32, 16)
	for i := range order {
		order[i] = uint32(i%4*4 + i/4)
	}
	a.Table("quantOrder", order...)
	a.Begin(quantRowKernel, "AVX512", 0)
	a.take("dst", "DI", "x", "SI", "n", "CX")
	a.I("VBROADCASTSS", a.arg("inv"), "Z30")
	a.I("MOVL", a.arg("zero"), "AX")
	a.I("VPBROADCASTB", "AX", "Z31")
	a.I("VMOVDQU32", "·quantOrder<>(SB)", "Z29")
	a.I("VPXORD", "Z28", "Z28", "Z28")
	a.I("MOVL", "$1", "AX")
	a.I("VPBROADCASTB", "AX", "Z27")
	pack := func() { // Z0 to Z3 to the bytes of Z0
		for i := range 4 {
			a.I("VCVTPS2DQ", Z(i), Z(i))
		}
		a.I("VPACKSSDW", "Z1", "Z0", "Z0")
		a.I("VPACKSSDW", "Z3", "Z2", "Z2")
		a.I("VPACKSSWB", "Z2", "Z0", "Z0")
		a.I("VPERMD", "Z0", "Z29", "Z0")
		a.I("VPMADDUBSW", "Z0", "Z27", "Z1") // pairs: unsigned ones times the bytes
		a.I("VPMADDWD", "Z26", "Z1", "Z1")   // quads
		a.I("VPADDD", "Z1", "Z28", "Z28")
		a.I("VPADDB", "Z31", "Z0", "Z0")
	}
	a.I("MOVL", "$0x10001", "AX")
	a.I("VPBROADCASTD", "AX", "Z26")
	a.I("SUBQ", "$64", "CX")
	a.I("JLT", name+"Rest")
	a.Label(name + "Loop")
	for i := range 4 {
		a.I("VMULPS", At(64*i, "SI"), "Z30", Z(i))
	}
	pack()
	a.I("VMOVDQU32", "Z0", "(DI)")
	a.I("ADDQ", "$256", "SI")
	a.I("ADDQ", "$64", "DI")
	a.I("SUBQ", "$64", "CX")
	a.I("JGE", name+"Loop")
	a.Label(name + "Rest")
	a.I("ADDQ", "$64", "CX")
	a.I("JEQ", name+"Reduce")
	a.I("LEAQ", "3(CX)", "R8")
	a.I("SHRQ", "$2", "R8")
	for i := range 4 {
		lowLanes(a, "K1")
		a.I("VMOVUPS.Z", At(64*i, "SI"), "K1", Z(i))
		a.I("VMULPS.Z", Z(i), "Z30", "K1", Z(i))
		a.I("SUBQ", "$16", "CX")
	}
	pack()
	a.I("MOVQ", "R8", "CX")
	lowLanes(a, "K1")
	a.I("VMOVDQU32", "Z0", "K1", "(DI)")
	a.Label(name + "Reduce")
	a.I("VEXTRACTI64X4", "$1", "Z28", "Y1")
	a.I("VPADDD", "Y1", "Y28", "Y0")
	reduceDwords(a, "VPADDD")
	a.I("VMOVD", "X0", "AX")
	a.I("MOVL", "AX", a.arg("ret"))
	a.end()
}

func maxBits256(a *Asm) {
	const name = "maxBits"
	a.Begin(maxBitsKernel, "AVX2", 0)
	a.take("x", "SI", "n", "CX")
	a.I("VPCMPEQD", "Y2", "Y2", "Y2")
	a.I("VPSRLD", "$1", "Y2", "Y2")
	a.I("VPXOR", "Y0", "Y0", "Y0")
	loop256(a, name, 8, func() {
		a.I("VPAND", "(SI)", "Y2", "Y1")
		a.I("VPMAXUD", "Y1", "Y0", "Y0")
	})
	reduceDwords(a, "VPMAXUD")
	a.I("VMOVD", "X0", "AX")
	a.I("MOVL", "AX", a.arg("ret"))
	a.end()
}

func quantInt16(a *Asm) {
	const name = "quantInt16"
	a.Begin(Kernel{
		Name:   name,
		Doc:    "stores round(x·inv), ties to even; x is a positive multiple of 16.",
		Params: "dst []int16, x []float32, inv float32",
		Args:   []Arg{"dst *int16", "x *float32", "n int = len(x)", "inv float32"},
	}, "AVX2", 0)
	a.take("dst", "DI", "x", "SI", "n", "CX")
	a.I("VBROADCASTSS", a.arg("inv"), "Y4")
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
	a.end()
}

func quantRow256(a *Asm) {
	const name = "quantRow256"
	a.Table("quantOrder256", 0, 4, 1, 5, 2, 6, 3, 7) // packing works inside of 128-bit lanes
	a.Begin(quantRowKernel, "AVX2", 0)
	a.take("dst", "DI", "x", "SI", "n", "CX")
	a.I("VBROADCASTSS", a.arg("inv"), "Y4")
	a.I("MOVL", a.arg("zero"), "AX")
	a.I("VMOVD", "AX", "X5")
	a.I("VPBROADCASTB", "X5", "Y5")
	a.I("VMOVDQU", "·quantOrder256<>(SB)", "Y6")
	a.I("VPXOR", "Y7", "Y7", "Y7") // sums
	a.I("VPCMPEQD", "Y8", "Y8", "Y8")
	a.I("VPABSB", "Y8", "Y8") // ones
	a.I("VPSRLW", "$8", "Y8", "Y9")
	a.I("XORL", "AX", "AX") // sum of the last
	a.I("SUBQ", "$32", "CX")
	a.I("JLT", name+"Tail")
	a.Label(name + "Loop")
	for i := range 4 {
		a.I("VMULPS", At(32*i, "SI"), "Y4", Y(i))
		a.I("VCVTPS2DQ", Y(i), Y(i))
	}
	a.I("VPACKSSDW", "Y1", "Y0", "Y0")
	a.I("VPACKSSDW", "Y3", "Y2", "Y2")
	a.I("VPACKSSWB", "Y2", "Y0", "Y0")
	a.I("VPERMD", "Y0", "Y6", "Y0")
	a.I("VPMADDUBSW", "Y0", "Y8", "Y1") // pairs: unsigned ones times the bytes
	a.I("VPMADDWD", "Y9", "Y1", "Y1")   // quads
	a.I("VPADDD", "Y1", "Y7", "Y7")
	a.I("VPADDB", "Y5", "Y0", "Y0")
	a.I("VMOVDQU", "Y0", "(DI)")
	a.I("ADDQ", "$128", "SI")
	a.I("ADDQ", "$32", "DI")
	a.I("SUBQ", "$32", "CX")
	a.I("JGE", name+"Loop")
	a.Label(name + "Tail")
	a.I("ADDQ", "$32", "CX")
	a.I("MOVL", a.arg("zero"), "R8")
	a.I("MOVL", "$-128", "R9")
	a.I("MOVQ", "CX", "R10") // to be filled up to quads
	a.I("NEGQ", "R10")
	a.I("ANDQ", "$3", "R10")
	a.I("TESTQ", "CX", "CX")
	a.I("JEQ", name+"Reduce")
	a.Label(name + "One")
	a.I("VMOVSS", "(SI)", "X0")
	a.I("VMULSS", "X4", "X0", "X0")
	a.I("VCVTSS2SI", "X0", "DX")
	a.I("CMPL", "DX", "R9") // NaN is the least integer, as the packing has it
	a.I("CMOVLLT", "R9", "DX")
	a.I("ADDL", "DX", "AX")
	a.I("ADDL", "R8", "DX")
	a.I("MOVB", "DX", "(DI)")
	a.I("ADDQ", "$4", "SI")
	a.I("INCQ", "DI")
	a.I("DECQ", "CX")
	a.I("JNE", name+"One")
	a.Label(name + "Fill")
	a.I("TESTQ", "R10", "R10")
	a.I("JEQ", name+"Reduce")
	a.I("MOVB", "R8", "(DI)")
	a.I("INCQ", "DI")
	a.I("DECQ", "R10")
	a.I("JMP", name+"Fill")
	a.Label(name + "Reduce")
	a.I("VMOVDQA", "Y7", "Y0")
	reduceDwords(a, "VPADDD")
	a.I("VMOVD", "X0", "DX")
	a.I("ADDL", "DX", "AX")
	a.I("MOVL", "AX", a.arg("ret"))
	a.end()
}
