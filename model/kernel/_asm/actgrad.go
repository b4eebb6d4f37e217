package main

import "math"

// actgrad writes the derivatives of the activations, times a gradient, over blocks
// of rows: what their backward passes take.
func actgrad(a *Asm) {
	cs := append(exp2Constants(),
		f32("log2e", -math.Log2E), f32("halfLog2e", -0.5*math.Log2E), f32("density", 1/math.Sqrt(2*math.Pi)),
		f32("exp2Max", 128), f32("exp2Min", -127))
	cs = append(cs, f32s(geluNames, geluCoefficients)...)
	maskTable(a, "actgrad")
	for v := range constants(a, "actgrad", cs) {
		v.slopeOf(threeBlocks("times", "computes dst = x·y.", "x", "y"), nil, func() { v.load(v.in, "t0") })
		v.slopeOf(threeBlocks("siluSlope", "computes dst = silu′(x)·dy.", "x", "dy"),
			v.sigmoidConstants("log2e"), v.siluSlope)
		v.slopeOf(threeBlocks("geluSlope", "computes dst = gelu′(x)·dy.", "x", "dy"),
			v.sigmoidConstants(append(geluNames, "halfLog2e", "density")...), v.geluSlope)
		v.siluBackward()
	}
}

// slopeOf writes a function of three blocks whose body leaves the derivative at
// v.in in t0.
func (v *Vec) slopeOf(k Kernel, held []string, body func()) {
	v.temps, v.in = 4, "SI"
	v.begin(k, 0)
	v.take("dst", "DI", "gate", "SI", "up", "DX")
	v.hold(held...)
	together := 1
	if v.wide {
		together = 2
	}
	v.rows(together, 3, func() {
		body()
		v.load("DX", "t1")
		v.op("VMULPS", "t1", "t0", "t0")
		v.store("t0", "DI")
	})
	v.end()
	v.temps = 6
}

// share replaces t0 by 1/(1 + 2^t0).
func (v *Vec) share() {
	v.exp2()
	v.op("VADDPS", v.c("one"), "t0", "t0")
	v.op("VDIVPS", "t0", v.creg("one", "t2"), "t0")
}

// siluSlope leaves σ + σ·x·(1−σ) in t0.
func (v *Vec) siluSlope() {
	v.load(v.in, "t0")
	v.op("VMULPS", v.c("log2e"), "t0", "t0")
	v.share()
	v.load(v.in, "t1")
	v.op("VSUBPS", "t0", v.creg("one", "t2"), "t2")
	v.op("VMULPS", "t1", "t2", "t2")
	v.op("VFMADD213PS", "t0", "t2", "t0")
}

// geluSlope leaves Φ + x·φ in t0, Φ as gelu has it.
func (v *Vec) geluSlope() {
	v.load(v.in, "t2")
	v.op("VMULPS", "t2", "t2", "t0")
	v.horner(geluNames, "t0", "t1")
	v.op("VMULPS", "t1", "t2", "t0")
	v.share()
	v.op("VMOVAPS", "t0", "t3")
	v.load(v.in, "t0")
	v.op("VMULPS", "t0", "t0", "t0")
	v.op("VMULPS", v.c("halfLog2e"), "t0", "t0")
	v.exp2()
	v.load(v.in, "t1")
	v.op("VMULPS", v.c("density"), "t1", "t1")
	v.op("VFMADD213PS", "t3", "t1", "t0")
}

// siluBackward writes both gradients of silu(gate)·up at once.
func (v *Vec) siluBackward() {
	v.temps, v.in = 4, "SI"
	v.begin(Kernel{
		Name:   "siluBackward",
		Doc:    "computes dgate = dy·up·silu′(gate) and dup = dy·silu(gate).",
		Params: "dgate, dup []float32, ldd int, dy []float32, ldy int, gate, up []float32, ldg, rows, cols int",
		Args: []Arg{
			"dgate *float32", "dup *float32", "ldd int = 4*ldd", "dy *float32",
			"ldy int = 4*ldy", "gate *float32", "up *float32", "ldg int = 4*ldg", "rows int",
			"cols int",
		},
	}, 0)
	pointers := [][3]string{
		{"dgate", "DI", "ldd"}, {"dup", "R8", "ldd"}, {"dy", "R9", "ldy"}, {"gate", "SI", "ldg"}, {"up", "DX", "ldg"},
	}
	for _, p := range pointers {
		v.I("MOVQ", v.arg(p[0]), p[1])
	}
	v.take("rows", "R11", "cols", regFull)
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
