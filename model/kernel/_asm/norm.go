package main

// Registers of the norms beside the temporaries: accumulators from normSum up.
const (
	normSum  = 6
	normRstd = 13
	normMean = 14
)

// norm writes the norms of rows and those that add a residual on the way.
func norm(a *Asm) {
	maskTable(a, "norm")
	vec := constants(a, "norm", []constant{f32("one", 1)})
	for _, wide := range []bool{true, false} {
		v := vec(wide)
		v.rmsNorm("rmsNorm", "normalises rows by their root mean square.", false)
		v.rmsNorm("addRMSNorm", "adds x to res and normalises that by its root mean square.", true)
		v.layerNorm("layerNorm", "normalises rows to mean 0 and variance 1; b may be nil.", false)
		v.layerNorm("addLayerNorm", "adds x to res and normalises that to mean 0 and variance 1; b may be nil.", true)
	}
}

// normRows begins a norm and emits its loop over rows. Rows are at DI (dst), SI
// (x) and DX (res), the weight at R8 and the bias at R9. It returns the operand
// that holds what is normalised.
func (v *Vec) normRows(name, doc string, add, bias bool, row func(src string)) {
	params := []string{"dst *float32", "ldd int", "x *float32", "ldx int"}
	if add {
		params = append(params, "res *float32", "ldr int")
	}
	params = append(params, "w *float32")
	if bias {
		params = append(params, "b *float32")
	}
	v.begin(name, doc, 0, false, append(params, "rows int", "cols int", "eps float32", "n float32")...)
	v.I("MOVQ", v.arg("dst"), "DI")
	v.I("MOVQ", v.arg("x"), "SI")
	src := "SI"
	if add {
		v.I("MOVQ", v.arg("res"), "DX")
		src = "DX"
	}
	v.I("MOVQ", v.arg("w"), "R8")
	if bias {
		v.I("MOVQ", v.arg("b"), "R9")
	}
	v.I("MOVQ", v.arg("rows"), "R11")
	v.I("MOVQ", v.arg("cols"), regFull)
	v.columns()
	loop := v.Fresh("rows")
	v.Label(loop)
	row(src)
	v.I("ADDQ", v.arg("ldd"), "DI")
	v.I("ADDQ", v.arg("ldx"), "SI")
	if add {
		v.I("ADDQ", v.arg("ldr"), "DX")
	}
	v.I("DECQ", "R11")
	v.I("JNE", loop)
	v.end()
}

// loadSum loads what is normalised into t0 in the first pass over it.
func (v *Vec) loadSum(add bool) {
	v.load("SI", "t0")
	if add {
		v.load("DX", "t1")
		v.op("VADDPS", "t1", "t0", "t0")
		v.store("t0", "DX")
	}
}

// invRoot replaces lane 0 of normSum, a sum, by 1/√(sum/n + eps).
func (v *Vec) invRoot() {
	x, y := X(normSum), X(normSum+1)
	v.I("VDIVSS", v.arg("n"), x, x)
	v.I("VADDSS", v.arg("eps"), x, x)
	v.I("VSQRTSS", x, x, x)
	v.I("VMOVSS", v.constant("one"), y)
	v.I("VDIVSS", x, y, x)
}

func (v *Vec) rmsNorm(name, doc string, add bool) {
	v.normRows(name, doc, add, false, func(src string) {
		v.clear(normSum)
		v.reduce(func(acc int) {
			v.loadSum(add)
			v.op("VFMADD231PS", "t0", "t0", v.r(normSum+acc))
		})
		v.total(normSum)
		v.invRoot()
		v.I("VBROADCASTSS", X(normSum), v.r(normRstd))
		v.each(2, func() {
			v.load(src, "t0")
			v.load("R8", "t1")
			v.op("VMULPS", v.r(normRstd), "t0", "t0")
			v.op("VMULPS", "t1", "t0", "t0")
			v.store("t0", "DI")
		})
	})
}

func (v *Vec) layerNorm(name, doc string, add bool) {
	v.normRows(name, doc, add, true, func(src string) {
		v.clear(normSum)
		v.reduce(func(acc int) {
			v.loadSum(add)
			v.op("VADDPS", "t0", v.r(normSum+acc), v.r(normSum+acc))
		})
		v.total(normSum)
		v.I("VDIVSS", v.arg("n"), X(normSum), X(normSum))
		v.I("VBROADCASTSS", X(normSum), v.r(normMean))
		v.clear(normSum)
		v.reduce(func(acc int) {
			v.load(src, "t0")
			v.op("VSUBPS", v.r(normMean), "t0", "t0")
			v.keepTail("t0")
			v.op("VFMADD231PS", "t0", "t0", v.r(normSum+acc))
		})
		v.total(normSum)
		v.invRoot()
		v.I("VBROADCASTSS", X(normSum), v.r(normRstd))
		plain, done := v.Fresh("unbiased"), v.Fresh("normed")
		v.I("TESTQ", "R9", "R9")
		v.I("JEQ", plain)
		v.each(2, func() { v.scale(src, true) })
		v.I("JMP", done)
		v.Label(plain)
		v.each(2, func() { v.scale(src, false) })
		v.Label(done)
	})
}

// scale writes (x − mean)·rstd·w, plus the bias.
func (v *Vec) scale(src string, bias bool) {
	v.load(src, "t0")
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
