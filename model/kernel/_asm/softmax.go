package main

import "math"

// Registers of softmax. Rows are divided into blocks of sixteen elements from
// their start, so that the lane of an element is its index mod 16 whatever part
// of the row is in use. first and last are the byte offsets of the blocks that
// hold lo and hi-1; end is that of the block that holds n-1.
const (
	softRow    = "DI"
	softRecord = "SI"
	softN      = "R8"
	softFirst  = "R9"
	softLast   = "R10"
	softRows   = "R11" // rows that no group has taken yet
	softLo     = "R12" // of the row, before it is cut to [0, n]
	softHi     = "R13"
	softEnd    = "R15"
)

// A group of rows passes through each of three steps (maximum, exponentials,
// scaling) before the next step begins: the sums across lanes at the end of a
// step, which are chains of dependent instructions, overlap with other rows.
// The frame has a record for each row of a group.
const (
	softGroup      = 8
	softRecordSize = 64

	recordFirst = 0 // -1 for a row without elements in use
	recordLast  = 8
	recordMasks = 16 // use0, use1, store0, store1, and at 256 bits and0
	recordMax   = 56 // float32
	recordInv   = 60 // float32

	frameStart    = softGroup * softRecordSize // first row of the group
	frameEnd      = frameStart + 8             // record after the last one
	frameStoreEnd = frameStart + 16            // mask of the last block
	frameControl  = frameStart + 24            // MXCSR of the caller, and ours
	frameScale    = frameStart + 32
	frameScaleLow = frameStart + 64
	frameMax      = frameStart + 96
	softFrameSize = frameStart + 128
)

// Masks are K registers and have their bits in the record, or at 256 bits the
// record has their addresses: a window on the words of softmaxMask.
var softMasks = map[string]struct {
	k     string
	place int
}{
	"use0": {"K1", recordMasks}, "use1": {"K3", recordMasks + 8}, "store0": {"K5", recordMasks + 16},
	"store1": {"K6", recordMasks + 24}, "and0": {"", recordMasks + 32},
}

// edge is a block of which only some lanes are in use, and the masks of those
// lanes and of the lanes that exist.
type edge struct{ offset, use, and, store string }

var (
	softHead = edge{softFirst, "use0", "and0", "store0"}
	softTail = edge{softLast, "use1", "use1", "store1"}
)

// flushToZero is the bit of MXCSR that makes denormal results zero.
const flushToZero = 0x8000

// softmax writes the softmax of rows with a range of columns each.
func softmax(a *Asm) {
	vec := constants(a, "softmax", append(exp2Constants(),
		f32("lowest", math.Inf(-1)), f32("smallest", -126)))
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
	v.begin("softmax", "replaces columns [lo, hi) of each row by their softmax and the others by zero; lo and hi grow by their steps from row to row. scale and scaleLow add up to the scale in powers of two; least is a difference whose exponential is zero. Up to group rows, 8 at most, go through each step together.", softFrameSize, false,
		"s *float32", "lds int", "rows int", "n int", "lo int", "hi int", "loStep int", "hiStep int", "group int", "scale float32", "scaleLow float32", "least float32")
	v.I("MOVQ", v.arg("s"), softRow)
	v.I("MOVQ", v.arg("n"), softN)
	v.I("MOVQ", v.arg("rows"), softRows)
	v.I("MOVQ", v.arg("lo"), softLo)
	v.I("MOVQ", v.arg("hi"), softHi)
	v.softSetup()
	group := v.Fresh("group")
	v.Label(group)
	v.I("MOVQ", v.arg("group"), "CX")
	v.I("CMPQ", "CX", softRows)
	v.I("CMOVQGT", softRows, "CX")
	v.I("SUBQ", "CX", softRows)
	v.I("SHLQ", "$6", "CX")
	v.I("LEAQ", "(SP)(CX*1)", "CX")
	v.I("MOVQ", "CX", At(frameEnd, "SP"))
	v.I("MOVQ", softRow, At(frameStart, "SP"))
	v.softEach(func() {
		empty := v.Fresh("empty")
		v.softRange(empty)
		v.softMax()
		v.Label(empty)
		v.I("ADDQ", v.arg("loStep"), softLo)
		v.I("ADDQ", v.arg("hiStep"), softHi)
	})
	v.softEach(func() {
		empty := v.Fresh("empty")
		v.softRecall(empty)
		v.softExp()
		v.Label(empty)
	})
	v.softEach(func() {
		empty, next := v.Fresh("empty"), v.Fresh("next")
		v.softRecall(empty)
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
	})
	v.I("TESTQ", softRows, softRows)
	v.I("JNE", group)
	v.I("LDMXCSR", At(frameControl, "SP"))
	v.end()
}

// softEach runs step for the rows of the group.
func (v *Vec) softEach(step func()) {
	loop := v.Fresh("step")
	v.I("MOVQ", At(frameStart, "SP"), softRow)
	v.I("MOVQ", "SP", softRecord)
	v.Label(loop)
	step()
	v.I("ADDQ", v.arg("lds"), softRow)
	v.I("ADDQ", Imm(softRecordSize), softRecord)
	v.I("CMPQ", softRecord, At(frameEnd, "SP"))
	v.I("JNE", loop)
}

// softSetup prepares what is the same in all rows.
func (v *Vec) softSetup() {
	v.I("STMXCSR", At(frameControl, "SP"))
	v.I("MOVL", At(frameControl, "SP"), "AX")
	v.I("ORL", Imm(flushToZero), "AX")
	v.I("MOVL", "AX", At(frameControl+4, "SP"))
	v.I("LDMXCSR", At(frameControl+4, "SP"))
	v.perStream = map[string]func(int) string{}
	if v.wide {
		v.temps = 3
		v.hold(append([]string{"one"}, exp2Names...)...)
		for name, m := range softMasks {
			v.perStream[name] = func(int) string { return m.k }
		}
		for i, name := range []string{"max", "scale", "scaleLow", "least"} {
			v.regs[name] = Z(20 + i)
		}
		v.held = 13
		for _, name := range []string{"scale", "scaleLow", "least"} {
			v.I("VBROADCASTSS", v.arg(name), v.regs[name])
		}
	} else {
		for i, name := range []string{"scale", "scaleLow", "max"} {
			v.regs[name] = At(frameScale+32*i, "SP")
		}
		for _, name := range []string{"scale", "scaleLow"} {
			v.I("VBROADCASTSS", v.arg(name), Y(0))
			v.I("VMOVUPS", Y(0), v.regs[name])
		}
	}
	v.I("LEAQ", At(-1, softN), softEnd)
	v.I("ANDQ", "$-16", softEnd)
	v.I("SHLQ", "$2", softEnd)
	v.softUnused(softEnd)
	v.softMask("K4", At(frameStoreEnd, "SP"), false)
}

// softMask makes a mask that leaves out CX lanes, the first or the last ones.
func (v *Vec) softMask(k, place string, first bool) {
	if v.wide {
		shift := "SHRL"
		if first {
			shift = "SHLL"
		}
		v.I("MOVL", "$0xffff", "DX")
		v.I(shift, "CX", "DX")
		v.I("KMOVW", "DX", k)
		if k != "K4" {
			v.I("MOVQ", "DX", place)
		}
		return
	}
	if first {
		v.I("NEGQ", "CX")
	}
	v.I("LEAQ", "·softmaxMask<>+64(SB)", "DX")
	v.I("LEAQ", "(DX)(CX*4)", "DX")
	v.I("MOVQ", "DX", place)
}

func (v *Vec) softRowMask(name string, first bool) {
	v.softMask(softMasks[name].k, At(softMasks[name].place, softRecord), first)
}

// softUnused leaves in CX the lanes of the block at offset that are not below n.
func (v *Vec) softUnused(offset string) {
	v.I("LEAQ", At(64, offset), "CX")
	v.I("SHRQ", "$2", "CX")
	v.I("XORL", "DX", "DX")
	v.I("SUBQ", softN, "CX")
	v.I("CMOVQLT", "DX", "CX")
}

// softRange cuts the range of the row to [0, n], goes to empty if nothing is
// left, and sets first, last and the masks, also in the record.
func (v *Vec) softRange(empty string) {
	for i, to := range []string{"AX", "BX"} {
		v.I("MOVQ", []string{softLo, softHi}[i], to)
		v.I("XORL", "DX", "DX")
		v.I("CMPQ", to, softN)
		v.I("CMOVQGT", softN, to)
		v.I("TESTQ", to, to)
		v.I("CMOVQLT", "DX", to)
	}
	v.I("MOVQ", "$-1", At(recordFirst, softRecord))
	v.I("CMPQ", "AX", "BX")
	v.I("JGE", empty)
	v.I("MOVQ", "AX", "CX")
	v.I("ANDQ", "$15", "CX")
	v.softRowMask("use0", true)
	v.I("DECQ", "BX")
	v.I("MOVQ", "BX", "CX")
	v.I("NOTQ", "CX")
	v.I("ANDQ", "$15", "CX")
	v.softRowMask("use1", false)
	for _, r := range [][2]string{{"AX", softFirst}, {"BX", softLast}} {
		v.I("MOVQ", r[0], r[1])
		v.I("ANDQ", "$-16", r[1])
		v.I("SHLQ", "$2", r[1])
	}
	v.I("MOVQ", softFirst, At(recordFirst, softRecord))
	v.I("MOVQ", softLast, At(recordLast, softRecord))
	several := v.Fresh("several")
	if v.wide {
		v.I("CMPQ", softFirst, softLast)
		v.I("JNE", several)
		v.I("KANDW", "K3", "K1", "K1")
		v.I("KMOVW", "K1", "DX")
		v.I("MOVQ", "DX", At(softMasks["use0"].place, softRecord))
		v.Label(several)
	} else { // the head is cut by the tail when they are one block
		v.I("LEAQ", "·softmaxMask<>+64(SB)", "CX")
		v.I("CMPQ", softFirst, softLast)
		v.I("CMOVQEQ", "DX", "CX")
		v.I("MOVQ", "CX", At(softMasks["and0"].place, softRecord))
	}
	v.softUnused(softFirst)
	v.softRowMask("store0", false)
	v.softUnused(softLast)
	v.softRowMask("store1", false)
}

// softRecall reads the row's record, and goes to empty if nothing is in use.
func (v *Vec) softRecall(empty string) {
	v.I("MOVQ", At(recordFirst, softRecord), softFirst)
	v.I("TESTQ", softFirst, softFirst)
	v.I("JLT", empty)
	v.I("MOVQ", At(recordLast, softRecord), softLast)
	if v.wide {
		for _, name := range []string{"use0", "use1", "store0", "store1"} {
			v.I("KMOVW", At(softMasks[name].place, softRecord), softMasks[name].k)
		}
	}
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

// edgeLoad and edgeStore go through the masks of an edge; at 256 bits t5 is the
// mask, of the lanes in use until edgeStore.
func (v *Vec) edgeLoad(e edge, t string) {
	if v.wide {
		v.op("VMOVUPS.Z", "mem:"+softRow, e.use, t)
		return
	}
	v.I("MOVQ", At(softMasks[e.use].place, softRecord), "AX")
	v.I("MOVQ", At(softMasks[e.and].place, softRecord), "CX")
	v.op("VMOVUPS", "window:AX", "t5")
	v.op("VANDPS", "window:CX", "t5", "t5")
	v.op("VMASKMOVPS", "mem:"+softRow, "t5", t)
}

func (v *Vec) edgeStore(t string, e edge) {
	if v.wide {
		v.op("VMOVUPS", t, e.store, "mem:"+softRow)
		return
	}
	v.I("MOVQ", At(softMasks[e.store].place, softRecord), "AX")
	v.op("VMOVUPS", "window:AX", "t5")
	v.op("VMASKMOVPS", t, "t5", "mem:"+softRow)
}

// softMax finds the largest element in use. A NaN may get lost here; it returns
// with its exponential.
func (v *Vec) softMax() {
	tops := []int{12, 13} // one for each stream
	if v.wide {
		tops = []int{12, 13, 14, 15}
	}
	v.perStream["acc"] = func(s int) string { return v.r(tops[s]) }
	v.I("VBROADCASTSS", v.constant("lowest"), v.r(tops[0]))
	for _, r := range tops[1:] {
		v.I("VMOVAPS", v.r(tops[0]), v.r(r))
	}
	v.softWalk(v.softBlocks(4), func(e edge) {
		if v.wide {
			v.op("VMAXPS", "mem:"+softRow, "acc", e.use, "acc")
			return
		}
		v.edgeLoad(e, "t0")
		v.op("VMOVUPS", v.constant("lowest"), "t1")
		v.op("VBLENDVPS", "t5", "t0", "t1", "t0")
		v.op("VMAXPS", "t0", "acc", "acc")
	}, func() { v.op("VMAXPS", "mem:"+softRow, "acc", "acc") })
	v.I("VMAXPS", v.r(13), v.r(12), v.r(12))
	if v.wide {
		v.I("VMAXPS", Z(15), Z(14), Z(14))
		v.I("VMAXPS", Z(14), Z(12), Z(12))
	}
	v.lanesum(12, 13, "VMAXPS")
	v.I("VMOVSS", X(12), At(recordMax, softRecord))
}

// softExp replaces the elements in use by exp(scale·(s−max)) and sums them.
func (v *Vec) softExp() {
	if v.wide {
		v.perStream["acc"] = func(int) string { return Z(12) }
		v.I("VBROADCASTSS", At(recordMax, softRecord), v.regs["max"])
	} else {
		v.perStream["acc"] = func(s int) string { return Y(12 + s) }
		v.I("VBROADCASTSS", At(recordMax, softRecord), Y(0))
		v.I("VMOVUPS", Y(0), v.regs["max"])
		v.I("VXORPS", X(13), X(13), X(13))
	}
	v.I("VXORPS", X(12), X(12), X(12))
	v.softWalk(v.softBlocks(4), func(e edge) {
		v.edgeLoad(e, "t0")
		v.softPower()
		if v.wide {
			v.op("VMOVAPS.Z", "t0", e.use, "t0")
		} else {
			v.op("VANDPS", "t5", "t0", "t0")
		}
		v.op("VADDPS", "t0", "acc", "acc")
		v.edgeStore("t0", e)
	}, func() {
		v.op("VMOVUPS", "mem:"+softRow, "t0")
		v.softPower()
		v.op("VADDPS", "t0", "acc", "acc")
		v.op("VMOVUPS", "t0", "mem:"+softRow)
	})
	if !v.wide {
		v.I("VADDPS", Y(13), Y(12), Y(12))
	}
	v.lanesum(12, 13, "VADDPS")
	v.I("VMOVSS", v.constant("one"), X(13))
	v.I("VDIVSS", X(12), X(13), X(12))
	v.I("VMOVSS", X(12), At(recordInv, softRecord))
}

// softPower replaces t0 by 2^((t0−max)·scale), or by 0 where that is denormal.
// The product with the scale is exact to the last bits of its two parts, so that
// the error does not grow with its size.
func (v *Vec) softPower() {
	v.op("VSUBPS", v.regs["max"], "t0", "t0")
	if v.wide {
		v.op("VMAXPS", "t0", v.regs["least"], "t0") // no Inf-Inf below; keeps NaN
		v.op("VMULPS", v.regs["scale"], "t0", "t1")
		v.op("VRNDSCALEPS", "$0", "t1", "t2")
	} else {
		v.op("VMULPS", v.regs["scale"], "t0", "t1")
		v.op("VROUNDPS", "$8", "t1", "t2")
		v.op("VCMPPS", "$0x15", v.c("smallest"), "t1", "t3") // not less: true for NaN
	}
	v.op("VMOVAPS", "t2", "t1")
	v.op("VFMSUB231PS", v.regs["scale"], "t0", "t1")
	v.op("VFMADD231PS", v.regs["scaleLow"], "t0", "t1")
	v.horner(exp2Names, "t1", "t0")
	v.op("VFMADD213PS", v.c("one"), "t1", "t0")
	if v.wide {
		v.op("VSCALEFPS", "t2", "t0", "t0")
		return
	}
	v.op("VCVTPS2DQ", "t2", "t2")
	v.op("VPSLLD", "$23", "t2", "t2")
	v.op("VPADDD", "t2", "t0", "t0")
	v.op("VANDPS", "t3", "t0", "t0")
}

// softScale multiplies the elements in use by the inverse of their sum.
func (v *Vec) softScale() {
	inv := v.r(12)
	v.I("VBROADCASTSS", At(recordInv, softRecord), inv)
	v.softWalk(v.softBlocks(4), func(e edge) {
		if v.wide {
			v.op("VMULPS.Z", "mem:"+softRow, inv, e.use, "t0")
		} else {
			v.edgeLoad(e, "t0")
			v.op("VMULPS", inv, "t0", "t0")
			v.op("VANDPS", "t5", "t0", "t0")
		}
		v.edgeStore("t0", e)
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
		v.I("VMOVUPS", Z(0), "K4", AtIndex(0, softRow, softEnd, 1))
		return
	}
	v.I("MOVQ", At(frameStoreEnd, "SP"), "AX")
	for i := 0; i < 64; i += 32 {
		v.I("VMOVUPS", At(i, "AX"), Y(1))
		v.I("VMASKMOVPS", Y(0), Y(1), AtIndex(i, softRow, softEnd, 1))
	}
}
