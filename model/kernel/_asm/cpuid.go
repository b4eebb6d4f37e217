package main

// cpuid writes what tells whether the processor has the unit and the system saves it.
func cpuid(a *Asm) {
	a.Func("CPUID", "(leaf, sub uint32) (eax, ebx, ecx, edx uint32)",
		"CPUID returns what the processor says of itself.", 0, 24)
	a.I("MOVL", "leaf+0(FP)", "AX")
	a.I("MOVL", "sub+4(FP)", "CX")
	a.I("CPUID")
	for i, r := range []string{"AX", "BX", "CX", "DX"} {
		a.I("MOVL", r, []string{"eax+8(FP)", "ebx+12(FP)", "ecx+16(FP)", "edx+20(FP)"}[i])
	}
	a.I("RET")
	a.Func("XCR0", "() (states uint32)",
		"XCR0 returns the states of registers that the system saves; the processor must have AVX.", 0, 4)
	a.I("XORL", "CX", "CX")
	a.I("XGETBV")
	a.I("MOVL", "AX", "states+0(FP)")
	a.I("RET")
}
