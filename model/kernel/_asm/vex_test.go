package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestInstructionsAreTheManualsBytes compares each instruction that is written as bytes
// with them. Source: Intel SDM volume 2, the opcode line of each instruction
// (VEX.128.<prefix>.0F38.W0 <opcode> <ModR/M>), put together by hand and equal to
// what GNU as 2.40 makes of the same text; where that takes a displacement of no or of
// one byte, here it has four.
func TestInstructionsAreTheManualsBytes(t *testing.T) {
	for _, c := range []struct {
		write func(a *Asm)
		text  string
		bytes string
	}{
		// LDTILECFG m512: NP 49 !(11):000:bbb
		{func(a *Asm) { a.LDTILECFG("AX") }, "LDTILECFG (AX)", "c4 e2 78 49 84 20 00 00 00 00"},
		{func(a *Asm) { a.LDTILECFG("R15") }, "LDTILECFG (R15)", "c4 c2 78 49 84 27 00 00 00 00"},
		// TILERELEASE: NP 49 C0
		{func(a *Asm) { a.TILERELEASE() }, "TILERELEASE", "c4 e2 78 49 c0"},
		// TILELOADD tmm1, sibmem: F2 4B !(11):rrr:100
		{func(a *Asm) { a.TILELOADD(6, 0, "CX", "R9") }, "TILELOADD (CX)(R9*1), TMM6", "c4 a2 7b 4b b4 09 00 00 00 00"},
		{func(a *Asm) { a.TILELOADD(7, 64, "CX", "R9") }, "TILELOADD 64(CX)(R9*1), TMM7", "c4 a2 7b 4b bc 09 40 00 00 00"},
		{func(a *Asm) { a.TILELOADD(5, 0, "BX", "R8") }, "TILELOADD (BX)(R8*1), TMM5", "c4 a2 7b 4b ac 03 00 00 00 00"},
		{func(a *Asm) { a.TILELOADD(1, 64, "R15", "") }, "TILELOADD 64(R15), TMM1", "c4 c2 7b 4b 8c 27 40 00 00 00"},
		{func(a *Asm) { a.TILELOADD(3, 2112, "BX", "R9") }, "TILELOADD 2112(BX)(R9*1), TMM3", "c4 a2 7b 4b 9c 0b 40 08 00 00"},
		{func(a *Asm) { a.TILELOADD(0, -128, "DX", "SI") }, "TILELOADD -128(DX)(SI*1), TMM0", "c4 e2 7b 4b 84 32 80 ff ff ff"},
		// TILESTORED sibmem, tmm1: F3 4B !(11):rrr:100
		{func(a *Asm) { a.TILESTORED(0, 0, "R12", "R9") }, "TILESTORED TMM0, (R12)(R9*1)", "c4 82 7a 4b 84 0c 00 00 00 00"},
		{func(a *Asm) { a.TILESTORED(3, 2112, "R12", "R9") }, "TILESTORED TMM3, 2112(R12)(R9*1)", "c4 82 7a 4b 9c 0c 40 08 00 00"},
		{func(a *Asm) { a.TILESTORED(2, 2048, "DI", "CX") }, "TILESTORED TMM2, 2048(DI)(CX*1)", "c4 e2 7a 4b 94 0f 00 08 00 00"},
		// TDPBF16PS tmm1, tmm2, tmm3: F3 5C 11:rrr:bbb, tmm3 in VEX.vvvv
		{func(a *Asm) { a.TDPBF16PS(6, 4, 0) }, "TDPBF16PS TMM6, TMM4, TMM0", "c4 e2 4a 5c c4"},
		{func(a *Asm) { a.TDPBF16PS(7, 5, 3) }, "TDPBF16PS TMM7, TMM5, TMM3", "c4 e2 42 5c dd"},
		{func(a *Asm) { a.TDPBF16PS(0, 1, 2) }, "TDPBF16PS TMM0, TMM1, TMM2", "c4 e2 7a 5c d1"},
		// TDPBUSD tmm1, tmm2, tmm3: 66 5E 11:rrr:bbb, tmm3 in VEX.vvvv
		{func(a *Asm) { a.TDPBUSD(6, 5, 2) }, "TDPBUSD TMM6, TMM5, TMM2", "c4 e2 49 5e d5"},
		{func(a *Asm) { a.TDPBUSD(7, 4, 1) }, "TDPBUSD TMM7, TMM4, TMM1", "c4 e2 41 5e cc"},
		// VPDPBUSD ymm1, ymm2, ymm3/m256: VEX.256.66.0F38.W0 50 /r, ymm2 in VEX.vvvv
		{func(a *Asm) { a.VPDPBUSD256(12, 14, 0) }, "VPDPBUSD Y12, Y14, Y0", "c4 c2 0d 50 c4"},
		{func(a *Asm) { a.VPDPBUSD256(13, 15, 11) }, "VPDPBUSD Y13, Y15, Y11", "c4 42 05 50 dd"},
		{func(a *Asm) { a.VPDPBUSD256(2, 1, 7) }, "VPDPBUSD Y2, Y1, Y7", "c4 e2 75 50 fa"},
	} {
		t.Run(c.text, func(t *testing.T) {
			var a Asm
			c.write(&a)
			var want strings.Builder
			for i, b := range strings.Fields(c.bytes) {
				if i > 0 {
					want.WriteString("; ")
				}
				want.WriteString("BYTE $0x" + b)
			}
			if got := strings.TrimSpace(a.body.String()); got != fmt.Sprintf("%s // %s", &want, c.text) {
				t.Fatalf("%s, want %s", got, &want)
			}
		})
	}
}
