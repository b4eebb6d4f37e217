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

// flushToZero is the bit of MXCSR by which denormal results become zero.
const flushToZero = 0x8000

// softmax writes the softmax of rows with a range of columns each.
func softmax(a *Asm) {
	vecs := constants(a, "softmax", append(exp2Constants(),
		f32("lowest", math.Inf(-1)), f32("smallest", -126)))
	words := make([]uint32, 48)
	for i := 16; i < 32; i++ {
		words[i] = math.MaxUint32
	}
	a.Table("softmaxMask", words...)
	for v := range vecs {
		v.softmax()
	}
}

func (v *Vec) softmax() {
	// scale and scaleLow add up to the scale in powers of two; least is a difference
	// whose exponential is zero. Up to group rows, 8 at most, go through each step
	// together.
	v.begin(Kernel{
		Name:   "softmax",
		Doc:    "replaces the span of each row by the softmax of scale times it and the other columns by zero.",
		Params: "s []float32, lds, rows, n int, p Span, scale float32",
		Args: []Arg{
			"s *float32", "lds int = 4*lds", "rows int", "n int", "lo int = p.Lo",
			"hi int = p.Hi", "loStep int = p.LoStep", "hiStep int = p.HiStep",
			"group int = rowGroup(n)", "scale float32 = powerScale(scale)",
			"scaleLow float32 = powerScaleRest(scale)",
			"least float32 = -256 / powerScale(scale)",
		},
	}, softFrameSize)
	v.take("s", softRow, "n", softN, "rows", softRows, "lo", softLo, "hi", softHi)
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
