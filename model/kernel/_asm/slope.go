package main

import "math"

// slope writes the derivatives of the activations, times a gradient, over blocks
// of rows: what their backward passes take.
func slope(a *Asm) {
	cs := append(exp2Constants(),
		f32("log2e", -math.Log2E), f32("halfLog2e", -0.5*math.Log2E), f32("density", 1/math.Sqrt(2*math.Pi)),
		f32("exp2Max", 128), f32("exp2Min", -127))
	for i, g := range geluCoefficients {
		cs = append(cs, f32(geluNames[i], g))
	}
	maskTable(a, "slope")
	vec := constants(a, "slope", cs)
	for _, wide := range []bool{true, false} {
		v := vec(wide)
		v.slopeOf("times", "computes dst = gate·up.", nil, func() { v.load(v.in, "t0") })
		v.slopeOf("siluSlope", "computes dst = silu′(gate)·up.", v.sigmoidConstants("log2e"), v.siluSlope)
		v.slopeOf("geluSlope", "computes dst = gelu′(gate)·up.", v.sigmoidConstants(append(geluNames, "halfLog2e", "density")...), v.geluSlope)
	}
}

// slopeOf writes a function of three operands whose body leaves the derivative at
// v.in in t0.
func (v *Vec) slopeOf(name, doc string, held []string, body func()) {
	v.temps, v.in = 4, "SI"
	v.begin(name, doc, 0, false, "dst *float32", "ldd int", "gate *float32", "ldg int", "up *float32", "ldu int", "rows int", "cols int")
	v.I("MOVQ", v.arg("dst"), "DI")
	v.I("MOVQ", v.arg("gate"), "SI")
	v.I("MOVQ", v.arg("up"), "DX")
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
