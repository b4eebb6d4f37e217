package main

import (
	"fmt"
	"math"
)

// sha256Blocks writes SHA-256 of eight texts at a time, one to a 32-bit lane. AVX-512
// brings rotations and functions of three bits in one instruction, and registers for
// the message beside the state; with AVX2 both are made of several, and the message
// stands in the frame.
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

// sha writes the function of one level. Y0 to Y7 hold the state a to h, which the
// rounds rename rather than move, Y8 to Y15 are temporaries.
type sha struct {
	*Asm
	wide bool
}

// shaTexts are the registers of the eight texts, shaAt is how far they were read.
var shaTexts = []string{"AX", "BX", "DX", "SI", "R8", "R9", "R10", "R11"}

const shaAt = "CX"

func (s *sha) write() {
	level, frame := "AVX512", 0
	if !s.wide {
		level, frame = "AVX2", 16*32
	}
	s.Begin(Kernel{
		Name:   "sha256Blocks",
		Doc:    "adds blocks of 64 bytes, at least one, of each of eight texts to their states.",
		Params: "state *sha256State, texts *[sha256Lanes]*byte, blocks int",
		Args:   []Arg{"state *uint32 = &state[0][0]", "texts **byte = &texts[0]", "blocks int"},
	}, level, frame)
	s.I("MOVQ", s.arg("texts"), "R12")
	for i, r := range shaTexts {
		s.I("MOVQ", At(8*i, "R12"), r)
	}
	s.I("MOVQ", s.arg("state"), "DI")
	s.I("MOVQ", s.arg("blocks"), "R12")
	s.I("XORL", shaAt, shaAt)
	loop := s.Fresh("block")
	s.Label(loop)
	s.message(0)
	s.message(8)
	for i := range 8 {
		s.I("VMOVDQU", At(32*i, "DI"), Y(i))
	}
	for t := range 64 {
		s.round(t)
	}
	for i := range 8 { // 64 rounds rename each register to itself
		s.I("VPADDD", At(32*i, "DI"), Y(i), Y(i))
		s.I("VMOVDQU", Y(i), At(32*i, "DI"))
	}
	s.I("ADDQ", "$64", shaAt)
	s.I("DECQ", "R12")
	s.I("JNE", loop)
	s.I("VZEROUPPER")
	s.I("RET")
}

// w is the operand of a word of the message, of all lanes.
func (s *sha) w(t int) string {
	if s.wide {
		return Y(16 + t%16)
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

// message turns eight words of each text, from word first of its block on, into lanes.
func (s *sha) message(first int) {
	s.I("VBROADCASTI128", "·sha256Swap<>(SB)", Y(8))
	for i, r := range shaTexts {
		s.I("VMOVDQU", AtIndex(4*first, r, shaAt, 1), Y(i))
		s.I("VPSHUFB", Y(8), Y(i), Y(i))
	}
	pairs := func(kind string, from, to [4][2]int) { // lo of a pair to the first register, hi to the second
		for i, p := range from {
			s.I("VPUNPCKL"+kind, Y(p[1]), Y(p[0]), Y(to[i][0]))
			s.I("VPUNPCKH"+kind, Y(p[1]), Y(p[0]), Y(to[i][1]))
		}
	}
	pairs("DQ", [4][2]int{{0, 1}, {2, 3}, {4, 5}, {6, 7}}, [4][2]int{{8, 9}, {10, 11}, {12, 13}, {14, 15}})
	// Now 8 to 15 hold words 0 1, 2 3 of lanes 0 1, 2 3, then of 4 5, 6 7.
	pairs("QDQ", [4][2]int{{8, 10}, {9, 11}, {12, 14}, {13, 15}}, [4][2]int{{0, 1}, {2, 3}, {4, 5}, {6, 7}})
	for j := range 4 {
		s.I("VPERM2I128", "$0x20", Y(4+j), Y(j), Y(8))
		s.I("VPERM2I128", "$0x31", Y(4+j), Y(j), Y(9))
		s.move(Y(8), s.w(first+j))
		s.move(Y(9), s.w(first+4+j))
	}
}

// sum3 computes t0 = x rotated right by a, by b and by c, exclusive-or of the three;
// where shift is set, c shifts instead.
func (s *sha) sum3(x string, a, b, c int, shift bool) {
	if s.wide {
		s.I("VPRORD", Imm(a), x, Y(8))
		s.I("VPRORD", Imm(b), x, Y(9))
		if shift {
			s.I("VPSRLD", Imm(c), x, Y(10))
		} else {
			s.I("VPRORD", Imm(c), x, Y(10))
		}
		s.I("VPTERNLOGD", "$0x96", Y(10), Y(9), Y(8))
		return
	}
	s.I("VPSRLD", Imm(a), x, Y(8))
	s.I("VPSLLD", Imm(32-a), x, Y(9))
	s.I("VPXOR", Y(9), Y(8), Y(8))
	s.I("VPSRLD", Imm(b), x, Y(9))
	s.I("VPSLLD", Imm(32-b), x, Y(10))
	s.I("VPXOR", Y(10), Y(9), Y(9))
	s.I("VPXOR", Y(9), Y(8), Y(8))
	s.I("VPSRLD", Imm(c), x, Y(9))
	s.I("VPXOR", Y(9), Y(8), Y(8))
	if !shift {
		s.I("VPSLLD", Imm(32-c), x, Y(10))
		s.I("VPXOR", Y(10), Y(8), Y(8))
	}
}

// word computes word t of the message, from 16 on, and leaves it in Y11.
func (s *sha) word(t int) {
	s.move(s.w(t-16), Y(11))
	s.I("VPADDD", s.w(t-7), Y(11), Y(11))
	for _, f := range []struct{ back, a, b, c int }{{15, 7, 18, 3}, {2, 17, 19, 10}} {
		x := s.w(t - f.back)
		if !s.wide {
			s.move(x, Y(12))
			x = Y(12)
		}
		s.sum3(x, f.a, f.b, f.c, true)
		s.I("VPADDD", Y(8), Y(11), Y(11))
	}
	s.move(Y(11), s.w(t))
}

// round is one of the 64.
func (s *sha) round(t int) {
	r := func(i int) string { return Y((i - t%8 + 8) % 8) }
	a, b, c, d, e, f, g, h := r(0), r(1), r(2), r(3), r(4), r(5), r(6), r(7)
	if t < 16 {
		s.I("VPADDD", s.w(t), h, h)
	} else {
		s.word(t)
		s.I("VPADDD", Y(11), h, h)
	}
	s.I("VPBROADCASTD", fmt.Sprintf("·sha256K<>+%d(SB)", 4*t), Y(12))
	s.I("VPADDD", Y(12), h, h)
	s.pick(e, f, g) // f where e, g elsewhere
	s.I("VPADDD", Y(13), h, h)
	s.sum3(e, 6, 11, 25, false)
	s.I("VPADDD", Y(8), h, h)
	s.I("VPADDD", h, d, d)
	s.majority(a, b, c)
	s.I("VPADDD", Y(13), h, h)
	s.sum3(a, 2, 13, 22, false)
	s.I("VPADDD", Y(8), h, h)
}

func (s *sha) pick(e, f, g string) {
	if s.wide {
		s.I("VMOVDQA", e, Y(13))
		s.I("VPTERNLOGD", "$0xca", g, f, Y(13))
		return
	}
	s.I("VPXOR", f, g, Y(13))
	s.I("VPAND", e, Y(13), Y(13))
	s.I("VPXOR", g, Y(13), Y(13))
}

func (s *sha) majority(a, b, c string) {
	if s.wide {
		s.I("VMOVDQA", a, Y(13))
		s.I("VPTERNLOGD", "$0xe8", c, b, Y(13))
		return
	}
	s.I("VPXOR", a, b, Y(13))
	s.I("VPXOR", b, c, Y(14))
	s.I("VPAND", Y(14), Y(13), Y(13))
	s.I("VPXOR", b, Y(13), Y(13))
}
