package main

// vector writes sums and dot products of vectors.
func vector(a *Asm) {
	maskTable(a, "vector")
	for v := range constants(a, "vector", nil) {
		v.addTo()
		v.addScaled()
		v.dot()
	}
}

func (v *Vec) addTo() {
	v.begin(Kernel{
		Name:   "addTo",
		Doc:    "computes dst += x.",
		Params: "dst, x []float32",
		Args:   []Arg{"dst *float32", "x *float32", "n int = len(x)"},
	}, 0)
	v.take("dst", "DI", "x", "SI", "n", regFull)
	v.columns()
	v.each(2, func() {
		v.load("SI", "t0")
		v.load("DI", "t1")
		v.op("VADDPS", "t0", "t1", "t0")
		v.store("t0", "DI")
	})
	v.end()
}

func (v *Vec) addScaled() {
	v.begin(Kernel{
		Name:   "addScaled",
		Doc:    "computes dst += alpha·x.",
		Params: "dst []float32, alpha float32, x []float32",
		Args:   []Arg{"dst *float32", "x *float32", "n int = len(x)", "alpha float32"},
	}, 0)
	v.take("dst", "DI", "x", "SI", "n", regFull)
	v.I("VBROADCASTSS", v.arg("alpha"), v.r(14))
	v.columns()
	v.each(2, func() {
		v.load("SI", "t0")
		v.load("DI", "t1")
		v.op("VFMADD231PS", v.r(14), "t0", "t1")
		v.store("t1", "DI")
	})
	v.end()
}

func (v *Vec) dot() {
	v.begin(Kernel{
		Name:   "dot",
		Doc:    "returns the dot product of a and b.",
		Params: "a, b []float32",
		Args:   []Arg{"a *float32", "b *float32", "n int = len(a)"},
		Result: "float32",
	}, 0)
	v.take("a", "SI", "b", "DX", "n", regFull)
	v.columns()
	v.clear(normSum)
	v.reduce(func(acc int) {
		v.load("SI", "t0")
		v.load("DX", "t1")
		v.op("VFMADD231PS", "t0", "t1", v.r(normSum+acc))
	})
	v.finishSum()
}
