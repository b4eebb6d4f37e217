package main

// maxRows256 rows of two registers each leave four registers for operands.
const maxRows256 = 6

// tile256 writes the float32 tile for AVX2: half a panel, 16 columns, so that
// the caller runs it twice with w, c and bias 64 bytes further.
func tile256(a *Asm) {
	const name = "tileF32AVX2"
	a.Func(name, "(args *tileArgs)", name+" computes half a panel for float32 operands.", 0, 8)
	prologue(a)
	a.I("MOVQ", arg("mr"), regTmp)
	for mr := maxRows256; mr > 1; mr-- {
		a.I("CMPQ", regTmp, Imm(mr))
		a.I("JEQ", rowsLabel(name, mr))
	}
	a.I("JMP", rowsLabel(name, 1))
	for mr := maxRows256; mr > 0; mr-- {
		a.Label(rowsLabel(name, mr))
		rows256(a, mr)
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

// rows256 writes one row tile: accumulator of row i, half h is Y(2i+h).
func rows256(a *Asm, mr int) {
	loop, tail, done := a.Fresh("loop"), a.Fresh("tail"), a.Fresh("done")
	a.I("MOVQ", arg("w"), regW)
	a.I("MOVQ", arg("bias"), regTmp)
	a.I("VMOVUPS", At(0, regTmp), Y(0))
	a.I("VMOVUPS", At(32, regTmp), Y(1))
	for i := 1; i < mr; i++ {
		a.I("VMOVAPS", Y(0), Y(2*i))
		a.I("VMOVAPS", Y(1), Y(2*i+1))
	}
	setRows(a, mr)
	one := func(u int) {
		a.I("VMOVUPS", At(128*u, regW), Y(12))
		a.I("VMOVUPS", At(128*u+32, regW), Y(13))
		a.I("PREFETCHT0", At(128*u+prefetch, regW))
		for i := range mr {
			b := 14 + i%2
			a.I("VBROADCASTSS", row(i, 4*u), Y(b))
			a.I("VFMADD231PS", Y(12), Y(b), Y(2*i))
			a.I("VFMADD231PS", Y(13), Y(b), Y(2*i+1))
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
	plain, end := a.Fresh("store"), a.Fresh("stored")
	a.I("CMPB", arg("add"), Imm(0))
	a.I("JEQ", plain)
	for _, add := range []bool{true, false} {
		if !add {
			a.Label(plain)
		}
		for i := range mr {
			for v := range 2 {
				if add {
					a.I("VADDPS", At(32*v, regC), Y(2*i+v), Y(2*i+v))
				}
				a.I("VMOVUPS", Y(2*i+v), At(32*v, regC))
			}
			a.I("ADDQ", regLDC, regC)
		}
		if add {
			a.I("JMP", end)
		}
	}
	a.Label(end)
	nextRows(a, mr)
}
