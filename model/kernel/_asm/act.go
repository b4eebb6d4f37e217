package main

import (
	"fmt"
	"math"
	"slices"
)

// exp2Coefficients are those of q in 2^f = 1 + f·q(f), |f| ≤ 1/2: minimax in the
// relative error of 2^f (9.2e-8) by Remez exchange, rounded to float32. 2^0 is
// exact.
var exp2Coefficients = []float64{
	0.6931470036506653, 0.24022242426872253, 0.0555073507130146, 0.009671518579125404, 0.0013264449080452323,
}

// expm1Coefficients are those of q with one more term: minimax in the relative
// error of q itself (1.1e-8), for 2^f − 1 = f·q(f).
var expm1Coefficients = []float64{
	0.6931471824645996, 0.24022649228572845, 0.05550357326865196,
	0.009618237614631653, 0.0013390776002779603, 0.00015403599536512047,
}

// geluCoefficients are those of h in Φ(x) = 1/(1 + 2^(x·h(x²))), lowest first:
// minimax in the error of x·Φ(x) (7.4e-8) for |x| ≤ 4.8 by Remez exchange, rounded to
// float32. Beyond that range h keeps its sign and grows, so that Φ goes to 0 and
// 1 as it should and the error stays below that within.
var geluCoefficients = []float64{
	-2.302206516265869, -0.10484008491039276, 9.675469482317567e-05, 0.0001590148312970996,
	-1.1396500667615328e-05, 3.812551199189329e-07, -5.116704393515192e-09,
}

// Names of the coefficients in the table of constants.
var (
	exp2Names  = numbered("e", len(exp2Coefficients))
	expm1Names = numbered("m", len(expm1Coefficients))
	geluNames  = numbered("g", len(geluCoefficients))
)

func numbered(prefix string, n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return s
}

func exp2Constants() []constant {
	return append([]constant{f32("one", 1)}, f32s(exp2Names, exp2Coefficients)...)
}

// act writes the activations over blocks of rows.
func act(a *Asm) {
	const c = 2 * 0.7978845608028654 * math.Log2E // 2·√(2/π) in powers of two
	cs := append(exp2Constants(),
		f32("zero", 0), f32("two", 2),
		f32("exp2Max", 128), f32("exp2Min", -127),
		f32("log2e", -math.Log2E), f32("tanh0", -c), f32("tanh1", -c*0.044715),
		f32("tanhMax", 10), f32("tanhScale", -2*math.Log2E),
		constant{"abs", 0x7fffffff}, constant{"sign", 0x80000000})
	cs = slices.Concat(cs, f32s(geluNames, geluCoefficients), f32s(expm1Names, expm1Coefficients))
	maskTable(a, "act")
	for v := range constants(a, "act", cs) {
		v.inPlace("gelu", "replaces x by x·Φ(x).", v.sigmoidConstants(geluNames...), v.gelu)
		v.inPlace("geluTanh", "replaces x by x·½(1+tanh(…)).", v.sigmoidConstants("tanh0", "tanh1"), v.geluTanh)
		v.inPlace("relu", "replaces x by max(x, 0).", []string{"zero"}, func() {
			v.load(v.in, "t1")
			v.op("VMAXPS", "t1", v.creg("zero", "t0"), "t0")
		})
		v.softCap()
		v.gated("siluMul", "computes dst = silu(gate)·up.", v.sigmoidConstants("log2e"), func() {
			v.silu()
			v.load("DX", "t1")
			v.op("VMULPS", "t1", "t0", "t0")
		})
		v.gated("geluTanhMul", "computes dst = geluTanh(gate)·up.", v.sigmoidConstants("tanh0", "tanh1"), func() {
			v.geluTanh()
			v.load("DX", "t1")
			v.op("VMULPS", "t1", "t0", "t0")
		})
	}
}

// inPlace writes a function of the elements of a block. body reads its input with
// v.load(v.in, …) and leaves its result in t0.
func (v *Vec) inPlace(name, doc string, held []string, body func()) {
	v.temps, v.in = 3, "DI"
	v.begin(Kernel{
		Name:   name,
		Doc:    doc,
		Params: "x []float32, ldx, rows, cols int",
		Args:   []Arg{"x *float32", "ldx int = 4*ldx", "rows int", "cols int"},
	}, 0)
	v.I("MOVQ", v.arg("x"), "DI")
	v.block(3, 1, held, body)
}

// gated writes a function of the elements of two blocks into a third; the second
// operand of body is at DX.
func (v *Vec) gated(name, doc string, held []string, body func()) {
	v.temps, v.in = 3, "SI"
	v.begin(threeBlocks(name, doc, "g", "u"), 0)
	v.take("dst", "DI", "gate", "SI", "up", "DX")
	v.block(2, 3, held, body)
}

// threeBlocks describes a kernel that computes dst from the blocks x and y, which
// the assembly calls gate and up.
func threeBlocks(name, doc, x, y string) Kernel {
	return Kernel{
		Name: name, Doc: doc,
		Params: "dst []float32, ldd int, " +
			fmt.Sprintf("%s []float32, ld%s int, %s []float32, ld%s, rows, cols int", x, x, y, y),
		Args: []Arg{"dst *float32", "ldd int = 4*ldd", Arg("gate *float32 = &" + x + "[0]"), Arg("ldg int = 4*ld" + x),
			Arg("up *float32 = &" + y + "[0]"), Arg("ldu int = 4*ld" + y), "rows int", "cols int"},
	}
}

// block emits the loops, with up to six streams, as registers last: so many rows
// together at 512 bits, two at 256.
func (v *Vec) block(together, operands int, held []string, body func()) {
	if !v.wide {
		together = 2
	}
	v.hold(held...)
	v.rows(together, operands, func() {
		body()
		v.store("t0", "DI")
	})
	v.end()
	v.temps = 6
}

// rows emits the loop over rows of one or three operands, so many together that
// their chains of dependent instructions keep the multipliers busy, and then one
// by one.
func (v *Vec) rows(together, operands int, body func()) {
	strides := map[string]string{"DI": "ldx"}
	if operands == 3 {
		strides = map[string]string{"DI": "ldd", "SI": "ldg", "DX": "ldu"}
	}
	order := []string{"DI", "SI", "DX"}[:operands]
	v.take("rows", "R11", "cols", regFull)
	v.columns()
	one, done := v.Fresh("oneRow"), v.Fresh("done")
	steps := []int{together, 1}
	if together == 1 {
		steps = steps[:1]
	}
	for _, n := range steps {
		loop := v.Fresh("rows")
		if n > 1 {
			v.I("SUBQ", Imm(n), "R11")
			v.I("JLT", one)
		} else if together > 1 {
			v.Label(one)
			v.I("ADDQ", Imm(together), "R11")
			v.I("JEQ", done)
		}
		v.Label(loop)
		for _, b := range order {
			for i := 1; i < n; i++ {
				v.I("MOVQ", v.arg(strides[b]), bases[b][i])
				v.I("ADDQ", bases[b][i-1], bases[b][i])
			}
		}
		v.eachOf(n, 2, body)
		for _, b := range order {
			v.I("MOVQ", bases[b][n-1], b)
			v.I("ADDQ", v.arg(strides[b]), b)
		}
		v.I("SUBQ", Imm(n), "R11")
		if n > 1 {
			v.I("JGE", loop)
		} else {
			v.I("JNE", loop)
		}
	}
	v.Label(done)
}

func (v *Vec) sigmoidConstants(more ...string) []string {
	return append(append(more, "one"), exp2Names...)
}

// horner leaves the polynomial with the named coefficients, lowest first, of
// temporary x in temporary y.
func (v *Vec) horner(names []string, x, y string) {
	last := len(names) - 1
	v.op("VMOVUPS", v.c(names[last]), y)
	for i := last - 1; i >= 0; i-- {
		v.op("VFMADD213PS", v.c(names[i]), x, y)
	}
}

// exp2 replaces t0 by 2^t0 for any t0: 0, +Inf and NaN where it should, and a
// value below 2^-126 to within that. It uses t1 and t2.
func (v *Vec) exp2() {
	if v.wide {
		v.op("VREDUCEPS", "$0", "t0", "t1") // 0 for ±Inf
		v.op("VRNDSCALEPS", "$0", "t0", "t2")
	} else {
		// At the ends f is 0 and the exponent field becomes that of Inf or of 0.
		// A NaN is the second source, which MIN and MAX return.
		v.op("VMINPS", "t0", v.creg("exp2Max", "t1"), "t0")
		v.op("VMAXPS", "t0", v.creg("exp2Min", "t1"), "t0")
		v.op("VROUNDPS", "$8", "t0", "t2")
		v.op("VSUBPS", "t2", "t0", "t1")
	}
	v.joined()
}

// joined leaves 2^(n+f) in t0, of f in t1 and the whole number n in t2.
func (v *Vec) joined() {
	v.horner(exp2Names, "t1", "t0")
	v.op("VFMADD213PS", v.c("one"), "t1", "t0")
	if v.wide {
		v.op("VSCALEFPS", "t2", "t0", "t0")
		return
	}
	v.op("VCVTPS2DQ", "t2", "t2")
	v.op("VPSLLD", "$23", "t2", "t2")
	v.op("VPADDD", "t2", "t0", "t0")
}

// sigmoid replaces t0 by x/(1 + 2^t0), x being the input.
func (v *Vec) sigmoid() {
	v.exp2()
	v.load(v.in, "t1")
	v.op("VADDPS", v.c("one"), "t0", "t0")
	v.op("VDIVPS", "t0", "t1", "t0")
}

// silu leaves x/(1+exp(−x)) in t0.
func (v *Vec) silu() {
	v.load(v.in, "t0")
	v.op("VMULPS", v.c("log2e"), "t0", "t0")
	v.sigmoid()
}

// geluTanh leaves ½x(1+tanh(y)) = x/(1+exp(−2y)) in t0.
func (v *Vec) geluTanh() { v.oddSigmoid([]string{"tanh0", "tanh1"}) }

// gelu leaves x·Φ(x) in t0.
func (v *Vec) gelu() { v.oddSigmoid(geluNames) }

// oddSigmoid leaves x/(1 + 2^(x·p(x²))) in t0, p being the polynomial with the
// named coefficients.
func (v *Vec) oddSigmoid(names []string) {
	v.load(v.in, "t2")
	v.op("VMULPS", "t2", "t2", "t0")
	v.horner(names, "t0", "t1")
	v.op("VMULPS", "t1", "t2", "t0")
	v.sigmoid()
}

// softCap writes cap·tanh(x/cap). With e = exp(−2|y|) − 1, computed without
// cancellation, tanh|y| is −e/(2+e).
func (v *Vec) softCap() {
	v.begin(Kernel{
		Name:   "softCap",
		Doc:    "replaces x by limit·tanh(x/limit).",
		Params: "x []float32, ldx, rows, cols int, limit float32",
		Args: []Arg{
			"x *float32", "ldx int = 4*ldx", "rows int", "cols int", "inv float32 = 1 / limit",
			"limit float32",
		},
	}, 0)
	v.I("MOVQ", v.arg("x"), "DI")
	v.hold(append([]string{"one", "two", "abs", "sign", "tanhMax", "tanhScale"}, expm1Names...)...)
	inv, limit := v.r(12), v.r(13)
	v.I("VBROADCASTSS", v.arg("inv"), inv)
	v.I("VBROADCASTSS", v.arg("limit"), limit)
	v.rows(1, 1, func() {
		v.load("DI", "t4")
		v.op("VMULPS", inv, "t4", "t4")
		v.op("VANDPS", v.c("abs"), "t4", "t0")
		v.op("VMINPS", "t0", v.creg("tanhMax", "t1"), "t0") // keeps NaN
		v.op("VMULPS", v.c("tanhScale"), "t0", "t0")
		v.power()
		v.horner(expm1Names, "t1", "t3")
		v.op("VMULPS", "t1", "t3", "t1")
		v.op("VSUBPS", v.c("one"), "t2", "t5")
		v.op("VFMADD231PS", "t2", "t1", "t5")
		v.op("VADDPS", v.c("two"), "t5", "t0")
		v.op("VDIVPS", "t0", "t5", "t0")
		v.op("VANDPS", v.c("abs"), "t0", "t0")
		v.op("VANDPS", v.c("sign"), "t4", "t4")
		v.op("VORPS", "t4", "t0", "t0")
		v.op("VMULPS", limit, "t0", "t0")
		v.store("t0", "DI")
	})
	v.end()
}

// power splits t0 into n + f with |f| ≤ 1/2 and leaves f in t1 and 2^n in t2.
func (v *Vec) power() {
	if v.wide {
		v.op("VRNDSCALEPS", "$0", "t0", "t2")
		v.op("VSUBPS", "t2", "t0", "t1")
		v.op("VSCALEFPS", "t2", v.c("one"), "t2")
		return
	}
	v.op("VROUNDPS", "$8", "t0", "t2")
	v.op("VSUBPS", "t2", "t0", "t1")
	v.op("VCVTPS2DQ", "t2", "t2")
	v.op("VPSLLD", "$23", "t2", "t2")
	v.op("VPADDD", v.c("one"), "t2", "t2")
}
