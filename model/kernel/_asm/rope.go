package main

// rope writes the rotary position embedding.
func rope(a *Asm) {
	maskTable(a, "rope")
	for v := range constants(a, "rope", nil) {
		v.rotate()
	}
}

// rotate writes the rotation of rows of heads. The vectors of a row's cosines
// and sines are the outer loop, so that they stay in registers for all heads.
func (v *Vec) rotate() {
	v.begin(Kernel{
		Name:   "rotate",
		Doc:    "rotates half pairs of heads; row r by row r of the tables, of half columns.",
		Params: "x []float32, ldx, rows, heads, d int, cos, sin []float32, ldt, half int",
		Args: []Arg{
			"x *float32", "ldx int = 4*ldx", "rows int", "heads int", "d int", "cos *float32",
			"sin *float32", "ldt int = 4*ldt", "half int",
		},
	}, 0)
	v.take("x", "DI", "cos", "SI", "sin", "DX", "d", "R8")
	v.I("SHLQ", "$2", "R8")
	v.I("MOVQ", v.arg("half"), "R9")
	v.I("SHLQ", "$2", "R9")
	v.take("rows", "R11", "half", regFull)
	v.columns()
	loop := v.Fresh("rows")
	v.Label(loop)
	v.each(1, func() {
		v.load("SI", "t0")
		v.load("DX", "t1")
		v.I("LEAQ", "(DI)(BX*1)", "R12")
		v.I("MOVQ", v.arg("heads"), "R13")
		head := v.Fresh("head")
		v.Label(head)
		v.at("(R12)", "t2", false)
		v.at("(R12)(R9*1)", "t3", false)
		v.op("VMULPS", "t1", "t3", "t4")
		v.op("VFMSUB231PS", "t0", "t2", "t4") // x1·cos − x2·sin
		v.op("VMULPS", "t1", "t2", "t5")
		v.op("VFMADD231PS", "t0", "t3", "t5") // x2·cos + x1·sin
		v.at("(R12)", "t4", true)
		v.at("(R12)(R9*1)", "t5", true)
		v.I("ADDQ", "R8", "R12")
		v.I("DECQ", "R13")
		v.I("JNE", head)
	})
	v.I("ADDQ", v.arg("ldx"), "DI")
	v.I("ADDQ", v.arg("ldt"), "SI")
	v.I("ADDQ", v.arg("ldt"), "DX")
	v.I("DECQ", "R11")
	v.I("JNE", loop)
	v.end()
}

// at loads or stores a temporary at an address of its own.
func (v *Vec) at(mem, t string, store bool) {
	mask := []string{}
	op := "VMOVUPS"
	if v.tail && v.wide {
		mask = []string{maskTail}
		if !store {
			op = "VMOVUPS.Z"
		}
	} else if v.tail {
		mask = []string{v.regs["tail"]}
		op = "VMASKMOVPS"
	}
	from, to := mem, t
	if store {
		from, to = t, mem
	}
	v.op(op, append(append([]string{from}, mask...), to)...)
}
