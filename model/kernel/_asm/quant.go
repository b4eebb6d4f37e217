package main

// quant writes the conversions of rows to bfloat16 pairs and int8 quads, and the
// 16×16 transpose that packs rows into panels.
func quant(a *Asm) {
	bf16Row(a)
	maxAbs(a)
	quantRow(a)
	transpose(a)
	pairRows(a)
	quant256(a)
}

// lowLanes sets mask k to the lowest n bits for n in CX, clamped to [0, 16].
func lowLanes(a *Asm, k string) {
	a.I("MOVL", "$16", "R10")
	a.I("MOVL", "CX", "R11")
	a.I("CMPL", "R11", "R10")
	a.I("CMOVLGT", "R10", "R11")
	a.I("XORL", "R10", "R10")
	a.I("TESTL", "R11", "R11")
	a.I("CMOVLLT", "R10", "R11")
	a.I("MOVL", "$-1", "R10")
	a.I("SHLXL", "R11", "R10", "R10")
	a.I("NOTL", "R10")
	a.I("KMOVW", "R10", k)
}

func bf16Row(a *Asm) {
	const name = "bf16RowAVX512"
	a.Func(name, "(dst *uint32, src *float32, k int)",
		name+" rounds k floats to bfloat16 pairs, zero after an odd end.", 0, 24)
	a.I("MOVQ", "dst+0(FP)", "DI")
	a.I("MOVQ", "src+8(FP)", "SI")
	a.I("MOVQ", "k+16(FP)", "CX")
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
	a.I("VZEROUPPER")
	a.I("RET")
}

func maxAbs(a *Asm) {
	const name = "maxAbsAVX512"
	a.Func(name, "(src *float32, k int) (bits uint32)",
		name+" returns the largest |x| of k floats as bits; a NaN is the largest of all.", 0, 20)
	a.I("MOVQ", "src+0(FP)", "SI")
	a.I("MOVQ", "k+8(FP)", "CX")
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
	a.I("MOVL", "AX", "bits+16(FP)")
	a.I("VZEROUPPER")
	a.I("RET")
}

// pairRows converts the columns of one panel, two rows to a step: the values of
// attention, which are summed over rows. K1 and K2 are the columns that exist.
func pairRows(a *Asm) {
	const name = "pairRowsAVX512"
	a.Func(name, "(dst *uint32, src *float32, stride, pairs, cols int)",
		name+" stores rows 2i and 2i+1 of up to 32 columns, stride bytes apart, as bfloat16 pairs of step i.", 0, 40)
	a.I("MOVQ", "dst+0(FP)", "DI")
	a.I("MOVQ", "src+8(FP)", "SI")
	a.I("MOVQ", "stride+16(FP)", "R8")
	a.I("MOVQ", "pairs+24(FP)", "R9")
	a.I("MOVQ", "cols+32(FP)", "CX")
	lowLanes(a, "K1")
	a.I("SUBQ", "$16", "CX")
	lowLanes(a, "K2")
	a.Label(name + "Loop")
	for i, k := range []string{"K1", "K2"} {
		a.I("VMOVUPS.Z", At(64*i, "SI"), k, "Z0")
		a.I("VMOVUPS.Z", AtIndex(64*i, "SI", "R8", 1), k, "Z1")
		a.VCVTNE2PS2BF16(0, 1, 2)
		a.I("VEXTRACTI64X4", "$1", "Z2", "Y3")
		a.I("VPMOVZXWD", "Y2", "Z4")
		a.I("VPMOVZXWD", "Y3", "Z5")
		a.I("VPSLLD", "$16", "Z5", "Z5")
		a.I("VPORD", "Z4", "Z5", "Z4")
		a.I("VMOVDQU32", "Z4", At(64*i, "DI"))
	}
	a.I("LEAQ", "(SI)(R8*2)", "SI")
	a.I("ADDQ", "$128", "DI")
	a.I("DECQ", "R9")
	a.I("JNE", name+"Loop")
	a.I("VZEROUPPER")
	a.I("RET")
}

// reduceDwords reduces Y0 to the low dword of X0.
func reduceDwords(a *Asm, op string) {
	a.I("VEXTRACTI128", "$1", "Y0", "X1")
	a.I(op, "X1", "X0", "X0")
	a.I("VPSHUFD", "$0x4e", "X0", "X1")
	a.I(op, "X1", "X0", "X0")
	a.I("VPSHUFD", "$0xb1", "X0", "X1")
	a.I(op, "X1", "X0", "X0")
}

func quantRow(a *Asm) {
	const name = "quantRowAVX512"
	// Packing works inside of 128-bit lanes: dword 4·lane+j then holds the bytes of
	// lane of register j.
	order := make([]uint32, 16)
	for i := range order {
		order[i] = uint32(i%4*4 + i/4)
	}
	a.Table("quantOrder", order...)
	a.Func(name, "(dst *uint8, src *float32, k int, inv float32, zero int32) (sum int32)",
		name+" stores round(x·inv) + zero for k floats, and zero up to whole quads; it returns Σ round(x·inv).", 0, 36)
	a.I("MOVQ", "dst+0(FP)", "DI")
	a.I("MOVQ", "src+8(FP)", "SI")
	a.I("MOVQ", "k+16(FP)", "CX")
	a.I("VBROADCASTSS", "inv+24(FP)", "Z30")
	a.I("MOVL", "zero+28(FP)", "AX")
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
	a.I("MOVL", "AX", "sum+32(FP)")
	a.I("VZEROUPPER")
	a.I("RET")
}

// transpose writes the packing of sixteen rows, given by their addresses, as
// sixteen of the 32 columns of a panel; lanes outside the mask stay untouched.
func transpose(a *Asm) {
	const name = "transposeAVX512"
	a.Func(name, "(args *transposeArgs)", name+" packs sixteen rows of dwords as half a panel.", 0, 8)
	a.I("MOVQ", "args+0(FP)", "SI")
	a.I("MOVQ", "transposeArgs_dst(SI)", "DI")
	a.I("MOVQ", "transposeArgs_k(SI)", "CX")
	a.I("MOVL", "transposeArgs_lanes(SI)", "AX")
	a.I("KMOVW", "AX", "K1")
	a.I("XORQ", "BX", "BX")
	a.I("SUBQ", "$16", "CX")
	a.I("JLT", name+"Tail")
	a.Label(name + "Loop")
	for i := range 16 {
		a.I("MOVQ", At(8*i, "SI"), "R8")
		a.I("VMOVUPS", "(R8)(BX*1)", Z(i))
	}
	for i, z := range transposed(a) {
		a.I("VMOVUPS", Z(z), "K1", At(128*i, "DI"))
	}
	a.I("ADDQ", "$64", "BX")
	a.I("ADDQ", "$2048", "DI")
	a.I("SUBQ", "$16", "CX")
	a.I("JGE", name+"Loop")
	a.Label(name + "Tail")
	a.I("ADDQ", "$16", "CX")
	a.I("JEQ", name+"Done")
	lowLanes(a, "K2")
	for i := range 16 {
		a.I("MOVQ", At(8*i, "SI"), "R8")
		a.I("VMOVUPS.Z", "(R8)(BX*1)", "K2", Z(i))
	}
	for i, z := range transposed(a) {
		a.I("VMOVUPS", Z(z), "K1", At(128*i, "DI"))
		a.I("DECQ", "CX")
		a.I("JEQ", name+"Done")
	}
	a.Label(name + "Done")
	a.I("VZEROUPPER")
	a.I("RET")
}

// transposed transposes the dwords of Z0 to Z15 and returns the register of each
// column: in pairs, in fours, then whole 128-bit lanes twice.
func transposed(a *Asm) (cols [16]int) {
	for i := 0; i < 16; i += 2 {
		a.I("VUNPCKLPS", Z(i+1), Z(i), Z(16+i))
		a.I("VUNPCKHPS", Z(i+1), Z(i), Z(17+i))
	}
	for i := 0; i < 16; i += 4 {
		a.I("VUNPCKLPD", Z(18+i), Z(16+i), Z(i))
		a.I("VUNPCKHPD", Z(18+i), Z(16+i), Z(i+1))
		a.I("VUNPCKLPD", Z(19+i), Z(17+i), Z(i+2))
		a.I("VUNPCKHPD", Z(19+i), Z(17+i), Z(i+3))
	}
	for j := range 4 { // column 4·lane+j is lane of rows 0-3, 4-7, 8-11, 12-15
		even01, odd01, even23, odd23 := 16+4*j, 17+4*j, 18+4*j, 19+4*j
		a.I("VSHUFF32X4", "$0x88", Z(4+j), Z(j), Z(even01))
		a.I("VSHUFF32X4", "$0xdd", Z(4+j), Z(j), Z(odd01))
		a.I("VSHUFF32X4", "$0x88", Z(12+j), Z(8+j), Z(even23))
		a.I("VSHUFF32X4", "$0xdd", Z(12+j), Z(8+j), Z(odd23))
		a.I("VSHUFF32X4", "$0x88", Z(even23), Z(even01), Z(j))
		a.I("VSHUFF32X4", "$0x88", Z(odd23), Z(odd01), Z(4+j))
		a.I("VSHUFF32X4", "$0xdd", Z(even23), Z(even01), Z(8+j))
		a.I("VSHUFF32X4", "$0xdd", Z(odd23), Z(odd01), Z(12+j))
		for lane := range 4 {
			cols[4*lane+j] = 4*lane + j
		}
	}
	return cols
}
