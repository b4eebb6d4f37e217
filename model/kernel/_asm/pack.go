package main

// pack writes what puts rows of a matrix into panels: as columns (packHalf) or as
// rows, whole (spreadRows) or in pairs (pairRows).
func pack(a *Asm) {
	packHalf(a)
	pairRows(a)
	for v := range constants(a, "pack", nil) {
		v.spreadRows()
	}
	spreadLeft(a)
}

// packHalf writes the transpose of up to sixteen rows into sixteen of the 32 columns
// of a panel; lanes outside the mask in K1 stay untouched. The frame holds the
// addresses of the rows; a lane without a row reads the first or the last one.
func packHalf(a *Asm) {
	const name = "packHalf"
	a.Begin(Kernel{
		Name: name,
		Doc: "stores rows of k dwords, each lds after the one before, as columns [col, col+rows) of the panel dst, " +
			"all in the same half; k and rows are positive.",
		Params: "dst []uint32, col int, src []uint32, lds, rows, k int",
		Args: []Arg{
			"dst *uint32 = &dst[col&^15]", "first int = col & 15", "src *uint32",
			"lds int = 4*lds", "rows int", "k int",
		},
	}, "AVX512", 128)
	a.take("dst", "DI", "first", "CX", "src", "R8", "lds", "R9", "rows", "R10")
	a.I("MOVL", "$-1", "AX") // lanes [first, first+rows)
	a.I("SHLXL", "R10", "AX", "AX")
	a.I("NOTL", "AX")
	a.I("SHLXL", "CX", "AX", "AX")
	a.I("KMOVW", "AX", "K1")
	a.I("NEGQ", "CX") // i − first
	a.I("DECQ", "R10")
	for i := range 16 {
		a.I("MOVQ", "R8", At(8*i, "SP"))
		a.I("LEAQ", "(R8)(R9*1)", "R11") // the next row, for a lane with a row before the last
		a.I("CMPQ", "CX", "R10")
		a.I("CMOVQGE", "R8", "R11")
		a.I("TESTQ", "CX", "CX")
		a.I("CMOVQGE", "R11", "R8")
		a.I("INCQ", "CX")
	}
	a.take("k", "CX")
	a.I("XORQ", "BX", "BX")
	a.I("SUBQ", "$16", "CX")
	a.I("JLT", name+"Tail")
	a.Label(name + "Loop")
	for i := range 16 {
		a.I("MOVQ", At(8*i, "SP"), "R8")
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
		a.I("MOVQ", At(8*i, "SP"), "R8")
		a.I("VMOVUPS.Z", "(R8)(BX*1)", "K2", Z(i))
	}
	for i, z := range transposed(a) {
		a.I("VMOVUPS", Z(z), "K1", At(128*i, "DI"))
		a.I("DECQ", "CX")
		a.I("JEQ", name+"Done")
	}
	a.Label(name + "Done")
	a.end()
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

// pairRows converts the columns of one panel, two rows to a step: the values of
// attention, which are summed over rows. K1 and K2 are the columns that exist.
func pairRows(a *Asm) {
	const name = "pairRows"
	a.Begin(Kernel{
		Name:   name,
		Doc:    "stores rows 2i and 2i+1 of up to NR columns, lds apart, as the halves of step i, in bfloat16.",
		Params: "dst []uint32, src []float32, lds, pairs, cols int",
		Args: []Arg{
			"dst *uint32", "src *float32", "stride int = 4*lds", "pairs int", "cols int",
		},
	}, "AVX512BF16", 0)
	a.take("dst", "DI", "src", "SI", "stride", "R8", "pairs", "R9", "cols", "CX")
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
	a.end()
}

// spreadRows writes the copy of rows into panels of 32 columns.
func (v *Vec) spreadRows() {
	v.begin(Kernel{
		Name: "spreadRows",
		Doc: "copies rows of panels·NR floats, lds apart: the first NR of a row to dst and each further NR one panel on; " +
			"the next row goes NR floats behind.",
		Params: "dst []float32, panel int, src []float32, lds, rows, panels int",
		Args: []Arg{
			"dst *float32", "panel int = 4*panel", "src *float32", "lds int = 4*lds",
			"rows int", "panels int",
		},
	}, 0)
	var at []int
	for i := 0; i < 128; i += v.size() {
		at = append(at, i)
	}
	v.spreadPanels(128, at, v.r)
	v.end()
}

// spreadLeft writes the copy of rows into groups of twelve columns: eight at a time, of
// which four are copied twice.
func spreadLeft(a *Asm) {
	a.Begin(Kernel{
		Name: "spreadLeft",
		Doc: "copies rows of groups·LeftRows floats, lds apart: the first LeftRows of a row to dst and each further " +
			"LeftRows one group on; the next row goes LeftRows floats behind.",
		Params: "dst []float32, group int, src []float32, lds, rows, groups int",
		Args: []Arg{
			"dst *float32", "panel int = 4*group", "src *float32", "lds int = 4*lds",
			"rows int", "panels int = groups",
		},
	}, "AVX2", 0)
	a.spreadPanels(48, []int{0, 16}, Y)
	a.end()
}

// spreadPanels copies rows of panels of so many bytes, by registers at the offsets given.
func (a *Asm) spreadPanels(width int, at []int, reg func(int) string) {
	a.take("dst", "DI", "panel", "DX", "src", "SI", "lds", "R8", "rows", "R11")
	rows, panels := a.Fresh("row"), a.Fresh("panel")
	a.Label(rows)
	a.I("MOVQ", "SI", "AX")
	a.I("MOVQ", "DI", "BX")
	a.I("MOVQ", a.arg("panels"), regCount)
	a.Label(panels)
	for i, at := range at {
		a.I("VMOVUPS", At(at, "AX"), reg(i))
	}
	for i, at := range at {
		a.I("VMOVUPS", reg(i), At(at, "BX"))
	}
	a.I("ADDQ", Imm(width), "AX")
	a.I("ADDQ", "DX", "BX")
	a.I("DECQ", regCount)
	a.I("JNE", panels)
	a.I("ADDQ", "R8", "SI")
	a.I("ADDQ", Imm(width), "DI")
	a.I("DECQ", "R11")
	a.I("JNE", rows)
}
