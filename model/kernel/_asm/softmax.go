package main

import (
	"fmt"
	"math"
)

// Registers of softmax. Rows are divided into blocks of sixteen elements from
// their start, so that the lane of an element is its index mod 16 whatever part
// of the row is in use. first and last are the byte offsets of the blocks that
// hold lo and hi-1; end is that of the block that holds n-1.
const (
	softRow   = "DI"
	softN     = "R8"
	softFirst = "R9"
	softLast  = "R10"
	softRows  = "R11"
	softLo    = "R12" // of the row, before it is cut to [0, n]
	softHi    = "R13"
	softEnd   = "R15"
)

// edge is a block of which only some lanes are in use, and the masks of those
// lanes and of the lanes that exist.
type edge struct{ offset, use, store string }

var (
	softHead = edge{softFirst, "use0", "store0"}
	softTail = edge{softLast, "use1", "store1"}
)

// softMasks are K registers or, at 256 bits, places in the frame.
var (
	softMasks = map[string]string{"use0": "K1", "use1": "K3", "storeEnd": "K4", "store0": "K5", "store1": "K6"}
	softFrame = map[string]int{"use0": 0, "use1": 64, "storeEnd": 128, "store0": 192, "store1": 256, "max": 320, "scale": 352, "scaleLow": 384}
)

const softFrameSize = 416

// softmax writes the softmax of rows with a range of columns each.
func softmax(a *Asm) {
	vec := constants(a, "softmax", append(exp2Constants(),
		f32("lowest", math.Inf(-1)), f32("flush", -100)))
	words := make([]uint32, 48)
	for i := 16; i < 32; i++ {
		words[i] = math.MaxUint32
	}
	a.Table("softmaxMask", words...)
	for _, wide := range []bool{true, false} {
		vec(wide).softmax()
	}
}

func (v *Vec) softmax() {
	frame := 0
	if !v.wide {
		frame = softFrameSize
	}
	v.begin("softmax", "replaces columns [lo, hi) of each row by their softmax and the others by zero; lo and hi grow by their steps from row to row. scale and scaleLow add up to the scale in powers of two.", frame, false,
		"s *float32", "lds int", "rows int", "n int", "lo int", "hi int", "loStep int", "hiStep int", "scale float32", "scaleLow float32")
	v.I("MOVQ", v.arg("s"), softRow)
	v.I("MOVQ", v.arg("n"), softN)
	v.I("MOVQ", v.arg("rows"), softRows)
	v.I("MOVQ", v.arg("lo"), softLo)
	v.I("MOVQ", v.arg("hi"), softHi)
	v.softSetup()
	loop, empty, next := v.Fresh("rows"), v.Fresh("empty"), v.Fresh("next")
	v.Label(loop)
	v.softRange(empty)
	v.softMax()
	v.softExp()
	v.softScale()
	v.I("XORL", regOffset, regOffset)
	v.softZero(softFirst)
	v.I("CMPQ", softLast, softEnd)
	v.I("JEQ", next)
	v.I("LEAQ", At(64, softLast), regOffset)
	v.softZero(softEnd)
	v.softZeroEnd()
	v.I("JMP", next)
	v.Label(empty)
	v.I("XORL", regOffset, regOffset)
	v.softZero(softEnd)
	v.softZeroEnd()
	v.Label(next)
	v.I("ADDQ", v.arg("lds"), softRow)
	v.I("ADDQ", v.arg("loStep"), softLo)
	v.I("ADDQ", v.arg("hiStep"), softHi)
	v.I("DECQ", softRows)
	v.I("JNE", loop)
	v.end()
}

// softSetup prepares what is the same in all rows.
func (v *Vec) softSetup() {
	v.perStream = map[string]func(int) string{}
	if v.wide {
		v.hold(append([]string{"one", "flush"}, exp2Names...)...)
		for name, k := range softMasks {
			v.perStream[name] = func(int) string { return k }
		}
		for i, name := range []string{"max", "scale", "scaleLow"} {
			v.regs[name] = Z(15 + i)
		}
		v.perStream["acc"] = func(int) string { return Z(14) }
		v.I("VBROADCASTSS", v.arg("scale"), v.regs["scale"])
		v.I("VBROADCASTSS", v.arg("scaleLow"), v.regs["scaleLow"])
	} else {
		for name := range softMasks {
			v.perStream[name] = func(s int) string { return At(softFrame[name]+32*s, "SP") }
		}
		for _, name := range []string{"max", "scale", "scaleLow"} {
			v.regs[name] = At(softFrame[name], "SP")
		}
		v.perStream["acc"] = func(s int) string { return Y(12 + s) }
		for _, name := range []string{"scale", "scaleLow"} {
			v.I("VBROADCASTSS", v.arg(name), Y(0))
			v.I("VMOVUPS", Y(0), v.regs[name])
		}
	}
	v.I("LEAQ", At(-1, softN), softEnd)
	v.I("ANDQ", "$-16", softEnd)
	v.I("SHLQ", "$2", softEnd)
	v.softStoreMask("storeEnd", softEnd)
}

// softMask makes a mask that leaves out CX lanes, the first or the last ones.
func (v *Vec) softMask(name string, first bool) {
	if v.wide {
		v.I("MOVL", "$0xffff", "DX")
		if first {
			v.I("SHLL", "CX", "DX")
		} else {
			v.I("SHRL", "CX", "DX")
		}
		v.I("KMOVW", "DX", softMasks[name])
		return
	}
	v.I("LEAQ", "·softmaxMask<>+64(SB)", "DX")
	if first {
		v.I("NEGQ", "CX")
	}
	v.I("VMOVUPS", "(DX)(CX*4)", Y(0))
	v.I("VMOVUPS", "32(DX)(CX*4)", Y(1))
	v.I("VMOVUPS", Y(0), At(softFrame[name], "SP"))
	v.I("VMOVUPS", Y(1), At(softFrame[name]+32, "SP"))
}

// softStoreMask makes the mask of the lanes of the block at offset that are
// below n.
func (v *Vec) softStoreMask(name, offset string) {
	v.I("LEAQ", At(64, offset), "CX")
	v.I("SHRQ", "$2", "CX")
	v.I("XORL", "DX", "DX")
	v.I("SUBQ", softN, "CX")
	v.I("CMOVQLT", "DX", "CX")
	v.softMask(name, false)
}

// softRange cuts the range of the row to [0, n], goes to empty if nothing is
// left, and sets first, last and the masks.
func (v *Vec) softRange(empty string) {
	for reg, to := range []string{"AX", "BX"} {
		v.I("MOVQ", []string{softLo, softHi}[reg], to)
		v.I("XORL", "DX", "DX")
		v.I("CMPQ", to, softN)
		v.I("CMOVQGT", softN, to)
		v.I("TESTQ", to, to)
		v.I("CMOVQLT", "DX", to)
	}
	v.I("CMPQ", "AX", "BX")
	v.I("JGE", empty)
	v.I("MOVQ", "AX", "CX")
	v.I("ANDQ", "$15", "CX")
	v.softMask("use0", true)
	v.I("DECQ", "BX")
	v.I("MOVQ", "BX", "CX")
	v.I("NOTQ", "CX")
	v.I("ANDQ", "$15", "CX")
	v.softMask("use1", false)
	for _, r := range [][2]string{{"AX", softFirst}, {"BX", softLast}} {
		v.I("MOVQ", r[0], r[1])
		v.I("ANDQ", "$-16", r[1])
		v.I("SHLQ", "$2", r[1])
	}
	several := v.Fresh("several")
	v.I("CMPQ", softFirst, softLast)
	v.I("JNE", several)
	if v.wide {
		v.I("KANDW", "K3", "K1", "K1")
	} else {
		for i := 0; i < 64; i += 32 {
			v.I("VMOVUPS", At(softFrame["use0"]+i, "SP"), Y(0))
			v.I("VANDPS", At(softFrame["use1"]+i, "SP"), Y(0), Y(0))
			v.I("VMOVUPS", Y(0), At(softFrame["use0"]+i, "SP"))
		}
	}
	v.Label(several)
	v.softStoreMask("store0", softFirst)
	v.softStoreMask("store1", softLast)
}

// softWalk runs edgeBody over the first and the last block and body over those
// between, blocks at a time where it can.
func (v *Vec) softWalk(blocks int, edgeBody func(e edge), body func()) {
	many, one, tail, done := v.Fresh("many"), v.Fresh("one"), v.Fresh("tail"), v.Fresh("done")
	run := func(n int, f func()) {
		if !v.wide {
			n *= 2
		}
		v.run(n, false, f)
	}
	v.I("MOVQ", softFirst, regOffset)
	run(1, func() { edgeBody(softHead) })
	v.I("CMPQ", softFirst, softLast)
	v.I("JEQ", done)
	v.I("ADDQ", "$64", regOffset)
	if blocks > 1 {
		v.Label(many)
		v.I("LEAQ", At(64*blocks, regOffset), "DX")
		v.I("CMPQ", "DX", softLast)
		v.I("JGT", one)
		run(blocks, body)
		v.I("MOVQ", "DX", regOffset)
		v.I("JMP", many)
	}
	v.Label(one)
	v.I("CMPQ", regOffset, softLast)
	v.I("JGE", tail)
	run(1, body)
	v.I("ADDQ", "$64", regOffset)
	v.I("JMP", one)
	v.Label(tail)
	run(1, func() { edgeBody(softTail) })
	v.Label(done)
}

// softBlocks is how many blocks run interleaved: n, but one at 256 bits, where
// a block takes two streams.
func (v *Vec) softBlocks(n int) int {
	if v.wide {
		return n
	}
	return 1
}

// edgeLoad and edgeStore go through masks; at 256 bits t5 is the mask.
func (v *Vec) edgeLoad(mask, t string) {
	if v.wide {
		v.op("VMOVUPS.Z", "mem:"+softRow, mask, t)
		return
	}
	v.op("VMOVUPS", mask, "t5")
	v.op("VMASKMOVPS", "mem:"+softRow, "t5", t)
}

func (v *Vec) edgeStore(t, mask string) {
	if v.wide {
		v.op("VMOVUPS", t, mask, "mem:"+softRow)
		return
	}
	v.op("VMOVUPS", mask, "t5")
	v.op("VMASKMOVPS", t, "t5", "mem:"+softRow)
}

// softMax finds the largest element in use. A NaN may get lost here; it returns
// with its exponential.
func (v *Vec) softMax() {
	tops := []int{12, 13} // one for each stream
	if v.wide {
		tops = []int{14, 13, 12, 18}
	}
	v.perStream["top"] = func(s int) string { return v.r(tops[s]) }
	v.I("VBROADCASTSS", v.constant("lowest"), v.r(tops[0]))
	for _, r := range tops[1:] {
		v.I("VMOVAPS", v.r(tops[0]), v.r(r))
	}
	v.softWalk(v.softBlocks(4), func(e edge) {
		if v.wide {
			v.op("VMAXPS", "mem:"+softRow, "top", e.use, "top")
			return
		}
		v.edgeLoad(e.use, "t0")
		v.op("VMOVUPS", v.constant("lowest"), "t1")
		v.op("VBLENDVPS", "t5", "t0", "t1", "t0")
		v.op("VMAXPS", "t0", "top", "top")
	}, func() { v.op("VMAXPS", "mem:"+softRow, "top", "top") })
	if v.wide {
		v.I("VMAXPS", Z(13), Z(14), Z(14))
		v.I("VMAXPS", Z(18), Z(12), Z(12))
		v.I("VMAXPS", Z(12), Z(14), Z(14))
		v.lanesum(14, 13, "VMAXPS")
		v.I("VBROADCASTSS", X(14), v.regs["max"])
		return
	}
	v.I("VMAXPS", Y(13), Y(12), Y(12))
	v.lanesum(12, 13, "VMAXPS")
	v.I("VBROADCASTSS", X(12), Y(12))
	v.I("VMOVUPS", Y(12), v.regs["max"])
}

// softExp replaces the elements in use by exp(scale·(s−max)) and sums them.
func (v *Vec) softExp() {
	acc := 12
	if v.wide {
		acc = 14
	} else {
		v.I("VXORPS", Y(13), Y(13), Y(13))
	}
	v.I("VXORPS", X(acc), X(acc), X(acc))
	v.softWalk(v.softBlocks(2), func(e edge) {
		v.edgeLoad(e.use, "t0")
		v.softPower(e.use)
		v.op("VADDPS", "t0", "acc", "acc")
		v.edgeStore("t0", e.store)
	}, func() {
		v.op("VMOVUPS", "mem:"+softRow, "t0")
		v.softPower("")
		v.op("VADDPS", "t0", "acc", "acc")
		v.op("VMOVUPS", "t0", "mem:"+softRow)
	})
	if !v.wide {
		v.I("VADDPS", Y(13), Y(12), Y(12))
	}
	v.lanesum(acc, 13, "VADDPS")
	v.I("VMOVSS", v.constant("one"), X(13))
	v.I("VDIVSS", X(acc), X(13), X(acc))
	v.I("VBROADCASTSS", X(acc), v.r(acc))
}

// softPower replaces t0 by 2^((t0−max)·scale), or by 0 where that is below
// 2^-100 or the lane is not in use. The product with the scale is exact to the
// last bits of its two parts, so that the error does not grow with its size.
func (v *Vec) softPower(use string) {
	v.op("VSUBPS", v.regs["max"], "t0", "t0")
	v.op("VMULPS", v.regs["scale"], "t0", "t1")
	if v.wide {
		v.op("VRNDSCALEPS", "$0", "t1", "t2")
	} else {
		v.op("VROUNDPS", "$8", "t1", "t2")
	}
	v.op("VMOVAPS", "t2", "t3")
	v.op("VFMSUB231PS", v.regs["scale"], "t0", "t3")
	v.op("VFMADD231PS", v.regs["scaleLow"], "t0", "t3")
	v.horner(exp2Names, "t3", "t4")
	v.op("VFMADD213PS", v.c("one"), "t3", "t4")
	// Not less than: true for a NaN.
	if v.wide {
		for s := range v.streams { // a mask register for each stream
			k, t := fmt.Sprintf("K%d", 2+5*s), temps*s
			if use == "" {
				v.I("VCMPPS", "$0x15", v.c("flush"), Z(t+1), k)
			} else {
				v.I("VCMPPS", "$0x15", v.c("flush"), Z(t+1), softMasks[use], k)
			}
			v.I("VSCALEFPS.Z", Z(t+2), Z(t+4), k, Z(t))
		}
		return
	}
	v.op("VCVTPS2DQ", "t2", "t2")
	v.op("VPSLLD", "$23", "t2", "t2")
	v.op("VPADDD", "t2", "t4", "t4")
	v.op("VCMPPS", "$0x15", v.c("flush"), "t1", "t1")
	v.op("VANDPS", "t1", "t4", "t0")
	if use != "" {
		v.op("VANDPS", use, "t0", "t0")
	}
}

// softScale multiplies the elements in use by the inverse of their sum, which
// softExp left in the accumulator.
func (v *Vec) softScale() {
	inv := v.r(12)
	if v.wide {
		inv = v.r(14)
	}
	v.softWalk(v.softBlocks(2), func(e edge) {
		if v.wide {
			v.op("VMULPS.Z", "mem:"+softRow, inv, e.use, "t0")
		} else {
			v.edgeLoad(e.use, "t0")
			v.op("VMULPS", inv, "t0", "t0")
			v.op("VANDPS", "t5", "t0", "t0")
		}
		v.edgeStore("t0", e.store)
	}, func() {
		v.op("VMULPS", "mem:"+softRow, inv, "t0")
		v.op("VMOVUPS", "t0", "mem:"+softRow)
	})
}

// softZero clears the blocks from regOffset up to that at offset until.
func (v *Vec) softZero(until string) {
	loop, done := v.Fresh("clear"), v.Fresh("cleared")
	v.I("VXORPS", X(0), X(0), X(0))
	v.Label(loop)
	v.I("CMPQ", regOffset, until)
	v.I("JGE", done)
	for i := 0; i < 64; i += v.size() {
		v.I("VMOVUPS", v.r(0), AtIndex(i, softRow, regOffset, 1))
	}
	v.I("ADDQ", "$64", regOffset)
	v.I("JMP", loop)
	v.Label(done)
}

// softZeroEnd clears the last block of the row.
func (v *Vec) softZeroEnd() {
	if v.wide {
		v.I("VMOVUPS", Z(0), softMasks["storeEnd"], AtIndex(0, softRow, softEnd, 1))
		return
	}
	for i := 0; i < 64; i += 32 {
		v.I("VMOVUPS", At(softFrame["storeEnd"]+i, "SP"), Y(1))
		v.I("VMASKMOVPS", Y(0), Y(1), AtIndex(i, softRow, softEnd, 1))
	}
}
