package main

import (
	"fmt"
	"math"
)

// sha256Blocks writes SHA-256 of sixteen texts at a time, one to a 32-bit lane. AVX-512
// brings rotations and functions of three bits in one instruction, and registers for
// the message beside the state; with AVX2, which takes eight texts and then the others,
// both are made of several, and the message stands in the frame.
func sha256Blocks(a *Asm) {
	a.Table("sha256K", sha256K()...)
	// The bytes of each word from big to little endian.
	a.Table("sha256Swap", 0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f)
	for _, wide := range []bool{true, false} {
		s := &sha{Asm: a, wide: wide}
		s.write()
	}
}

// sha256K returns the constants of the rounds: the first 32 bits of the fractional parts
// of the cube roots of the first 64 primes.
func sha256K() []uint32 {
	var k []uint32
	for n := 2; len(k) < 64; n++ {
		prime := true
		for d := 2; d*d <= n; d++ {
			prime = prime && n%d != 0
		}
		if prime {
			_, frac := math.Modf(math.Cbrt(float64(n)))
			k = append(k, uint32(frac*(1<<32)))
		}
	}
	return k
}

// sha writes the function of one level. Registers 0 to 7 hold the state a to h, which the
// rounds rename rather than move, 8 to 15 are temporaries.
type sha struct {
	*Asm
	wide bool
}

// shaTexts are the registers of eight texts, shaAt is how far they were read.
var shaTexts = []string{"AX", "BX", "DX", "SI", "R8", "R9", "R10", "R11"}

const shaAt = "CX"

// r names a vector register.
func (s *sha) r(i int) string {
	if s.wide {
		return Z(i)
	}
	return Y(i)
}

func (s *sha) write() {
	level, frame := "AVX512", 0
	if !s.wide {
		level, frame = "AVX2", 16*32
	}
	s.Begin(Kernel{
		Name:   "sha256Blocks",
		Doc:    "adds blocks of 64 bytes, at least one, of each of sixteen texts to their states.",
		Params: "state *sha256State, texts *[sha256Lanes]*byte, blocks int",
		Args:   []Arg{"state *uint32 = &state[0][0]", "texts **byte = &texts[0]", "blocks int"},
	}, level, frame)
	s.I("MOVQ", s.arg("texts"), "R13")
	s.I("MOVQ", s.arg("state"), "DI")
	half := s.Fresh("half")
	if !s.wide {
		s.I("MOVQ", "$2", "R15")
		s.Label(half)
		for i, r := range shaTexts {
			s.I("MOVQ", At(8*i, "R13"), r)
		}
	}
	s.I("MOVQ", s.arg("blocks"), "R12")
	s.I("XORL", shaAt, shaAt)
	loop := s.Fresh("block")
	s.Label(loop)
	move := "VMOVDQU"
	if s.wide {
		move = "VMOVDQU32"
		s.message16()
	} else {
		s.message(0)
		s.message(8)
	}
	for i := range 8 {
		s.I(move, At(64*i, "DI"), s.r(i))
	}
	for t := range 64 {
		s.round(t)
	}
	for i := range 8 { // 64 rounds rename each register to itself
		s.I("VPADDD", At(64*i, "DI"), s.r(i), s.r(i))
		s.I(move, s.r(i), At(64*i, "DI"))
	}
	s.I("ADDQ", "$64", shaAt)
	s.I("DECQ", "R12")
	s.I("JNE", loop)
	if !s.wide {
		s.I("ADDQ", "$64", "R13")
		s.I("ADDQ", "$32", "DI")
		s.I("DECQ", "R15")
		s.I("JNE", half)
	}
	s.I("VZEROUPPER")
	s.I("RET")
}

// w is the operand of a word of the message, of all lanes.
func (s *sha) w(t int) string {
	if s.wide {
		return Z(16 + t%16)
	}
	return fmt.Sprintf("w-%d(SP)", 16*32-t%16*32)
}

// move copies between a register and a word of the message.
func (s *sha) move(from, to string) {
	if s.wide {
		s.I("VMOVDQA32", from, to)
	} else {
		s.I("VMOVDQU", from, to)
	}
}

// unpack stores the lower halves of pairs of registers, exchanged by words of kind, in the
// first and the upper halves in the second of two registers.
func (s *sha) unpack(kind string, from, to [][2]int) {
	for i, p := range from {
		s.I("VPUNPCKL"+kind, s.r(p[1]), s.r(p[0]), s.r(to[i][0]))
		s.I("VPUNPCKH"+kind, s.r(p[1]), s.r(p[0]), s.r(to[i][1]))
	}
}

// message turns eight words of each of eight texts, from word first of its block on, into
// lanes.
func (s *sha) message(first int) {
	s.I("VBROADCASTI128", "·sha256Swap<>(SB)", Y(8))
	for i, r := range shaTexts {
		s.I("VMOVDQU", AtIndex(4*first, r, shaAt, 1), Y(i))
		s.I("VPSHUFB", Y(8), Y(i), Y(i))
	}
	s.unpack("DQ", [][2]int{{0, 1}, {2, 3}, {4, 5}, {6, 7}}, [][2]int{{8, 9}, {10, 11}, {12, 13}, {14, 15}})
	// Now 8 to 15 hold words 0 1, 2 3 of lanes 0 1, 2 3, then of 4 5, 6 7.
	s.unpack("QDQ", [][2]int{{8, 10}, {9, 11}, {12, 14}, {13, 15}}, [][2]int{{0, 1}, {2, 3}, {4, 5}, {6, 7}})
	for j := range 4 {
		s.I("VPERM2I128", "$0x20", Y(4+j), Y(j), Y(8))
		s.I("VPERM2I128", "$0x31", Y(4+j), Y(j), Y(9))
		s.move(Y(8), s.w(first+j))
		s.move(Y(9), s.w(first+4+j))
	}
}

// message16 turns the block of each of sixteen texts into lanes.
func (s *sha) message16() {
	s.I("VBROADCASTI32X4", "·sha256Swap<>(SB)", Z(8))
	for g := range 4 { // texts at a time
		for i := range 4 {
			s.I("MOVQ", At(8*(4*g+i), "R13"), "AX")
			s.I("VMOVDQU32", AtIndex(0, "AX", shaAt, 1), Z(i))
			s.I("VPSHUFB", Z(8), Z(i), Z(i))
		}
		s.unpack("DQ", [][2]int{{0, 1}, {2, 3}}, [][2]int{{4, 5}, {6, 7}})
		t := 16 + 4*g
		s.unpack("QDQ", [][2]int{{4, 6}, {5, 7}}, [][2]int{{t, t + 1}, {t + 2, t + 3}})
	}
	// Now register 16+4g+j holds words j, 4+j, 8+j and 12+j of texts 4g to 4g+3.
	for j := range 4 {
		for i := range 2 { // even words of those four, then odd ones
			even := fmt.Sprintf("$0x%02x", 0x88+0x55*i)
			s.I("VSHUFI32X4", even, Z(20+j), Z(16+j), Z(2*i))
			s.I("VSHUFI32X4", even, Z(28+j), Z(24+j), Z(2*i+1))
		}
		for i := range 4 { // words i+4j of the sixteen
			s.I("VSHUFI32X4", fmt.Sprintf("$0x%02x", 0x88+0x55*(i/2)), Z(i%2*2+1), Z(i%2*2), Z(16+4*i+j))
		}
	}
}

// sum3 computes t0 = x rotated right by a, by b and by c, exclusive-or of the three;
// where shift is set, c shifts instead.
func (s *sha) sum3(x string, a, b, c int, shift bool) {
	if s.wide {
		s.I("VPRORD", Imm(a), x, s.r(8))
		s.I("VPRORD", Imm(b), x, s.r(9))
		if shift {
			s.I("VPSRLD", Imm(c), x, s.r(10))
		} else {
			s.I("VPRORD", Imm(c), x, s.r(10))
		}
		s.I("VPTERNLOGD", "$0x96", s.r(10), s.r(9), s.r(8))
		return
	}
	s.I("VPSRLD", Imm(a), x, s.r(8))
	s.I("VPSLLD", Imm(32-a), x, s.r(9))
	s.I("VPXOR", s.r(9), s.r(8), s.r(8))
	s.I("VPSRLD", Imm(b), x, s.r(9))
	s.I("VPSLLD", Imm(32-b), x, s.r(10))
	s.I("VPXOR", s.r(10), s.r(9), s.r(9))
	s.I("VPXOR", s.r(9), s.r(8), s.r(8))
	s.I("VPSRLD", Imm(c), x, s.r(9))
	s.I("VPXOR", s.r(9), s.r(8), s.r(8))
	if !shift {
		s.I("VPSLLD", Imm(32-c), x, s.r(10))
		s.I("VPXOR", s.r(10), s.r(8), s.r(8))
	}
}

// word computes word t of the message, from 16 on, and leaves it in Y11.
func (s *sha) word(t int) {
	s.move(s.w(t-16), s.r(11))
	s.I("VPADDD", s.w(t-7), s.r(11), s.r(11))
	for _, f := range []struct{ back, a, b, c int }{{15, 7, 18, 3}, {2, 17, 19, 10}} {
		x := s.w(t - f.back)
		if !s.wide {
			s.move(x, s.r(12))
			x = s.r(12)
		}
		s.sum3(x, f.a, f.b, f.c, true)
		s.I("VPADDD", s.r(8), s.r(11), s.r(11))
	}
	s.move(s.r(11), s.w(t))
}

// round is one of the 64.
func (s *sha) round(t int) {
	r := func(i int) string { return s.r((i - t%8 + 8) % 8) }
	a, b, c, d, e, f, g, h := r(0), r(1), r(2), r(3), r(4), r(5), r(6), r(7)
	if t < 16 {
		s.I("VPADDD", s.w(t), h, h)
	} else {
		s.word(t)
		s.I("VPADDD", s.r(11), h, h)
	}
	k := fmt.Sprintf("·sha256K<>+%d(SB)", 4*t)
	if s.wide {
		s.I("VPADDD.BCST", k, h, h)
	} else {
		s.I("VPBROADCASTD", k, s.r(12))
		s.I("VPADDD", s.r(12), h, h)
	}
	s.pick(e, f, g) // f where e, g elsewhere
	s.I("VPADDD", s.r(13), h, h)
	s.sum3(e, 6, 11, 25, false)
	s.I("VPADDD", s.r(8), h, h)
	s.I("VPADDD", h, d, d)
	s.majority(a, b, c)
	s.I("VPADDD", s.r(13), h, h)
	s.sum3(a, 2, 13, 22, false)
	s.I("VPADDD", s.r(8), h, h)
}

func (s *sha) pick(e, f, g string) {
	if s.wide {
		s.I("VMOVDQA32", e, s.r(13))
		s.I("VPTERNLOGD", "$0xca", g, f, s.r(13))
		return
	}
	s.I("VPXOR", f, g, s.r(13))
	s.I("VPAND", e, s.r(13), s.r(13))
	s.I("VPXOR", g, s.r(13), s.r(13))
}

func (s *sha) majority(a, b, c string) {
	if s.wide {
		s.I("VMOVDQA32", a, s.r(13))
		s.I("VPTERNLOGD", "$0xe8", c, b, s.r(13))
		return
	}
	s.I("VPXOR", a, b, s.r(13))
	s.I("VPXOR", b, c, s.r(14))
	s.I("VPAND", s.r(14), s.r(13), s.r(13))
	s.I("VPXOR", b, s.r(13), s.r(13))
}
