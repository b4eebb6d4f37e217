package main

import "fmt"

// Instructions that Go's assembler lacks, as bytes. All are EVEX encoded, 512
// bits wide, in opcode map 0F38 with W = 0, between registers, without masks.
// Source: Intel SDM volume 2, section 2.7 (EVEX prefix).

const (
	prefixF3 = 2
	prefixF2 = 3
)

// evex emits opcode with the mandatory prefix pp for dst, src1 (vvvv), src2 (rm).
func (a *Asm) evex(text string, pp, opcode, dst, src1, src2 int) {
	inv := func(v, bit, to int) int { return (^(v >> bit) & 1) << to }
	p0 := inv(dst, 3, 7) | inv(src2, 4, 6) | inv(src2, 3, 5) | inv(dst, 4, 4) | 2
	p1 := (^src1&15)<<3 | 1<<2 | pp
	p2 := 2<<5 | inv(src1, 4, 3)
	modrm := 3<<6 | dst&7<<3 | src2&7
	fmt.Fprintf(&a.body, "\tLONG $0x%02x%02x%02x62; WORD $0x%02x%02x // %s\n", p2, p1, p0, modrm, opcode, text)
}

// VDPBF16PS adds to the sixteen sums of dst the products of the bfloat16 pairs
// of src1 and src2.
func (a *Asm) VDPBF16PS(src2, src1, dst int) {
	a.evex(fmt.Sprintf("VDPBF16PS Z%d, Z%d, Z%d", src2, src1, dst), prefixF3, 0x52, dst, src1, src2)
}

// VCVTNE2PS2BF16 rounds hi and lo to bfloat16: lo into the lower half of dst.
func (a *Asm) VCVTNE2PS2BF16(lo, hi, dst int) {
	a.evex(fmt.Sprintf("VCVTNE2PS2BF16 Z%d, Z%d, Z%d", lo, hi, dst), prefixF2, 0x72, dst, hi, lo)
}

// VCVTNEPS2BF16 rounds the sixteen floats of src to bfloat16 in Y(dst).
func (a *Asm) VCVTNEPS2BF16(src, dst int) {
	a.evex(fmt.Sprintf("VCVTNEPS2BF16 Z%d, Y%d", src, dst), prefixF3, 0x72, dst, 0, src)
}
