package main

import "math"

// learn writes what training does with rows: the gradients of the norms and of a
// gated activation, AdamW, and the right side of a weight's gradient.
func learn(a *Asm) {
	cs := append(exp2Constants(), f32("log2e", -math.Log2E), f32("exp2Max", 128), f32("exp2Min", -127))
	maskTable(a, "learn")
	vec := constants(a, "learn", cs)
	for _, wide := range []bool{true, false} {
		v := vec(wide)
		v.sumOf()
		v.spread()
		v.tripleDot()
		v.normSlope()
		v.siluBackward()
		v.adamW()
		v.spreadRows()
	}
}

// sumOf writes the sum of a row.
func (v *Vec) sumOf() {
	v.begin("sum", "returns the sum of x.", 0, true, "x *float32", "n int")
	v.I("MOVQ", v.arg("x"), "SI")
	v.I("MOVQ", v.arg("n"), regFull)
	v.columns()
	v.clear(normSum)
	v.reduce(func(acc int) {
		v.load("SI", "t0")
		v.op("VADDPS", "t0", v.r(normSum+acc), v.r(normSum+acc))
	})
	v.finishSum()
}

// spread writes the sum of squared differences from a mean.
func (v *Vec) spread() {
	v.begin("sumSquares", "returns the sum of (x − mean)².", 0, true, "x *float32", "n int", "mean float32")
	v.I("MOVQ", v.arg("x"), "SI")
	v.I("MOVQ", v.arg("n"), regFull)
	v.I("VBROADCASTSS", v.arg("mean"), v.r(normMean))
	v.columns()
	v.clear(normSum)
	v.reduce(func(acc int) {
		v.load("SI", "t0")
		v.op("VSUBPS", v.r(normMean), "t0", "t0")
		v.keepTail("t0")
		v.op("VFMADD231PS", "t0", "t0", v.r(normSum+acc))
	})
	v.finishSum()
}

func (v *Vec) tripleDot() {
	v.begin("tripleDot", "returns the sum of a·b·(x − mean).", 0, true, "a *float32", "b *float32", "x *float32", "n int", "mean float32")
	v.I("MOVQ", v.arg("a"), "SI")
	v.I("MOVQ", v.arg("b"), "DX")
	v.I("MOVQ", v.arg("x"), "DI")
	v.I("MOVQ", v.arg("n"), regFull)
	v.I("VBROADCASTSS", v.arg("mean"), v.r(normMean))
	v.columns()
	v.clear(normSum)
	v.reduce(func(acc int) {
		v.load("DI", "t0")
		v.op("VSUBPS", v.r(normMean), "t0", "t0")
		v.load("SI", "t1")
		v.load("DX", "t2") // zero beyond a tail
		v.op("VMULPS", "t1", "t2", "t1")
		v.op("VFMADD231PS", "t0", "t1", v.r(normSum+acc))
	})
	v.finishSum()
}

// finishSum returns the total of the accumulators.
func (v *Vec) finishSum() {
	v.total(normSum)
	v.I("VMOVSS", X(normSum), v.arg("ret"))
	v.end()
}

// normSlope writes the last step of a norm's gradient, for one row.
func (v *Vec) normSlope() {
	v.temps = 4
	v.begin("normSlope", "computes x̂ = (x − mean)·rstd, dx = or += rstd·(dy·w − shift − x̂·turn), dw += dy·x̂.", 0, false,
		"dx *float32", "dw *float32", "dy *float32", "x *float32", "w *float32", "n int", "add int",
		"mean float32", "rstd float32", "shift float32", "turn float32")
	for _, p := range [][2]string{{"dx", "DI"}, {"dw", "R8"}, {"dy", "SI"}, {"x", "DX"}, {"w", "R9"}, {"n", regFull}} {
		v.I("MOVQ", v.arg(p[0]), p[1])
	}
	v.constantsFrom(4, "mean", "rstd", "shift", "turn")
	v.columns()
	adding, done := v.Fresh("adding"), v.Fresh("sloped")
	v.I("CMPQ", v.arg("add"), "$0")
	v.I("JNE", adding)
	v.each(1, func() { v.normSlopeOf(false) })
	v.I("JMP", done)
	v.Label(adding)
	v.each(1, func() { v.normSlopeOf(true) })
	v.Label(done)
	v.end()
	v.temps = 6
}

// constantsFrom broadcasts parameters to registers from the n-th on.
func (v *Vec) constantsFrom(n int, params ...string) {
	for i, p := range params {
		v.I("VBROADCASTSS", v.arg(p), v.r(n+i))
	}
}

func (v *Vec) normSlopeOf(add bool) {
	mean, rstd, shift, turn := v.r(4), v.r(5), v.r(6), v.r(7)
	v.load("DX", "t0")
	v.op("VSUBPS", mean, "t0", "t0")
	v.op("VMULPS", rstd, "t0", "t0") // x̂
	v.load("SI", "t1")
	v.load("R8", "t2")
	v.op("VFMADD231PS", "t0", "t1", "t2")
	v.store("t2", "R8")
	v.load("R9", "t3")
	v.op("VMULPS", "t3", "t1", "t1")
	v.op("VSUBPS", shift, "t1", "t1")
	v.op("VFNMADD231PS", turn, "t0", "t1")
	if add {
		v.load("DI", "t2")
		v.op("VFMADD213PS", "t2", rstd, "t1")
	} else {
		v.op("VMULPS", rstd, "t1", "t1")
	}
	v.store("t1", "DI")
}

// siluBackward writes both gradients of silu(gate)·up at once.
func (v *Vec) siluBackward() {
	v.temps, v.in = 4, "SI"
	v.begin("siluBackward", "computes dgate = dy·up·silu′(gate) and dup = dy·silu(gate). Strides are in bytes, one for dgate and dup and one for gate and up.", 0, false,
		"dgate *float32", "dup *float32", "ldd int", "dy *float32", "ldy int", "gate *float32", "up *float32", "ldg int", "rows int", "cols int")
	pointers := [][3]string{{"dgate", "DI", "ldd"}, {"dup", "R8", "ldd"}, {"dy", "R9", "ldy"}, {"gate", "SI", "ldg"}, {"up", "DX", "ldg"}}
	for _, p := range pointers {
		v.I("MOVQ", v.arg(p[0]), p[1])
	}
	v.I("MOVQ", v.arg("rows"), "R11")
	v.I("MOVQ", v.arg("cols"), regFull)
	v.hold(v.sigmoidConstants("log2e")...)
	v.columns()
	unroll := 1
	if v.wide {
		unroll = 2
	}
	loop := v.Fresh("row")
	v.Label(loop)
	v.each(unroll, v.siluBackwardOf)
	for _, p := range pointers {
		v.I("ADDQ", v.arg(p[2]), p[1])
	}
	v.I("DECQ", "R11")
	v.I("JNE", loop)
	v.end()
	v.temps = 6
}

// siluBackwardOf writes dy·σ·x and dy·u·(σ + σ·x·(1−σ)).
func (v *Vec) siluBackwardOf() {
	v.load(v.in, "t0")
	v.op("VMULPS", v.c("log2e"), "t0", "t0")
	v.share()
	v.load(v.in, "t1")
	v.op("VMULPS", "t0", "t1", "t1") // σ·x
	v.op("VSUBPS", "t0", v.creg("one", "t2"), "t2")
	v.op("VFMADD231PS", "t1", "t2", "t0")
	v.load("R9", "t2")
	v.op("VMULPS", "t2", "t1", "t1")
	v.store("t1", "R8")
	v.load("DX", "t3")
	v.op("VMULPS", "t3", "t2", "t2")
	v.op("VMULPS", "t2", "t0", "t0")
	v.store("t0", "DI")
}

// adamW rounds after every operation, as the specification does: all levels give
// the same bits.
func (v *Vec) adamW() {
	v.temps = 4
	v.begin("adamW", "makes one step of AdamW.", 0, false, "w *float32", "grad *float32", "m *float32", "v *float32", "n int",
		"keep float32", "beta1 float32", "rest1 float32", "beta2 float32", "rest2 float32", "inv float32", "eps float32", "step float32")
	for _, p := range [][2]string{{"w", "DI"}, {"grad", "SI"}, {"m", "DX"}, {"v", "R8"}, {"n", regFull}} {
		v.I("MOVQ", v.arg(p[0]), p[1])
	}
	first, unroll := 4, 1
	if v.wide {
		first, unroll = 16, 2
	}
	v.constantsFrom(first, "keep", "beta1", "rest1", "beta2", "rest2", "inv", "eps", "step")
	keep, beta1, rest1, beta2 := v.r(first), v.r(first+1), v.r(first+2), v.r(first+3)
	rest2, inv, eps, step := v.r(first+4), v.r(first+5), v.r(first+6), v.r(first+7)
	v.columns()
	v.each(unroll, func() {
		v.load("SI", "t0")
		v.load("DX", "t1")
		v.op("VMULPS", beta1, "t1", "t1")
		v.op("VMULPS", rest1, "t0", "t2")
		v.op("VADDPS", "t2", "t1", "t1")
		v.store("t1", "DX")
		v.op("VMULPS", rest2, "t0", "t2")
		v.op("VMULPS", "t0", "t2", "t2")
		v.load("R8", "t3")
		v.op("VMULPS", beta2, "t3", "t3")
		v.op("VADDPS", "t2", "t3", "t3")
		v.store("t3", "R8")
		v.op("VSQRTPS", "t3", "t3")
		v.op("VMULPS", inv, "t3", "t3")
		v.op("VADDPS", eps, "t3", "t3")
		v.op("VMULPS", step, "t1", "t1")
		v.op("VDIVPS", "t3", "t1", "t1")
		v.load("DI", "t0")
		v.op("VMULPS", keep, "t0", "t0")
		v.op("VSUBPS", "t1", "t0", "t0")
		v.store("t0", "DI")
	})
	v.end()
	v.temps = 6
}

// spreadRows writes the copy of rows into panels of 32 columns.
func (v *Vec) spreadRows() {
	v.begin("spreadRows", "copies rows of panels·32 floats, the first 32 of a row to dst and each further 32 panel bytes on; the next row goes 128 bytes behind.", 0, false,
		"dst *float32", "panel int", "src *float32", "lds int", "rows int", "panels int")
	for _, p := range [][2]string{{"dst", "DI"}, {"panel", "DX"}, {"src", "SI"}, {"lds", "R8"}, {"rows", "R11"}} {
		v.I("MOVQ", v.arg(p[0]), p[1])
	}
	rows, panels := v.Fresh("row"), v.Fresh("panel")
	v.Label(rows)
	v.I("MOVQ", "SI", "AX")
	v.I("MOVQ", "DI", "BX")
	v.I("MOVQ", v.arg("panels"), regCount)
	v.Label(panels)
	for i := 0; i < 128; i += v.size() {
		v.I("VMOVUPS", At(i, "AX"), v.r(i/v.size()))
	}
	for i := 0; i < 128; i += v.size() {
		v.I("VMOVUPS", v.r(i/v.size()), At(i, "BX"))
	}
	v.I("ADDQ", "$128", "AX")
	v.I("ADDQ", "DX", "BX")
	v.I("DECQ", regCount)
	v.I("JNE", panels)
	v.I("ADDQ", "R8", "SI")
	v.I("ADDQ", "$128", "DI")
	v.I("DECQ", "R11")
	v.I("JNE", rows)
	v.end()
}
