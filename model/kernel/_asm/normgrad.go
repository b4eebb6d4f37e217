package main

// normgrad writes what the gradients of the norms take of a row.
func normgrad(a *Asm) {
	maskTable(a, "normgrad")
	for v := range constants(a, "normgrad", nil) {
		v.sumOf()
		v.spread()
		v.tripleDot()
		v.normSlope()
	}
}

// sumOf writes the sum of a row.
func (v *Vec) sumOf() {
	v.begin(Kernel{
		Name:   "sum",
		Doc:    "adds the elements up, in the lanes of [Dot].",
		Params: "x []float32",
		Args:   []Arg{"x *float32", "n int = len(x)"},
		Result: "float32",
	}, 0)
	v.take("x", "SI", "n", regFull)
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
	v.begin(Kernel{
		Name:   "sumSquares",
		Doc:    "adds up the squared differences from a mean, in the lanes of [Dot].",
		Params: "x []float32, mean float32",
		Args:   []Arg{"x *float32", "n int = len(x)", "mean float32"},
		Result: "float32",
	}, 0)
	v.take("x", "SI", "n", regFull)
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
	v.begin(Kernel{
		Name:   "tripleDot",
		Doc:    "adds up a·b·(x − mean), in the lanes of [Dot].",
		Params: "a, b, x []float32, mean float32",
		Args: []Arg{
			"a *float32", "b *float32", "x *float32", "n int = len(x)", "mean float32",
		},
		Result: "float32",
	}, 0)
	v.take("a", "SI", "b", "DX", "x", "DI", "n", regFull)
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
	v.begin(Kernel{
		Name:   "normSlope",
		Doc:    "computes x̂ = (x − mean)·rstd, dx = or += rstd·(dy·w − shift − x̂·turn), dw += dy·x̂.",
		Params: "dx, dw, dy, x, w []float32, s normStep",
		Args: []Arg{
			"dx *float32", "dw *float32", "dy *float32", "x *float32", "w *float32",
			"n int = len(x)", "add int = s.adding()", "mean float32 = s.mean",
			"rstd float32 = s.rstd", "shift float32 = s.shift", "turn float32 = s.turn",
		},
	}, 0)
	v.take("dx", "DI", "dw", "R8", "dy", "SI", "x", "DX", "w", "R9", "n", regFull)
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
