package main

// What functions that are not written with Vec share.

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

// reduceDwords reduces Y0 to the low dword of X0.
func reduceDwords(a *Asm, op string) {
	a.I("VEXTRACTI128", "$1", "Y0", "X1")
	a.I(op, "X1", "X0", "X0")
	a.I("VPSHUFD", "$0x4e", "X0", "X1")
	a.I(op, "X1", "X0", "X0")
	a.I("VPSHUFD", "$0xb1", "X0", "X1")
	a.I(op, "X1", "X0", "X0")
}

// loop256 writes a loop over n elements, a multiple of each, at SI.
func loop256(a *Asm, name string, each int, body func()) {
	a.I("TESTQ", "CX", "CX")
	a.I("JEQ", name+"Done")
	a.Label(name + "Loop")
	body()
	a.I("ADDQ", Imm(4*each), "SI")
	a.I("SUBQ", Imm(each), "CX")
	a.I("JNE", name+"Loop")
	a.Label(name + "Done")
}
