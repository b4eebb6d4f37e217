package main

import "fmt"

// A tile is up to mr rows by one or more panels. All kinds of product share one
// loop, because a step is four bytes of A and four bytes of W a column in each:
// a float, two bfloat16 or four int8.

// tiles writes the tiles of the matrix products.
func tiles(a *Asm) {
	for _, k := range []kind{
		{"Float32", "AVX512", "float32", stepF32, storeFloats},
		{"BFloat16", "AVX512BF16Dot", "bfloat16 pairs", stepBF16, storeFloats},
		{"Int8", "AVX512VNNI", "int8 quads", stepInt8, dequantise},
	} {
		tile{
			format: k.format, level: k.level, wide: true, doc: "computes one panel for operands of " + k.what + ".",
			columns: k.format == "Float32", reg: Z, size: 64, span: 128, rows: 14, unroll: 4, aStep: 4,
			pairs: k.format == "Float32", panels: 1,
			step: func(a *Asm, mr, u int, at left) { step512(a, mr, u, k, at) }, store: k.store,
		}.write(a)
		wide512(a, "TileWide"+k.format+k.level, "computes four neighbouring panels for one to three rows of "+k.what+".", 3, 4, k)
	}
	tile{
		format: "Float32", level: "AVX2", doc: "computes half a panel, 16 columns, for operands of float32.",
		columns: true, panels: 1, reg: Y, size: 32, span: 64, rows: 6, unroll: 4, aStep: 4, store: storeFloats,
		step: func(a *Asm, mr, u int, at left) {
			step256(a, mr, u, at, func(w, b, acc int) { a.I("VFMADD231PS", Y(w), Y(b), Y(acc)) })
		},
	}.write(a)
	tile{
		format: "Int8", level: "AVXVNNI", doc: "computes half a panel, 16 columns, for operands of int8 quads.",
		panels: 1, reg: Y, size: 32, span: 64, rows: 6, unroll: 4, aStep: 4, store: dequantise,
		step: func(a *Asm, mr, u int, at left) { step256(a, mr, u, at, a.VPDPBUSD256) },
	}.write(a)
	tilesLow(a)
}

// kind is what differs between the number formats.
type kind struct {
	format, level, what string
	step                func(a *Asm, w, b, acc int) // acc += b·w
	store               func(a *Asm, t tile, mr, nv int)
}

func stepF32(a *Asm, w, b, acc int)  { a.I("VFMADD231PS", Z(w), Z(b), Z(acc)) }
func stepBF16(a *Asm, w, b, acc int) { a.VDPBF16PS(w, b, acc) }
func stepInt8(a *Asm, w, b, acc int) { a.I("VPDPBUSD", Z(w), Z(b), Z(acc)) }

// Registers of every tile.
const (
	regArgs  = "SI"
	regC     = "DI"
	regLDC   = "DX"
	regLDA   = "R8"
	regA     = "AX" // row 0 of the tile, at the current step
	regW     = "BX" // panel, at the current step
	regK     = "CX" // steps left
	regTiles = "R13"
	regNext  = "R14" // the next panel, at what is asked for in the current step
	regTmp   = "R15"

	regColumn = "R9"  // of A by columns: the current step, in row 0 of the tile
	regW2     = "R10" // of tiles of two panels: the second, at the current step
)

// rowBases hold rows 0, 3, 6, 9 and 12; the rows between are reached by index.
var rowBases = []string{regA, "R9", "R10", "R11", "R12"}

// left is the memory operand of row i of A, disp bytes into the unrolled steps.
type left func(i, disp int) string

// rows is A row by row.
func rows(i, disp int) string {
	if i%3 == 0 {
		return At(disp, rowBases[i/3])
	}
	return AtIndex(disp, rowBases[i/3], regLDA, i%3)
}

// columns is A column by column; the register moves on after each step.
func columns(i, _ int) string { return At(4*i, regColumn) }

// tileArg is a field of TileArgs.
func tileArg(field string) string { return "TileArgs_" + field + "(" + regArgs + ")" }

// prologue loads what stays the same in all row tiles.
func prologue(a *Asm) {
	a.I("MOVQ", "args+0(FP)", regArgs)
	a.I("MOVQ", tileArg("C"), regC)
	a.I("MOVQ", tileArg("LDC"), regLDC)
	a.I("MOVQ", tileArg("A"), regA)
	a.I("MOVQ", tileArg("LDA"), regLDA)
	a.I("MOVQ", tileArg("Tiles"), regTiles)
	a.I("MOVQ", tileArg("Next"), regNext)
}

// setRows sets the bases of the rows beyond the first three.
func setRows(a *Asm, mr int) {
	for i := 3; i < mr; i += 3 {
		a.I("LEAQ", AtIndex(0, rowBases[i/3-1], regLDA, 2), rowBases[i/3])
		a.I("ADDQ", regLDA, rowBases[i/3])
	}
}

// advance moves every row by n bytes.
func advance(a *Asm, mr, n int) {
	for i := 0; i < mr; i += 3 {
		a.I("ADDQ", Imm(n), rowBases[i/3])
	}
}

// tile describes a function that computes tiles row tiles of mr rows, then small
// row tiles of mr-1 rows, of two registers of columns a panel. The accumulator of row i,
// part v of the columns is register nv·i+v; what the rows leave is for operands.
type tile struct {
	format, level string // what the dispatch chooses it for
	wide          bool   // wide512 writes a function for several panels too
	keeps         bool   // writeKept writes one for several row tiles
	columns       bool   // there is one for A by columns too
	pairs         bool   // there are some for two panels too, see pair
	panels        int    // that it computes
	doc           string
	reg           func(int) string
	size          int // bytes of a register
	span          int // bytes of C's columns that it computes
	rows          int // at most
	unroll        int
	aStep         int  // bytes of A a step
	zero          bool // accumulators begin at zero, not at the bias
	setup         func(a *Asm)
	step          func(a *Asm, mr, u int, at left) // the u-th of unroll steps
	store         func(a *Asm, t tile, mr, nv int)
}

func (t tile) write(a *Asm) {
	a.tiles = append(a.tiles, Tile{format: t.format, level: t.level, rows: t.rows, bytes: t.span,
		words: t.aStep / 4, wide: t.wide, keeps: t.keeps, columns: t.columns, pairs: t.pairs})
	t.writeTiles(a, "Tile", t.doc, pass{w: "W", wStep: 128, at: rows, step: t.step})
	if t.columns {
		t.writeTiles(a, "TileColumns", t.doc+" A is given by columns: LDA is from step to step, rows are neighbours.",
			pass{w: "W", wStep: 128, at: columns, columns: true, step: t.step})
	}
	if t.pairs {
		t.pair().writePairs(a)
	}
}

// nv is the number of registers of columns.
func (t tile) nv() int { return 2 * t.panels }

// writeTiles writes a function for tiles of all sizes.
func (t tile) writeTiles(a *Asm, prefix, doc string, p pass) {
	name := prefix + t.format + t.level
	a.Func(name, "(args *TileArgs)", name+" "+doc, 0, 8)
	prologue(a)
	if t.setup != nil {
		t.setup(a)
	}
	jumpToRows(a, name, t.rows)
	for mr := t.rows; mr > 0; mr-- {
		a.Label(rowsLabel(name, mr))
		t.writeRows(a, mr, p)
		a.I("DECQ", regTiles)
		a.I("JNE", rowsLabel(name, mr))
		t.smaller(a, name, mr)
	}
	a.end()
}

// smaller goes on after the tiles of mr rows: with those of a row less, or with the end.
func (t tile) smaller(a *Asm, name string, mr int) {
	if mr > 1 {
		a.I("MOVQ", tileArg("Small"), regTiles)
		a.I("MOVQ", Imm(0), tileArg("Small"))
		a.I("TESTQ", regTiles, regTiles)
		a.I("JEQ", name+"Done")
		return
	}
	a.Label(name + "Done")
}

// writeKept writes a function for several tiles, of which the first, by step first, keeps
// what it makes of W in argument Kept, size bytes a step, and step rest takes it from there.
func (t tile) writeKept(a *Asm, size int, first, rest func(a *Asm, mr, u int, at left)) {
	name := "TileKept" + t.format + t.level
	a.Func(name, "(args *TileArgs)", name+" "+t.doc+" Of several tiles the first keeps weights widened for the others.", 0, 8)
	prologue(a)
	t.setup(a)
	jumpToRows(a, name+"First", t.rows)
	for mr := t.rows; mr > 0; mr-- {
		last := a.Fresh("last")
		a.Label(rowsLabel(name+"First", mr))
		t.writeRows(a, mr, pass{w: "W", wStep: 128, kept: size, resumes: true, at: rows, step: first})
		a.I("DECQ", regTiles)
		a.I("JEQ", last)
		a.Label(rowsLabel(name, mr))
		t.writeRows(a, mr, pass{w: "Kept", wStep: size, resumes: true, joined: true, at: rows, step: rest})
		a.I("DECQ", regTiles)
		a.I("JNE", rowsLabel(name, mr))
		a.Label(last)
		t.smaller(a, name, mr)
	}
	a.end()
}

func rowsLabel(name string, mr int) string { return fmt.Sprintf("%sRows%d", name, mr) }

// jumpToRows goes on with the tile of argument MR rows, at most so many.
func jumpToRows(a *Asm, name string, most int) {
	a.I("MOVQ", tileArg("MR"), regTmp)
	for mr := most; mr > 1; mr-- {
		a.I("CMPQ", regTmp, Imm(mr))
		a.I("JEQ", rowsLabel(name, mr))
	}
	a.I("JMP", rowsLabel(name, 1))
}

// prefetch is the distance in bytes at which a panel is asked for ahead of its
// use: 64 steps of fourteen rows last longer than a read from memory. Past its
// end it reaches the beginning of the next panel. Measured on Zen 5 at
// 1024×768×3072: 76-87 % of peak with none, 89 % with 1.5 KB, 93 % with 8.
const prefetch = 8192

// pass is how a row tile goes along a panel.
type pass struct {
	w       string // the argument that points to it
	wStep   int    // bytes a step
	kept    int    // bytes a step that step writes at regTmp, which argument Kept points to; 0 for nothing
	resumes bool   // accumulators begin at argument Sums, where it is given
	joined  bool   // the panels lie in each other, step by step
	at      left
	columns bool // at is columns
	step    func(a *Asm, mr, u int, at left)
}

// writeRows writes one row tile.
func (t tile) writeRows(a *Asm, mr int, p pass) {
	a.I("MOVQ", tileArg(p.w), regW)
	second := t.panels > 1 && !p.joined
	if second {
		a.I("MOVQ", tileArg("Panel"), regW2)
		a.I("ADDQ", regW, regW2)
	}
	t.begin(a, mr, p.resumes)
	if p.columns {
		a.I("MOVQ", regA, regColumn)
	} else {
		setRows(a, mr)
	}
	t.prefetchC(a, mr)
	if p.kept > 0 {
		a.I("MOVQ", tileArg("Kept"), regTmp)
	}
	steps(a, t.unroll, func(u int) {
		a.I("PREFETCHT1", At(0, regNext))
		a.I("ADDQ", tileArg("NextStep"), regNext)
		p.step(a, mr, u, p.at)
		if p.columns {
			a.I("ADDQ", regLDA, regColumn)
		}
	}, func(n int) {
		if !p.columns {
			advance(a, mr, t.aStep*n)
		}
		a.I("ADDQ", Imm(p.wStep*n), regW)
		if second {
			a.I("ADDQ", Imm(p.wStep*n), regW2)
		}
		if p.kept > 0 {
			a.I("ADDQ", Imm(p.kept*n), regTmp)
		}
	})
	t.store(a, t, mr, t.nv())
	if p.columns {
		a.I("ADDQ", Imm(t.aStep*mr), regA)
		return
	}
	a.I("MOVQ", tileArg("K"), regTmp) // back to the first step, down to the next rows
	a.I("IMUL3Q", Imm(t.aStep), regTmp, regTmp)
	a.I("SUBQ", regTmp, regA)
	a.I("IMUL3Q", Imm(mr), regLDA, regTmp)
	a.I("ADDQ", regTmp, regA)
}

// begin sets the accumulators.
func (t tile) begin(a *Asm, mr int, resumes bool) {
	if t.zero {
		for i := range 2 * mr {
			a.I("VPXOR", Y(i), Y(i), Y(i))
		}
		return
	}
	begun, bias, nv := a.Fresh("begun"), a.Fresh("bias"), t.nv()
	if resumes {
		a.I("MOVQ", tileArg("Sums"), regTmp)
		a.I("TESTQ", regTmp, regTmp)
		a.I("JEQ", bias)
		for i := range nv * mr {
			a.I("VMOVUPS", At(t.size*i, regTmp), t.reg(i))
		}
		a.I("ADDQ", Imm(nv*t.size*mr), tileArg("Sums"))
		a.I("JMP", begun)
		a.Label(bias)
	}
	a.I("MOVQ", tileArg("Bias"), regTmp)
	for v := range nv {
		a.I("VMOVUPS", At(t.size*v, regTmp), t.reg(v))
	}
	for i := nv; i < nv*mr; i++ {
		a.I("VMOVAPS", t.reg(i%nv), t.reg(i))
	}
	if resumes {
		a.Label(begun)
	}
}

// prefetchC asks for the rows of C that the store will add to.
func (t tile) prefetchC(a *Asm, mr int) {
	skip := a.Fresh("noadd")
	a.I("CMPB", tileArg("Add"), Imm(0))
	a.I("JEQ", skip)
	a.I("MOVQ", regC, regTmp)
	for i := range mr {
		for line := 0; line < t.nv()*t.size; line += 64 {
			a.I("PREFETCHT0", At(line, regTmp))
		}
		if i+1 < mr {
			a.I("ADDQ", regLDC, regTmp)
		}
	}
	a.Label(skip)
}

// steps writes the loop over argument k: unroll steps at a time, then single ones.
// move advances the operands by n steps.
func steps(a *Asm, unroll int, step func(u int), move func(n int)) {
	loop, tail, single, done := a.Fresh("loop"), a.Fresh("tail"), a.Fresh("single"), a.Fresh("done")
	a.I("MOVQ", tileArg("K"), regK)
	a.I("SUBQ", Imm(unroll), regK)
	a.I("JLT", tail)
	a.Label(loop)
	for u := range unroll {
		step(u)
	}
	move(unroll)
	a.I("SUBQ", Imm(unroll), regK)
	a.I("JGE", loop)
	a.Label(tail)
	a.I("ADDQ", Imm(unroll), regK)
	a.I("JEQ", done)
	a.Label(single)
	step(0)
	move(1)
	a.I("DECQ", regK)
	a.I("JNE", single)
	a.Label(done)
}

func step512(a *Asm, mr, u int, k kind, at left) {
	a.I("VMOVUPS", At(128*u, regW), Z(28))
	a.I("VMOVUPS", At(128*u+64, regW), Z(29))
	a.I("PREFETCHT0", At(128*u+prefetch, regW))
	a.I("PREFETCHT0", At(128*u+64+prefetch, regW))
	for i := range mr {
		b := 30 + i%2
		a.I("VBROADCASTSS", at(i, 4*u), Z(b))
		k.step(a, 28, b, 2*i)
		k.step(a, 29, b, 2*i+1)
	}
}

func step256(a *Asm, mr, u int, at left, step func(w, b, acc int)) {
	a.I("VMOVUPS", At(128*u, regW), Y(12))
	a.I("VMOVUPS", At(128*u+32, regW), Y(13))
	a.I("PREFETCHT0", At(128*u+prefetch, regW))
	for i := range mr {
		b := 14 + i%2
		a.I("VBROADCASTSS", at(i, 4*u), Y(b))
		step(12, b, 2*i)
		step(13, b, 2*i+1)
	}
}

// eachStore writes a store of mr rows twice, with and without adding what
// stands in C: at emits row i, register v.
func eachStore(a *Asm, mr, nv int, begin func(i int), at func(i, v int, add bool)) {
	plain, end := a.Fresh("store"), a.Fresh("stored")
	a.I("CMPB", tileArg("Add"), Imm(0))
	a.I("JEQ", plain)
	for _, add := range []bool{true, false} {
		if !add {
			a.Label(plain)
		}
		for i := range mr {
			begin(i)
			for v := range nv {
				at(i, v, add)
			}
			a.I("ADDQ", regLDC, regC)
		}
		if add {
			a.I("JMP", end)
		}
	}
	a.Label(end)
}

// storeFloats writes mr rows of nv registers to C.
func storeFloats(a *Asm, t tile, mr, nv int) {
	eachStore(a, mr, nv, func(int) {}, func(i, v int, add bool) {
		acc, c := t.reg(nv*i+v), At(t.size*v, regC)
		if add {
			a.I("VADDPS", c, acc, acc)
		}
		a.I("VMOVUPS", acc, c)
	})
}

// dequantise writes the int32 sums as floats: float(acc)·(scale of the row ·
// scale of the column) + bias, rounded after each operation.
func dequantise(a *Asm, t tile, mr, nv int) {
	scale, wscale, wbias := scaleRegs(a)
	row, both := t.reg(t.size/2-2), t.reg(t.size/2-1) // the last of all registers
	eachStore(a, mr, nv, func(i int) {
		a.I("VBROADCASTSS", At(4*i, scale), row)
	}, func(i, v int, add bool) {
		acc, c := t.reg(nv*i+v), At(t.size*v, regC)
		a.I("VMULPS", At(t.size*v, wscale), row, both)
		a.I("VCVTDQ2PS", acc, acc)
		a.I("VMULPS", both, acc, acc)
		a.I("VADDPS", At(t.size*v, wbias), acc, acc)
		if add {
			a.I("VADDPS", c, acc, acc)
		}
		a.I("VMOVUPS", acc, c)
	})
	nextScales(a, mr)
}

// scaleRegs loads the arguments of a dequantising store over the row bases.
func scaleRegs(a *Asm) (scale, wscale, wbias string) {
	a.I("MOVQ", tileArg("Scale"), "R9")
	a.I("ADDQ", tileArg("Scaled"), "R9")
	a.I("MOVQ", tileArg("WScale"), "R10")
	a.I("MOVQ", tileArg("WBias"), "R11")
	return "R9", "R10", "R11"
}

// nextScales moves on by mr rows. It counts in an integer: a pointer past the
// last scale would point to another object, which the garbage collector follows.
func nextScales(a *Asm, mr int) { a.I("ADDQ", Imm(4*mr), tileArg("Scaled")) }
