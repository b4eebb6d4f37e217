package main

import "fmt"

// A tile is up to mr rows by one or more panels. All kinds of product share one
// loop, because a step is four bytes of A and four bytes of W a column in each:
// a float, two bfloat16 or four int8.

// maxRows512 rows of two registers each leave four registers for operands.
const maxRows512 = 14

// gemm writes the tiles of the matrix products.
func gemm(a *Asm) {
	for _, k := range []kind{
		{"F32", "float32", stepF32, store512},
		{"BF16", "bfloat16 pairs", stepBF16, store512},
		{"Int8", "int8 quads", stepInt8, dequantise512},
	} {
		tile512(a, "tile"+k.name+"AVX512", "computes one panel for operands of "+k.what+".", k)
		wide512(a, "tileWide"+k.name+"AVX512", "computes four neighbouring panels for one to three rows of "+k.what+".", 3, 4, k)
	}
	tile256(a)
}

// kind is what differs between the number formats.
type kind struct {
	name, what string
	step       func(a *Asm, w, b, acc int) // acc += b·w
	store      func(a *Asm, mr, nv int)    // registers to C
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
	regTmp   = "R15"
)

// rowBases hold rows 0, 3, 6, 9 and 12; the rows between are reached by index.
var rowBases = []string{regA, "R9", "R10", "R11", "R12"}

// row is the memory operand of a row's step.
func row(i, disp int) string {
	if i%3 == 0 {
		return At(disp, rowBases[i/3])
	}
	return AtIndex(disp, rowBases[i/3], regLDA, i%3)
}

func arg(field string) string { return "tileArgs_" + field + "(" + regArgs + ")" }

// prologue loads what stays the same in all row tiles.
func prologue(a *Asm) {
	a.I("MOVQ", "args+0(FP)", regArgs)
	a.I("MOVQ", arg("c"), regC)
	a.I("MOVQ", arg("ldc"), regLDC)
	a.I("MOVQ", arg("a"), regA)
	a.I("MOVQ", arg("lda"), regLDA)
	a.I("MOVQ", arg("tiles"), regTiles)
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

// nextRows moves A and C to the next row tile; regA is at the end of its row.
func nextRows(a *Asm, mr int) {
	a.I("MOVQ", arg("k"), regTmp)
	a.I("SHLQ", "$2", regTmp)
	a.I("SUBQ", regTmp, regA)
	a.I("IMUL3Q", Imm(mr), regLDA, regTmp)
	a.I("ADDQ", regTmp, regA)
}

// tile512 writes a function that computes tiles row tiles of mr rows, then
// small row tiles of mr-1 rows, of one panel of 32 columns.
func tile512(a *Asm, name, doc string, k kind) {
	a.Func(name, "(args *tileArgs)", name+" "+doc, 0, 8)
	prologue(a)
	a.I("MOVQ", arg("mr"), regTmp)
	for mr := maxRows512; mr > 1; mr-- {
		a.I("CMPQ", regTmp, Imm(mr))
		a.I("JEQ", rowsLabel(name, mr))
	}
	a.I("JMP", rowsLabel(name, 1))
	for mr := maxRows512; mr > 0; mr-- {
		a.Label(rowsLabel(name, mr))
		rows512(a, mr, k)
		a.I("DECQ", regTiles)
		a.I("JNE", rowsLabel(name, mr))
		a.I("MOVQ", arg("small"), regTiles)
		a.I("MOVQ", Imm(0), arg("small"))
		a.I("TESTQ", regTiles, regTiles)
		if mr > 1 {
			a.I("JEQ", name+"Done")
		}
	}
	a.Label(name + "Done")
	a.I("VZEROUPPER")
	a.I("RET")
}

func rowsLabel(name string, mr int) string { return fmt.Sprintf("%sRows%d", name, mr) }

const (
	unroll = 4
	// prefetch is the distance in bytes at which a panel is asked for ahead of
	// its use: 64 steps of fourteen rows last longer than a read from memory.
	// Past its end it reaches the beginning of the next panel. Measured on Zen 5
	// at 1024×768×3072: 76-87 % of peak with none, 89 % with 1.5 KB, 93 % with 8.
	prefetch = 8192
)

// rows512 writes one row tile: accumulator of row i, half h is Z(2i+h).
func rows512(a *Asm, mr int, k kind) {
	loop, tail, done := a.Fresh("loop"), a.Fresh("tail"), a.Fresh("done")
	a.I("MOVQ", arg("w"), regW)
	a.I("MOVQ", arg("bias"), regTmp)
	a.I("VMOVUPS", At(0, regTmp), Z(0))
	a.I("VMOVUPS", At(64, regTmp), Z(1))
	for i := 1; i < mr; i++ {
		a.I("VMOVAPS", Z(0), Z(2*i))
		a.I("VMOVAPS", Z(1), Z(2*i+1))
	}
	setRows(a, mr)
	one := func(u int) {
		a.I("VMOVUPS", At(128*u, regW), Z(28))
		a.I("VMOVUPS", At(128*u+64, regW), Z(29))
		a.I("PREFETCHT0", At(128*u+prefetch, regW))
		a.I("PREFETCHT0", At(128*u+64+prefetch, regW))
		for i := range mr {
			b := 30 + i%2
			a.I("VBROADCASTSS", row(i, 4*u), Z(b))
			k.step(a, 28, b, 2*i)
			k.step(a, 29, b, 2*i+1)
		}
	}
	a.I("MOVQ", arg("k"), regK)
	a.I("SUBQ", Imm(unroll), regK)
	a.I("JLT", tail)
	a.Label(loop)
	for u := range unroll {
		one(u)
	}
	advance(a, mr, 4*unroll)
	a.I("ADDQ", Imm(128*unroll), regW)
	a.I("SUBQ", Imm(unroll), regK)
	a.I("JGE", loop)
	a.Label(tail)
	a.I("ADDQ", Imm(unroll), regK)
	a.I("JEQ", done)
	single := a.Fresh("single")
	a.Label(single)
	one(0)
	advance(a, mr, 4)
	a.I("ADDQ", "$128", regW)
	a.I("DECQ", regK)
	a.I("JNE", single)
	a.Label(done)
	k.store(a, mr, 2)
	nextRows(a, mr)
}

// store512 writes mr rows of nv registers to C, adding what is there if asked.
func store512(a *Asm, mr, nv int) {
	plain, end := a.Fresh("store"), a.Fresh("stored")
	a.I("CMPB", arg("add"), Imm(0))
	a.I("JEQ", plain)
	for _, add := range []bool{true, false} {
		if !add {
			a.Label(plain)
		}
		for i := range mr {
			for v := range nv {
				if add {
					a.I("VADDPS", At(64*v, regC), Z(nv*i+v), Z(nv*i+v))
				}
				a.I("VMOVUPS", Z(nv*i+v), At(64*v, regC))
			}
			a.I("ADDQ", regLDC, regC)
		}
		if add {
			a.I("JMP", end)
		}
	}
	a.Label(end)
}

// dequantise512 writes the int32 sums as floats: float(acc)·(scale of the row ·
// scale of the column) + bias, rounded after each operation, and C if asked.
func dequantise512(a *Asm, mr, nv int) {
	plain, end := a.Fresh("store"), a.Fresh("stored")
	scale, wscale, wbias := "R9", "R10", "R11"
	a.I("MOVQ", arg("scale"), scale)
	a.I("MOVQ", arg("wscale"), wscale)
	a.I("MOVQ", arg("wbias"), wbias)
	a.I("CMPB", arg("add"), Imm(0))
	a.I("JEQ", plain)
	for _, add := range []bool{true, false} {
		if !add {
			a.Label(plain)
		}
		for i := range mr {
			a.I("VBROADCASTSS", At(4*i, scale), Z(30))
			for v := range nv {
				acc := Z(nv*i + v)
				a.I("VMULPS", At(64*v, wscale), Z(30), Z(31))
				a.I("VCVTDQ2PS", acc, acc)
				a.I("VMULPS", Z(31), acc, acc)
				a.I("VADDPS", At(64*v, wbias), acc, acc)
				if add {
					a.I("VADDPS", At(64*v, regC), acc, acc)
				}
				a.I("VMOVUPS", acc, At(64*v, regC))
			}
			a.I("ADDQ", regLDC, regC)
		}
		if add {
			a.I("JMP", end)
		}
	}
	a.Label(end)
	a.I("ADDQ", Imm(4*mr), scale)
	a.I("MOVQ", scale, arg("scale"))
}

// wide512 writes a function for at most maxRows rows and exactly np panels,
// arg panel bytes apart, whose columns are neighbours in C. So few rows are
// bound by reading W: several panels at once keep more reads in flight and the
// multiply-adds independent.
func wide512(a *Asm, name, doc string, maxRows, np int, k kind) {
	a.Func(name, "(args *tileArgs)", name+" "+doc, 0, 8)
	prologue(a)
	a.I("MOVQ", arg("mr"), regTmp)
	for mr := maxRows; mr > 1; mr-- {
		a.I("CMPQ", regTmp, Imm(mr))
		a.I("JEQ", rowsLabel(name, mr))
	}
	a.I("JMP", rowsLabel(name, 1))
	for mr := maxRows; mr > 0; mr-- {
		a.Label(rowsLabel(name, mr))
		wideRows512(a, mr, np, k)
		a.I("VZEROUPPER")
		a.I("RET")
	}
}

func wideRows512(a *Asm, mr, np int, k kind) {
	loop, tail, done := a.Fresh("loop"), a.Fresh("tail"), a.Fresh("done")
	nv := 2 * np
	panels := []string{regW, "R9", "R10", "R11"}[:np]
	a.I("MOVQ", arg("w"), regW)
	a.I("MOVQ", arg("panel"), regTmp)
	for i := 1; i < np; i++ {
		a.I("LEAQ", AtIndex(0, panels[i-1], regTmp, 1), panels[i])
	}
	a.I("MOVQ", arg("bias"), regTmp)
	for v := range nv {
		a.I("VMOVUPS", At(64*v, regTmp), Z(v))
	}
	for i := 1; i < mr; i++ {
		for v := range nv {
			a.I("VMOVAPS", Z(v), Z(nv*i+v))
		}
	}
	one := func(u int) {
		for i := range mr {
			a.I("VBROADCASTSS", row(i, 4*u), Z(31-i))
		}
		for v := range nv {
			w := 24 + v%4
			a.I("VMOVUPS", At(128*u+64*(v%2), panels[v/2]), Z(w))
			if u%2 == 0 {
				a.I("PREFETCHT0", At(128*u+128*(v%2)+prefetch, panels[v/2]))
			}
			for i := range mr {
				k.step(a, w, 31-i, nv*i+v)
			}
		}
	}
	move := func(n int) {
		a.I("ADDQ", Imm(4*n), regA)
		for _, p := range panels {
			a.I("ADDQ", Imm(128*n), p)
		}
	}
	a.I("MOVQ", arg("k"), regK)
	a.I("SUBQ", Imm(unroll), regK)
	a.I("JLT", tail)
	a.Label(loop)
	for u := range unroll {
		one(u)
	}
	move(unroll)
	a.I("SUBQ", Imm(unroll), regK)
	a.I("JGE", loop)
	a.Label(tail)
	a.I("ADDQ", Imm(unroll), regK)
	a.I("JEQ", done)
	single := a.Fresh("single")
	a.Label(single)
	one(0)
	move(1)
	a.I("DECQ", regK)
	a.I("JNE", single)
	a.Label(done)
	k.store(a, mr, nv)
}
