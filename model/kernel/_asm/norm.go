package main

import (
	"fmt"
	"strings"
)

// Registers of the norms beside the temporaries: accumulators from normSum up.
const (
	normSum  = 6
	normRstd = 13
	normMean = 14
)

// norm writes the norms of rows.
func norm(a *Asm) {
	maskTable(a, "norm")
	for v := range constants(a, "norm", []constant{f32("one", 1)}) {
		v.rmsNorm()
		v.layerNorm()
	}
}

// A group of rows passes through each step of a norm before the next begins: the
// sums across lanes, roots and quotients, which are chains of dependent
// instructions, overlap with other rows. The frame has the results of each row.
const (
	normGroup = 8

	normRecord     = "R12" // of the row
	normRecordSize = 8
	recordMean     = 0
	recordRstd     = 4

	frameDst      = normGroup * normRecordSize // of the first row of the group
	frameX        = frameDst + 8
	frameRecords  = frameDst + 16 // the end of the records in use
	normFrameSize = frameDst + 24
)

// normRows begins a norm and emits the loop over groups with its steps for one
// row. Rows are at DI (dst) and SI (x), the weight at R8 and the bias at R9.
func (v *Vec) normRows(name, doc string, bias bool, steps ...func()) {
	k := Kernel{
		Name: name, Doc: doc, Params: "dst []float32, ldd int, x []float32, ldx, rows int, w []float32, eps float32",
		Args: []Arg{"dst *float32", "ldd int = 4*ldd", "x *float32", "ldx int = 4*ldx", "w *float32"},
	}
	pointers := []struct {
		arg, reg, start, ld string
	}{{"dst", "DI", At(frameDst, "SP"), "ldd"}, {"x", "SI", At(frameX, "SP"), "ldx"}}
	if bias {
		k.Params = strings.Replace(k.Params, "w []", "w, b []", 1)
		k.Args = append(k.Args, "b *float32 = first(b)")
	}
	// Up to group rows, 8 at most, go through each step together.
	k.Args = append(k.Args, "rows int", "cols int = len(w)", "group int = rowGroup(len(w))",
		"eps float32", "n float32 = float32(len(w))")
	v.begin(k, normFrameSize)
	for _, p := range pointers {
		v.I("MOVQ", v.arg(p.arg), p.reg)
	}
	v.I("MOVQ", v.arg("w"), "R8")
	if bias {
		v.I("MOVQ", v.arg("b"), "R9")
	}
	v.take("rows", "R11", "cols", regFull)
	v.columns()
	group := v.Fresh("group")
	v.Label(group)
	for _, p := range pointers {
		v.I("MOVQ", p.reg, p.start)
	}
	v.I("MOVQ", v.arg("group"), "CX")
	v.I("CMPQ", "CX", "R11")
	v.I("CMOVQGT", "R11", "CX")
	v.I("SUBQ", "CX", "R11")
	v.I("LEAQ", fmt.Sprintf("(SP)(CX*%d)", normRecordSize), "CX")
	v.I("MOVQ", "CX", At(frameRecords, "SP"))
	for _, step := range steps {
		for _, p := range pointers {
			v.I("MOVQ", p.start, p.reg)
		}
		v.I("MOVQ", "SP", normRecord)
		loop := v.Fresh("step")
		v.Label(loop)
		step()
		for _, p := range pointers {
			v.I("ADDQ", v.arg(p.ld), p.reg)
		}
		v.I("ADDQ", Imm(normRecordSize), normRecord)
		v.I("CMPQ", normRecord, At(frameRecords, "SP"))
		v.I("JNE", loop)
	}
	v.I("TESTQ", "R11", "R11")
	v.I("JNE", group)
	v.end()
}

// invRoot turns lane 0 of normSum, a sum, into 1/√(sum/n + eps) in the record.
func (v *Vec) invRoot() {
	x, y := X(normSum), X(normSum+1)
	v.I("VDIVSS", v.arg("n"), x, x)
	v.I("VADDSS", v.arg("eps"), x, x)
	v.I("VSQRTSS", x, x, x)
	v.I("VMOVSS", v.constant("one"), y)
	v.I("VDIVSS", x, y, x)
	v.I("VMOVSS", x, At(recordRstd, normRecord))
}

// recall broadcasts a result of the row.
func (v *Vec) recall(record, reg int) { v.I("VBROADCASTSS", At(record, normRecord), v.r(reg)) }

func (v *Vec) rmsNorm() {
	square := func() {
		v.clear(normSum)
		v.reduce(func(acc int) {
			v.load("SI", "t0")
			v.op("VFMADD231PS", "t0", "t0", v.r(normSum+acc))
		})
		v.total(normSum)
		v.invRoot()
	}
	scale := func() {
		v.recall(recordRstd, normRstd)
		v.each(2, func() {
			v.load("SI", "t0")
			v.load("R8", "t1")
			v.op("VMULPS", v.r(normRstd), "t0", "t0")
			v.op("VMULPS", "t1", "t0", "t0")
			v.store("t0", "DI")
		})
	}
	v.normRows("rmsNorm", "normalises rows by their root mean square.", false, square, scale)
}

func (v *Vec) layerNorm() {
	mean := func() {
		v.clear(normSum)
		v.reduce(func(acc int) {
			v.load("SI", "t0")
			v.op("VADDPS", "t0", v.r(normSum+acc), v.r(normSum+acc))
		})
		v.total(normSum)
		v.I("VDIVSS", v.arg("n"), X(normSum), X(normSum))
		v.I("VMOVSS", X(normSum), At(recordMean, normRecord))
	}
	variance := func() {
		v.recall(recordMean, normMean)
		v.clear(normSum)
		v.reduce(func(acc int) {
			v.load("SI", "t0")
			v.op("VSUBPS", v.r(normMean), "t0", "t0")
			v.keepTail("t0")
			v.op("VFMADD231PS", "t0", "t0", v.r(normSum+acc))
		})
		v.total(normSum)
		v.invRoot()
	}
	scale := func() {
		v.recall(recordMean, normMean)
		v.recall(recordRstd, normRstd)
		plain, done := v.Fresh("unbiased"), v.Fresh("normed")
		v.I("TESTQ", "R9", "R9")
		v.I("JEQ", plain)
		v.each(2, func() { v.scale(true) })
		v.I("JMP", done)
		v.Label(plain)
		v.each(2, func() { v.scale(false) })
		v.Label(done)
	}
	v.normRows("layerNorm", "normalises rows to mean 0 and variance 1; b may be nil.", true, mean, variance, scale)
}

// scale writes (x − mean)·rstd·w, plus the bias.
func (v *Vec) scale(bias bool) {
	v.load("SI", "t0")
	v.load("R8", "t1")
	v.op("VSUBPS", v.r(normMean), "t0", "t0")
	v.op("VMULPS", v.r(normRstd), "t0", "t0")
	if bias {
		v.load("R9", "t2")
		v.op("VFMADD213PS", "t2", "t1", "t0")
	} else {
		v.op("VMULPS", "t1", "t0", "t0")
	}
	v.store("t0", "DI")
}

// keepTail sets the lanes beyond a tail to zero.
func (v *Vec) keepTail(t string) {
	switch {
	case !v.tail:
	case v.wide:
		v.op("VMOVAPS.Z", t, maskTail, t)
	default:
		v.op("VANDPS", v.regs["tail"], t, t)
	}
}
