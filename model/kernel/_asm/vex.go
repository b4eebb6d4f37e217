package main

import "fmt"

// Instructions of the matrix unit and of AVX-VNNI, which Go's assembler lacks, as bytes.
// All are VEX encoded in three bytes of prefix, opcode map 0F38, W = 0, 128 bits but for
// those of AVX-VNNI, 256.
// Source: Intel SDM volume 2, section 2.3.5 (VEX prefix) and the pages of each
// instruction; section 2.1.5 for ModR/M and SIB.

const (
	prefixNone = 0
	prefix66   = 1
)

// gprs are the numbers of the general registers.
var gprs = map[string]int{
	"AX": 0, "CX": 1, "DX": 2, "BX": 3, "BP": 5, "SI": 6, "DI": 7,
	"R8": 8, "R9": 9, "R10": 10, "R11": 11, "R12": 12, "R13": 13, "R15": 15,
}

// bytes emits one instruction whose text stands behind it.
func (a *Asm) bytes(text string, code ...byte) {
	for i, b := range code {
		if i == 0 {
			fmt.Fprintf(&a.body, "\tBYTE $0x%02x", b)
		} else {
			fmt.Fprintf(&a.body, "; BYTE $0x%02x", b)
		}
	}
	fmt.Fprintf(&a.body, " // %s\n", text)
}

// vexTiles emits opcode with the mandatory prefix pp for tiles dst (reg), src1 (rm)
// and src2 (vvvv).
func (a *Asm) vexTiles(text string, pp, opcode, dst, src1, src2 int) {
	a.bytes(text, 0xc4, 0xe2, byte(^src2&15<<3|pp), byte(opcode), byte(3<<6|dst<<3|src1))
}

// vexMemory emits opcode for tile t and the memory at disp(base), whose rows are
// index bytes apart; without an index every row is the first.
func (a *Asm) vexMemory(text string, pp, opcode, t, disp int, base, index string) {
	b, x := gpr(base), 4 // SIB without an index
	if index != "" {
		x = gpr(index)
	}
	p0 := 1<<7 | (^x>>3&1)<<6 | (^b>>3&1)<<5 | 2
	a.bytes(text, 0xc4, byte(p0), byte(15<<3|pp), byte(opcode), byte(2<<6|t<<3|4), byte(x&7<<3|b&7),
		byte(disp), byte(disp>>8), byte(disp>>16), byte(disp>>24))
}

func gpr(name string) int {
	n, ok := gprs[name]
	if !ok {
		panic("no register " + name)
	}
	return n
}

// LDTILECFG takes the shapes of the tiles from (base) and sets the tiles to zero.
func (a *Asm) LDTILECFG(base string) {
	a.vexMemory("LDTILECFG "+At(0, base), prefixNone, 0x49, 0, 0, base, "")
}

// TILERELEASE gives the unit back its initial state, which no switch of threads
// has to save.
func (a *Asm) TILERELEASE() { a.bytes("TILERELEASE", 0xc4, 0xe2, 0x78, 0x49, 0xc0) }

// TILELOADD loads the rows of tile t.
func (a *Asm) TILELOADD(t, disp int, base, index string) {
	a.vexMemory(fmt.Sprintf("TILELOADD %s, TMM%d", tileRows(disp, base, index), t), prefixF2, 0x4b, t, disp, base, index)
}

// TILESTORED stores the rows of tile t.
func (a *Asm) TILESTORED(t, disp int, base, index string) {
	a.vexMemory(fmt.Sprintf("TILESTORED TMM%d, %s", t, tileRows(disp, base, index)), prefixF3, 0x4b, t, disp, base, index)
}

func tileRows(disp int, base, index string) string {
	if index == "" {
		return At(disp, base)
	}
	return AtIndex(disp, base, index, 1)
}

// TDPBF16PS adds to tile acc the product of the bfloat16 pairs of tiles x and w.
func (a *Asm) TDPBF16PS(w, x, acc int) {
	a.vexTiles(fmt.Sprintf("TDPBF16PS TMM%d, TMM%d, TMM%d", w, x, acc), prefixF3, 0x5c, acc, x, w)
}

// TDPBUSD adds to tile acc the product of the quads of tiles x, unsigned, and w,
// signed.
func (a *Asm) TDPBUSD(w, x, acc int) {
	a.vexTiles(fmt.Sprintf("TDPBUSD TMM%d, TMM%d, TMM%d", w, x, acc), prefix66, 0x5e, acc, x, w)
}

// VPDPBUSD256 adds to the eight sums of dst the products of the quads of src1, unsigned,
// and src2, signed, without AVX-512.
func (a *Asm) VPDPBUSD256(src2, src1, dst int) {
	const wide = 1 << 2
	p0 := (^dst>>3&1)<<7 | 1<<6 | (^src2>>3&1)<<5 | 2
	a.bytes(fmt.Sprintf("VPDPBUSD Y%d, Y%d, Y%d", src2, src1, dst),
		0xc4, byte(p0), byte(^src1&15<<3|wide|prefix66), 0x50, byte(3<<6|dst&7<<3|src2&7))
}
