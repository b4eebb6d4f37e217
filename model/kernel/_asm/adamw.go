package main

// adamw writes the step of the optimiser.
func adamw(a *Asm) {
	maskTable(a, "adamw")
	for v := range constants(a, "adamw", nil) {
		v.adamW()
	}
}

// adamW rounds after every operation, as the specification does: all levels give
// the same bits.
func (v *Vec) adamW() {
	v.temps = 4
	v.begin(Kernel{
		Name:   "adamW",
		Doc:    "makes one step of AdamW.",
		Params: "w, grad, m, v []float32, s *AdamWStep",
		Args: []Arg{
			"w *float32", "grad *float32", "m *float32", "v *float32", "n int = len(w)",
			"keep float32 = s.Keep", "beta1 float32 = s.Beta1", "rest1 float32 = s.Rest1",
			"beta2 float32 = s.Beta2", "rest2 float32 = s.Rest2", "inv float32 = 1 / s.Root",
			"eps float32 = s.Eps", "step float32 = s.Step",
		},
	}, 0)
	v.take("w", "DI", "grad", "SI", "m", "DX", "v", "R8", "n", regFull)
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
