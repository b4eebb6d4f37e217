package main

// Products of float32 on the matrix unit, each value the exact sum of three bfloat16.
// Rows of A come in parts; those of a panel are made here, a range of K at a time, so
// that weights are in memory once, as every other level reads them.

// Registers of the split, with two vectors of values in Z20 and Z21.
const (
	splitHalf  = "Z30" // half a unit in the last place of bfloat16
	splitUpper = "Z31" // what bfloat16 has of a float
)

// splitConstants sets them.
func splitConstants(a *Asm) {
	a.I("MOVQ", "$0x8000", regTmp)
	a.I("VPBROADCASTD", regTmp, splitHalf)
	a.I("MOVQ", "$0xffff0000", regTmp)
	a.I("VPBROADCASTD", regTmp, splitUpper)
}

// splitPairs splits sixteen values at lo, for the lower halves of pairs, and at hi, for
// the upper ones: the first two parts are rounded to nearest, ties away from zero, the
// last one is what is left.
func splitPairs(a *Asm, lo, hi string, parts [3]string) {
	a.I("VMOVUPS", lo, "Z20")
	a.I("VMOVUPS", hi, "Z21")
	for i := range 2 {
		a.I("VPADDD", splitHalf, "Z20", "Z22")
		a.I("VPADDD", splitHalf, "Z21", "Z23")
		a.I("VPANDD", splitUpper, "Z22", "Z22")
		a.I("VPANDD", splitUpper, "Z23", "Z23")
		a.I("VSUBPS", "Z22", "Z20", "Z20")
		a.I("VSUBPS", "Z23", "Z21", "Z21")
		a.I("VPSRLD", "$16", "Z22", "Z22")
		a.I("VPORD", "Z22", "Z23", "Z22")
		a.I("VMOVUPS", "Z22", parts[i])
	}
	a.I("VPSRLD", "$16", "Z20", "Z20")
	a.I("VPTERNLOGD", "$0xf8", splitUpper, "Z21", "Z20") // Z20 | Z21&upper
	a.I("VMOVUPS", "Z20", parts[2])
}

// Bytes of a tile of a panel, and of its parts.
const (
	splitTile  = 4 * 32 * 32
	splitParts = 3 * 2048
)

// splitAhead is how many tiles of the panel are split before the first step of a range;
// each step of its first block of rows splits one more. The unit must not load at once
// what was stored a moment ago.
const splitAhead = 2

// splitTwo splits rows i and i+16 of a tile at from to the two tiles of W of each part at
// to, one for each half of the panel: a tile has sixteen pairs of rows.
func splitTwo(a *Asm, from, to string, i, disp int) {
	for h := range 2 {
		d := disp + 1024*h + 64*i
		splitPairs(a, At(128*i+64*h, from), At(128*(i+16)+64*h, from), [3]string{At(d, to), At(d+2048, to), At(d+4096, to)})
	}
}

// split splits the first tiles of a range of the panel, and the step behind it.
func (m matrix) split(a *Asm, l string) {
	const from, to, tiles, pairs = "BX", "AX", "CX", "DX"
	tile := func(l string) {
		a.I("MOVQ", Imm(16), pairs)
		a.Label(l)
		splitTwo(a, from, to, 0, 0)
		a.I("ADDQ", Imm(128), from)
		a.I("ADDQ", Imm(64), to)
		a.I("DECQ", pairs)
		a.I("JNE", l)
		a.I("ADDQ", Imm(splitTile-16*128), from)
		a.I("ADDQ", Imm(splitParts-16*64), to)
	}
	a.I("MOVQ", amxArg("AtK"), from)
	a.I("SHLQ", Imm(12), from)
	a.I("ADDQ", amxArg("W"), from)
	a.I("ADDQ", amxArg("AtW"), from)
	a.I("MOVQ", amxArg("Parts"), to)
	a.I("MOVQ", amxArg("Steps"), tiles)
	a.I("TESTQ", tiles, tiles)
	a.I("JEQ", l+"SplitTail")
	a.I("MOVQ", Imm(splitAhead), pairs)
	a.I("CMPQ", tiles, pairs)
	a.I("CMOVQGT", pairs, tiles)
	a.Label(l + "Split")
	tile(l + "SplitPairs")
	a.I("DECQ", tiles)
	a.I("JNE", l+"Split")
	a.Label(l + "SplitTail")
	m.tail(a, from, l+"SplitDone")
	a.I("MOVQ", amxArg("Steps"), to)
	a.I("IMUL3Q", Imm(splitParts), to, to)
	a.I("ADDQ", amxArg("Parts"), to)
	tile(l + "SplitTailPairs")
	a.Label(l + "SplitDone")
}

// splitSteps is steps for operands in parts.
func (m matrix) splitSteps(a *Asm, l string, row func(), rows ...string) {
	const from = amxScale // the tile to split
	step := func() { m.six(a, func() { writeRows(a, row) }, func(int) {}, rows) }
	a.I("MOVQ", amxArg("Steps"), amxK)
	a.I("TESTQ", amxK, amxK)
	a.I("JEQ", l+"Tail")
	m.ahead(a)
	a.I("CMPQ", amxArg("Row"), Imm(0))
	a.I("JNE", l+"Loop")
	a.I("MOVQ", amxArg("AtK"), from)
	a.I("ADDQ", Imm(splitAhead), from)
	a.I("SHLQ", Imm(12), from)
	a.I("ADDQ", amxArg("W"), from)
	a.I("ADDQ", amxArg("AtW"), from)
	a.I("SUBQ", Imm(splitAhead), amxK)
	a.I("JLE", l+"Short")
	m.loop(a, l+"SplitLoop", func() {
		m.six(a, func() { writeRows(a, row) }, func(i int) { splitTwo(a, from, amxW, i, splitAhead*splitParts) }, rows)
		a.I("ADDQ", Imm(splitTile), from)
	}, rows)
	a.Label(l + "Short")
	a.I("ADDQ", Imm(splitAhead), amxK)
	m.loop(a, l+"Loop", step, rows)
	a.Label(l + "Tail")
	m.tail(a, amxK, l+"Done")
	step()
	a.Label(l + "Done")
}

// sixParts are the products of parts, least first, so that one of the two parts stays
// from each to the next: those of the three smallest pairs, below 2⁻²³ of a product of
// values, are left out.
var sixParts = [][2]int{{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}} // of A and W

// six writes one step of a block of one or two tiles of rows, with between behind the
// first products and split, of 0 to 15, among all but the last.
func (m matrix) six(a *Asm, between func(), split func(i int), rows []string) {
	done := 0
	for i, p := range sixParts {
		if i == 0 || p[0] != sixParts[i-1][0] {
			for r, at := range rows {
				a.TILELOADD(4+r, 1024*p[0], at, regLDA)
			}
		}
		if i == 0 || p[1] != sixParts[i-1][1] {
			a.TILELOADD(6, 2048*p[1], amxW, regLDA)
			a.TILELOADD(7, 2048*p[1]+1024, amxW, regLDA)
		}
		for w := range 2 {
			for r := range rows {
				m.dot(a, 6+w, 4+r, 2*r+w)
			}
			if i+w == 0 {
				between()
			}
			for ; done < 16*(2*i+w+1)/10 && done < 16; done++ {
				split(done)
			}
		}
	}
}

// aStep is the distance in bytes from one step of A to the next.
func (m matrix) aStep() int {
	if m.parts > 1 {
		return 1024 * m.parts
	}
	return 64
}

// aheadBytes is what a step of a block of rows asks for of the next panel: a quarter of
// a tile, for four blocks.
func (m matrix) aheadBytes() int {
	if m.parts > 1 {
		return 1024
	}
	return 512
}

// ahead sets regTmp to the part of the next panel that a block of rows asks for.
func (m matrix) ahead(a *Asm) {
	a.I("MOVQ", amxArg("Row"), regTmp)
	a.I("IMUL3Q", Imm(m.aheadBytes()/32), regTmp, regTmp)
	a.I("IMULQ", amxK, regTmp)
	a.I("ADDQ", amxArg("Panel"), regTmp)
	if m.parts == 1 {
		a.I("ADDQ", amxW, regTmp)
		return
	}
	a.I("ADDQ", amxArg("W"), regTmp)
	a.I("ADDQ", amxArg("AtW"), regTmp)
}
