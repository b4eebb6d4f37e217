package main

// Tiles on the matrix unit (AMX); those of float32 are in amxfloat.go. A block is 32 rows of C, two tiles,
// by one panel, two tiles; panels are in the unit's own order already, sixteen steps
// being a tile of W. Every function configures the unit at its beginning and releases
// it at its end: the runtime stops no goroutine inside of assembly, so that no other
// thread can come between the configuration and its use.

// amx writes them, and what detects the unit.
func amx(a *Asm) {
	config := make([]uint32, 16) // palette 1: eight tiles of 16 rows of 64 bytes
	config[0] = 1
	for i := 4; i < 8; i++ {
		config[i] = 64 | 64<<16 // bytes of a row of two tiles
	}
	config[12], config[13] = 0x10101010, 0x10101010 // rows
	a.Table("amxConfig", config...)
	for _, m := range []matrix{
		{"BFloat16", "AMX", "bfloat16 pairs", 1, 16384, (*Asm).TDPBF16PS, matrix.floats},
		{"Int8", "AMX", "int8 quads", 1, 32768, (*Asm).TDPBUSD, matrix.dequantise},
		{"Float32", "AMXFloat32", "float32 in three parts", 3, 16384, (*Asm).TDPBF16PS, matrix.floats},
	} {
		m.write(a)
		m.peak(a)
	}
	cpuid(a)
}

// matrix is a function for operands of one number format.
type matrix struct {
	format, level, what string
	parts               int                         // of a value
	ops                 int                         // of a product of two tiles
	dot                 func(a *Asm, w, x, acc int) // acc += x·w
	row                 func(m matrix, a *Asm, add bool)
}

// Registers; regArgs, regC, regLDA and regTmp as elsewhere.
const (
	amxA0    = "AX" // rows 0 to 15 of the block, at the current step
	amxA1    = "BX" // rows 16 to 31
	amxW     = "CX" // panel, at the current step
	amxK     = "DX" // tiles of steps left
	amx128   = "R9" // 128, the bytes between rows of a panel
	amxLDC   = "R10"
	amxRows  = "R11" // rows of the block before that are not written yet; regC is the first
	amxSums  = "R12" // their sums
	amxScale = "R13" // their scales
)

func amxArg(field string) string { return "AMXArgs_" + field + "(" + regArgs + ")" }

func (m matrix) name() string { return "Tile" + m.format + m.level }

// write writes the function. K is taken in ranges of KB tiles, whose part of the panel
// stays in a core's first cache while all rows pass by; the sums wait in memory
// between ranges. What is finished is written to C while the next block is multiplied.
func (m matrix) write(a *Asm) {
	a.tiles = append(a.tiles, Tile{format: m.format, level: m.level, rows: 32, bytes: 128, words: 1, matrix: true})
	a.Func(m.name(), "(args *AMXArgs)", m.name()+" computes neighbouring panels for operands of "+m.what+".", 0, 8)
	a.I("MOVQ", "args+0(FP)", regArgs)
	a.I("LEAQ", "·amxConfig<>(SB)", regTmp)
	a.LDTILECFG(regTmp)
	if m.parts > 1 {
		a.I("MOVQ", Imm(64), regLDA) // the tiles of A lie one behind the other
	} else {
		a.I("MOVQ", amxArg("LDA"), regLDA)
	}
	a.I("MOVQ", Imm(128), amx128)
	a.I("MOVQ", amxArg("LDC"), amxLDC)
	if m.parts > 1 {
		splitConstants(a)
	}
	a.I("XORQ", amxRows, amxRows)
	a.I("CMPB", amxArg("Add"), Imm(0))
	a.I("JNE", m.name()+"Add")
	m.panels(a, m.name(), false)
	a.Label(m.name() + "Add")
	m.panels(a, m.name()+"Adding", true)
}

// panels writes the three loops: over panels, over ranges of K and over blocks of
// rows.
func (m matrix) panels(a *Asm, l string, add bool) {
	row := func() { m.row(m, a, add) }
	a.Label(l + "Panel")
	a.I("MOVQ", Imm(0), amxArg("AtK"))
	a.Label(l + "Range")
	a.I("MOVQ", Imm(0), amxArg("Row"))
	a.I("MOVQ", amxArg("K"), regTmp)
	a.I("SUBQ", amxArg("AtK"), regTmp)
	a.I("CMPQ", regTmp, amxArg("KB"))
	a.I("CMOVQGT", amxArg("KB"), regTmp)
	a.I("MOVQ", regTmp, amxArg("Steps"))
	if m.parts > 1 {
		m.split(a, l)
	}
	a.Label(l + "Block")
	m.begin(a, l)
	a.I("MOVQ", amxArg("M"), regTmp)
	a.I("SUBQ", amxArg("Row"), regTmp)
	a.I("CMPQ", regTmp, Imm(16))
	a.I("JLE", l+"Few")
	m.two(a, l, row)
	a.I("JMP", l+"Next")
	a.Label(l + "Few")
	m.one(a, l+"Few", row)
	a.Label(l + "Next")
	m.finish(a, l)
	a.I("MOVQ", amxArg("Row"), regTmp)
	a.I("ADDQ", Imm(32), regTmp)
	a.I("MOVQ", regTmp, amxArg("Row"))
	a.I("CMPQ", regTmp, amxArg("M"))
	a.I("JLT", l+"Block")
	a.I("MOVQ", amxArg("Steps"), regTmp)
	a.I("ADDQ", amxArg("AtK"), regTmp)
	a.I("MOVQ", regTmp, amxArg("AtK"))
	a.I("CMPQ", regTmp, amxArg("K"))
	a.I("JLT", l+"Range")
	for _, f := range [][2]string{
		{"AtW", "Panel"}, {"AtStart", "StartStep"}, {"AtBias", "BiasStep"}, {"AtTail", "TailStep"},
	} {
		a.I("MOVQ", amxArg(f[1]), regTmp)
		a.I("ADDQ", regTmp, amxArg(f[0]))
	}
	a.I("ADDQ", Imm(128), amxArg("AtC"))
	a.I("DECQ", amxArg("N"))
	a.I("JNE", l+"Panel")
	flush(a, row)
	a.TILERELEASE()
	a.end()
}

// begin sets the operands of a block and its sums: the starting values, which are the
// same for every row, or what the range before has left.
func (m matrix) begin(a *Asm, l string) {
	a.I("MOVQ", amxArg("AtK"), regTmp)
	if m.parts > 1 {
		a.I("MOVQ", amxArg("Parts"), amxW)
	} else {
		a.I("MOVQ", regTmp, amxW)
		a.I("SHLQ", Imm(11), amxW)
		a.I("ADDQ", amxArg("W"), amxW)
		a.I("ADDQ", amxArg("AtW"), amxW)
	}
	a.I("MOVQ", regTmp, amxK)
	a.I("IMUL3Q", Imm(m.aStep()), regTmp, regTmp)
	a.I("MOVQ", amxArg("Row"), amxA0)
	a.I("MOVQ", amxA0, amxA1)
	if m.parts > 1 {
		a.I("SHRQ", Imm(4), amxA0)
	}
	a.I("IMULQ", amxArg("LDA"), amxA0)
	a.I("ADDQ", amxArg("A"), amxA0)
	a.I("ADDQ", regTmp, amxA0)
	a.I("TESTQ", amxK, amxK)
	a.I("JNE", l+"More")
	a.I("MOVQ", amxArg("Start"), regTmp)
	a.I("ADDQ", amxArg("AtStart"), regTmp)
	for i := range 4 {
		a.TILELOADD(i, 64*(i%2), regTmp, "")
	}
	a.I("JMP", l+"Begun")
	a.Label(l + "More")
	a.I("SHLQ", Imm(7), amxA1)
	a.I("ADDQ", amxArg("Sums"), amxA1)
	for i := range 4 {
		a.TILELOADD(i, sumsAt(i), amxA1, amx128)
	}
	a.Label(l + "Begun")
}

// sumsAt is where a tile of sums is: rows 0 to 15 and 16 to 31 of the two halves of a
// panel.
func sumsAt(i int) int { return 2048*(i/2) + 64*(i%2) }

// two multiplies a block of 17 to 32 rows.
func (m matrix) two(a *Asm, l string, row func()) {
	a.I("MOVQ", amxArg("LDA"), amxA1)
	if m.parts == 1 {
		a.I("SHLQ", Imm(4), amxA1)
	}
	a.I("ADDQ", amxA0, amxA1)
	step := func(between func()) {
		a.TILELOADD(6, 0, amxW, amx128)
		a.TILELOADD(4, 0, amxA0, regLDA)
		a.TILELOADD(7, 64, amxW, amx128)
		a.TILELOADD(5, 0, amxA1, regLDA)
		m.dot(a, 6, 4, 0)
		m.dot(a, 6, 5, 2)
		between()
		m.dot(a, 7, 4, 1)
		m.dot(a, 7, 5, 3)
	}
	if m.parts > 1 {
		m.splitSteps(a, l, row, amxA0, amxA1)
	} else {
		m.steps(a, l, step, row, amxA0, amxA1)
	}
	m.keep(a, 4, row)
}

// one multiplies a block of at most 16 rows.
func (m matrix) one(a *Asm, l string, row func()) {
	step := func(between func()) {
		a.TILELOADD(6, 0, amxW, amx128)
		a.TILELOADD(4, 0, amxA0, regLDA)
		a.TILELOADD(7, 64, amxW, amx128)
		m.dot(a, 6, 4, 0)
		between()
		m.dot(a, 7, 4, 1)
	}
	if m.parts > 1 {
		m.splitSteps(a, l, row, amxA0)
	} else {
		m.steps(a, l, step, row, amxA0)
	}
	m.keep(a, 2, row)
}

// steps writes the loop over a range of K. Between the products of a step up to three
// rows of the block before are written. Meanwhile the next panels
// are asked for, a part with each block: +10 to 25 % where weights come from memory
// (Granite Rapids), nothing where they do not.
func (m matrix) steps(a *Asm, l string, step func(between func()), row func(), rows ...string) {
	a.I("MOVQ", amxArg("Steps"), amxK)
	a.I("TESTQ", amxK, amxK)
	a.I("JEQ", l+"Tail")
	m.ahead(a)
	m.loop(a, l+"Loop", func() { step(func() { writeRows(a, row) }) }, rows)
	a.Label(l + "Tail") // one more step behind the last range, where there is one
	m.tail(a, amxW, l+"Done")
	step(func() { writeRows(a, row) })
	a.Label(l + "Done")
}

// loop repeats a step for amxK tiles of K.
func (m matrix) loop(a *Asm, l string, step func(), rows []string) {
	a.Label(l)
	for i := range m.aheadBytes() / 64 {
		a.I("PREFETCHT1", At(64*i, regTmp))
	}
	a.I("ADDQ", Imm(m.aheadBytes()), regTmp)
	step()
	for _, r := range rows {
		a.I("ADDQ", Imm(m.aStep()), r)
	}
	a.I("ADDQ", Imm(2048*m.parts), amxW)
	a.I("DECQ", amxK)
	a.I("JNE", l)
}

// writeRows writes up to three rows of the block before.
func writeRows(a *Asm, row func()) {
	written := a.Fresh("written")
	for range 3 {
		a.I("TESTQ", amxRows, amxRows)
		a.I("JEQ", written)
		row()
	}
	a.Label(written)
}

// tail sets reg to the step of the panel behind the last range, or goes to none: in
// another range, or where there is no such step.
func (m matrix) tail(a *Asm, reg, none string) {
	a.I("MOVQ", amxArg("Tail"), reg)
	a.I("TESTQ", reg, reg)
	a.I("JEQ", none)
	a.I("MOVQ", amxArg("AtK"), regTmp)
	a.I("ADDQ", amxArg("Steps"), regTmp)
	a.I("CMPQ", regTmp, amxArg("K"))
	a.I("JLT", none)
	a.I("ADDQ", amxArg("AtTail"), reg)
}

// keep stores the tiles of sums, once the rows of the block before are written.
func (m matrix) keep(a *Asm, tiles int, row func()) {
	flush(a, row)
	a.I("MOVQ", amxArg("Row"), amxSums)
	a.I("SHLQ", Imm(7), amxSums)
	a.I("ADDQ", amxArg("Sums"), amxSums)
	for i := range tiles {
		a.TILESTORED(i, sumsAt(i), amxSums, amx128)
	}
}

// finish marks the block's rows to be written during the next one if this was the
// last range.
func (m matrix) finish(a *Asm, l string) {
	a.I("MOVQ", amxArg("AtK"), regTmp)
	a.I("ADDQ", amxArg("Steps"), regTmp)
	a.I("CMPQ", regTmp, amxArg("K"))
	a.I("JLT", l+"Unfinished")
	a.I("MOVQ", amxArg("Row"), regTmp)
	a.I("MOVQ", amxArg("M"), amxRows)
	a.I("SUBQ", regTmp, amxRows)
	a.I("MOVQ", Imm(32), amxK)
	a.I("CMPQ", amxRows, amxK)
	a.I("CMOVQGT", amxK, amxRows)
	a.I("MOVQ", regTmp, regC)
	a.I("IMULQ", amxLDC, regC)
	a.I("ADDQ", amxArg("C"), regC)
	a.I("ADDQ", amxArg("AtC"), regC)
	if m.format == "Int8" {
		a.I("MOVQ", amxArg("Scale"), amxScale)
		a.I("LEAQ", AtIndex(0, amxScale, regTmp, 4), amxScale)
		a.I("MOVQ", amxArg("AtC"), regTmp)
		a.I("MOVQ", amxArg("WScale"), amxK)
		a.I("VMOVUPS", AtIndex(0, amxK, regTmp, 1), Z(16))
		a.I("VMOVUPS", AtIndex(64, amxK, regTmp, 1), Z(17))
		a.I("MOVQ", amxArg("WBias"), amxK)
		a.I("MOVQ", amxArg("AtBias"), regTmp)
		a.I("VMOVUPS", AtIndex(0, amxK, regTmp, 1), Z(18))
		a.I("VMOVUPS", AtIndex(64, amxK, regTmp, 1), Z(19))
	}
	a.Label(l + "Unfinished")
}

// flush writes what is left of the block before.
func flush(a *Asm, row func()) {
	loop, done := a.Fresh("flush"), a.Fresh("flushed")
	a.I("TESTQ", amxRows, amxRows)
	a.I("JEQ", done)
	a.Label(loop)
	row()
	a.I("JNE", loop)
	a.Label(done)
}

// floats writes one row of sums that are floats already.
func (m matrix) floats(a *Asm, add bool) {
	for i := range 2 {
		a.I("VMOVUPS", At(64*i, amxSums), Z(i))
		if add {
			a.I("VADDPS", At(64*i, regC), Z(i), Z(i))
		}
		a.I("VMOVUPS", Z(i), At(64*i, regC))
	}
	nextRow(a)
}

// dequantise writes one row of int32 sums as dequantise512 does.
func (m matrix) dequantise(a *Asm, add bool) {
	a.I("VBROADCASTSS", At(0, amxScale), Z(4))
	a.I("ADDQ", Imm(4), amxScale)
	for i := range 2 {
		a.I("VMULPS", Z(16+i), Z(4), Z(2+i))
		a.I("VCVTDQ2PS", At(64*i, amxSums), Z(i))
		a.I("VMULPS", Z(2+i), Z(i), Z(i))
		a.I("VADDPS", Z(18+i), Z(i), Z(i))
		if add {
			a.I("VADDPS", At(64*i, regC), Z(i), Z(i))
		}
		a.I("VMOVUPS", Z(i), At(64*i, regC))
	}
	nextRow(a)
}

// nextRow moves on to the next row of sums; its last instruction says whether there is
// one.
func nextRow(a *Asm) {
	a.I("ADDQ", Imm(128), amxSums)
	a.I("ADDQ", amxLDC, regC)
	a.I("DECQ", amxRows)
}

// peak writes a loop of nothing but products of tiles.
func (m matrix) peak(a *Asm) {
	name := "Peak" + m.format + m.level
	turns := 1
	if m.parts > 1 {
		turns = len(sixParts)
	}
	a.peaks = append(a.peaks, Peak{m.format, m.level, 4 * m.ops, "products of tiles of " + m.what})
	a.Func(name, "(n int)", name+" performs n times 4 independent products of tiles of "+m.what+".", 0, 8)
	a.I("MOVQ", "n+0(FP)", "CX")
	a.I("LEAQ", "·amxConfig<>(SB)", "AX")
	a.LDTILECFG("AX")
	a.Label(name + "Loop")
	for i := range 4 * turns {
		m.dot(a, 6+i/2%2, 4+i%2, i%4)
	}
	a.I("DECQ", "CX")
	a.I("JNE", name+"Loop")
	a.TILERELEASE()
	a.I("RET")
}
