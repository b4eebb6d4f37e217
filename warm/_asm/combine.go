// Command _asm writes the assembly of package warm:
//
//	go -C _asm run . -out ../combine_amd64.s
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// level is how one instruction set spells the loop.
type level struct {
	name  string
	lanes int               // float64 in a register
	wide  func() VecVirtual // float64 accumulators
	half  func() VecVirtual // as many float32
}

// accumulators is the number of registers of sums: their additions are independent, so that four cover the
// latency of one, and the loop over the members costs little for each element.
const accumulators = 4

func main() {
	ConstraintExpr("amd64,!noasm")
	combine(level{"AVX512", 8, ZMM, YMM})
	combine(level{"AVX2", 4, YMM, XMM})
	Generate()
}

func combine(l level) {
	step := l.lanes * accumulators
	TEXT("combine"+l.name, NOSPLIT, "func(dst *float32, columns *[]float32, coefs *float64, members int, n int, divisor float64)")
	Doc(fmt.Sprintf("combine%s computes n elements, a positive multiple of %d, from the first n of each column.", l.name, step))
	dst := Load(Param("dst"), GP64())
	columns := Load(Param("columns"), GP64())
	coefs := Load(Param("coefs"), GP64())
	members := Load(Param("members"), GP64())
	n := Load(Param("n"), GP64())
	divisor := l.wide()
	address, err := Param("divisor").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSD(address.Addr, divisor)

	acc := make([]VecVirtual, accumulators)
	for i := range acc {
		acc[i] = l.wide()
	}
	at, slice, k, column := GP64(), GP64(), GP64(), GP64()
	coef, x := l.wide(), l.wide()
	block, member := "block", "member"

	XORQ(at, at)
	Label(block)
	// The first member sets the sums: 0 + c·x would lose the sign of −0.
	MOVQ(columns, slice)
	MOVQ(Mem{Base: slice}, column)
	VBROADCASTSD(Mem{Base: coefs}, coef)
	for i := range acc {
		VCVTPS2PD(Mem{Base: column, Index: at, Scale: 4, Disp: 4 * l.lanes * i}, acc[i])
		VMULPD(coef, acc[i], acc[i])
	}
	MOVQ(U32(1), k)
	CMPQ(k, members)
	JGE(LabelRef("divide"))
	Label(member)
	ADDQ(U8(24), slice) // the size of a slice's header
	MOVQ(Mem{Base: slice}, column)
	VBROADCASTSD(Mem{Base: coefs, Index: k, Scale: 8}, coef)
	for i := range acc {
		// No fused multiply-add: the product is rounded, as in the specification.
		VCVTPS2PD(Mem{Base: column, Index: at, Scale: 4, Disp: 4 * l.lanes * i}, x)
		VMULPD(coef, x, x)
		VADDPD(x, acc[i], acc[i])
	}
	INCQ(k)
	CMPQ(k, members)
	JLT(LabelRef(member))
	Label("divide")
	for i := range acc {
		VDIVPD(divisor, acc[i], acc[i])
		out := l.half()
		if l.lanes == 8 {
			VCVTPD2PS(acc[i], out)
		} else {
			VCVTPD2PSY(acc[i], out)
		}
		VMOVUPS(out, Mem{Base: dst, Index: at, Scale: 4, Disp: 4 * l.lanes * i})
	}
	ADDQ(U8(uint8(step)), at)
	CMPQ(at, n)
	JLT(LabelRef(block))
	VZEROUPPER()
	RET()
}
