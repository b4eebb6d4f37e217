package ptx

import (
	"math"
	"strings"
)

func f32(x uint64) float32    { return math.Float32frombits(uint32(x)) }
func bits32(f float32) uint64 { return uint64(math.Float32bits(f)) }
func f64(x uint64) float64    { return math.Float64frombits(x) }
func bits64(f float64) uint64 { return math.Float64bits(f) }
func bfloat(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }
func flush(f float32) float32 { // subnormal numbers to zero (.ftz)
	if math.Float32bits(f)&0x7f800000 == 0 {
		return math.Float32frombits(math.Float32bits(f) & 0x80000000)
	}
	return f
}

// toBfloat rounds to the nearest bfloat16, ties to even.
func toBfloat(f float32) uint64 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return 0x7fff
	}
	return uint64((b + 0x7fff + b>>16&1) >> 16)
}

// half reads a binary16.
func half(x uint16) float32 {
	e, m := int(x>>10&31), float64(x&1023)
	v := math.Ldexp(1+m/1024, e-15)
	switch {
	case e == 0:
		v = math.Ldexp(m/1024, -14)
	case e == 31 && m == 0:
		v = math.Inf(1)
	case e == 31:
		v = math.NaN()
	}
	if x>>15 == 1 {
		v = -v
	}
	return float32(v)
}

// toHalf rounds to the nearest binary16, ties to even.
func toHalf(f float32) uint64 {
	x := float64(f)
	sign := uint64(math.Float32bits(f) >> 16 & 0x8000)
	x = math.Abs(x)
	switch {
	case x != x:
		return 0x7fff
	case x >= 65520:
		return sign | 0x7c00
	case x < math.Ldexp(1, -14):
		return sign | uint64(math.RoundToEven(math.Ldexp(x, 24)))
	}
	m, e := math.Frexp(x) // x = m 2^e, m in [0.5, 1)
	// The hidden bit carries into the exponent.
	return sign | uint64((e+13)<<10) + uint64(math.RoundToEven(math.Ldexp(m, 11)))
}

// fma is x*y + z, rounded once. The product of two float32 is exact in float64;
// a sum that seems to lie between two float32 is decided by what it lost.
func fma(x, y, z float32) float32 {
	p := float64(x) * float64(y)
	s := p + float64(z)
	if between(s) {
		b := s - p
		if lost := (p - (s - b)) + (float64(z) - b); lost != 0 && !math.IsNaN(lost) {
			if (lost > 0) == (s > 0) {
				s = math.Float64frombits(math.Float64bits(s) + 1)
			} else {
				s = math.Float64frombits(math.Float64bits(s) - 1)
			}
		}
	}
	return float32(s)
}

// between tells whether a float64 lies in the middle of two float32.
func between(s float64) bool { return math.Float64bits(s)&0x1fffffff == 0x10000000 }

// smaller and larger are min and max as cards take them: a NaN gives way.
func smaller(x, y float32) float32 {
	if x != x || y < x || y == x && math.Signbit(float64(y)) {
		return y
	}
	return x
}

func larger(x, y float32) float32 {
	if x != x || y > x || y == x && !math.Signbit(float64(y)) {
		return y
	}
	return x
}

// functions are those of one float32. Approximate ones are exact here.
var functions = map[string]func(x float64) float64{
	"ex2": math.Exp2, "lg2": math.Log2, "sin": math.Sin, "cos": math.Cos, "tanh": math.Tanh, "sqrt": math.Sqrt,
	"rcp":   func(x float64) float64 { return 1 / x },
	"rsqrt": func(x float64) float64 { return 1 / math.Sqrt(x) },
	"neg":   func(x float64) float64 { return -x },
	"abs":   math.Abs,
}

// float decodes arithmetic on float32 and float64.
func (in *inst) float(typ string) bool {
	switch typ {
	case "f64":
		return in.double()
	case "f32":
	default:
		return false
	}
	ftz := strings.Contains(in.full, ".ftz")
	fix := func(f float32) float32 { return f }
	if ftz {
		fix = flush
	}
	if strings.Contains(in.full, ".sat") {
		in.unknown("saturation is not")
	}
	for _, m := range []string{"rz", "rm", "rp"} {
		for _, o := range in.op[1:] {
			if o == m {
				in.unknown("results are rounded to nearest alone")
			}
		}
	}
	two := func(f func(x, y float32) float32) {
		in.binary(func(x, y uint64) uint64 { return bits32(fix(f(fix(f32(x)), fix(f32(y))))) })
	}
	switch in.op[0] {
	case "add", "sub", "mul", "fma":
		if in.fast(ftz) {
			return true
		}
	}
	switch in.op[0] {
	case "add":
		two(func(x, y float32) float32 { return x + y })
	case "sub":
		two(func(x, y float32) float32 { return x - y })
	case "mul":
		two(func(x, y float32) float32 { return x * y })
	case "div":
		two(func(x, y float32) float32 { return x / y })
	case "min":
		two(smaller)
	case "max":
		two(larger)
	case "copysign":
		in.binary(func(x, y uint64) uint64 { return y&0x7fffffff | x&0x80000000 })
	case "fma", "mad":
		in.ternary(func(x, y, z uint64) uint64 { return bits32(fix(fma(fix(f32(x)), fix(f32(y)), fix(f32(z))))) })
	default:
		f := functions[in.op[0]]
		if f == nil {
			return false
		}
		in.unary(func(x uint64) uint64 { return bits32(fix(float32(f(float64(fix(f32(x))))))) })
	}
	return true
}

// fast is the short way of sums and products in whole warps.
func (in *inst) fast(ftz bool) bool {
	a := in.args
	for i := range a {
		if !a[i].is(c32) {
			return false
		}
	}
	if ftz {
		return false
	}
	d, x, y := in.def32(a[0]), in.use32(a[1]), in.use32(a[2])
	var z src32
	if in.op[0] == "fma" {
		z = in.use32(a[3])
	}
	fl, bi := math.Float32frombits, math.Float32bits
	switch in.op[0] {
	case "add":
		in.run = func(w *warp, mask uint32) {
			d, x, y := &w.r32[d], x.of(w), y.of(w)
			for l := range lanesOf(mask) {
				d[l] = bi(fl(x[l]) + fl(y[l]))
			}
		}
	case "sub":
		in.run = func(w *warp, mask uint32) {
			d, x, y := &w.r32[d], x.of(w), y.of(w)
			for l := range lanesOf(mask) {
				d[l] = bi(fl(x[l]) - fl(y[l]))
			}
		}
	case "mul":
		in.run = func(w *warp, mask uint32) {
			d, x, y := &w.r32[d], x.of(w), y.of(w)
			for l := range lanesOf(mask) {
				d[l] = bi(fl(x[l]) * fl(y[l]))
			}
		}
	case "fma":
		in.run = func(w *warp, mask uint32) {
			d, x, y, z := &w.r32[d], x.of(w), y.of(w), z.of(w)
			if mask == full { // the most frequent instruction by far: fma, written out
				for l := range d {
					s := float64(fl(x[l]))*float64(fl(y[l])) + float64(fl(z[l]))
					if between(s) {
						d[l] = bi(fma(fl(x[l]), fl(y[l]), fl(z[l])))
					} else {
						d[l] = bi(float32(s))
					}
				}
				return
			}
			for l := range lanesOf(mask) {
				d[l] = bi(fma(fl(x[l]), fl(y[l]), fl(z[l])))
			}
		}
	}
	return true
}

// double decodes arithmetic on float64.
func (in *inst) double() bool {
	two := func(f func(x, y float64) float64) {
		in.binary(func(x, y uint64) uint64 { return bits64(f(f64(x), f64(y))) })
	}
	switch in.op[0] {
	case "add":
		two(func(x, y float64) float64 { return x + y })
	case "sub":
		two(func(x, y float64) float64 { return x - y })
	case "mul":
		two(func(x, y float64) float64 { return x * y })
	case "div":
		two(func(x, y float64) float64 { return x / y })
	case "fma":
		in.ternary(func(x, y, z uint64) uint64 { return bits64(math.FMA(f64(x), f64(y), f64(z))) })
	default:
		f := functions[in.op[0]]
		if f == nil {
			return false
		}
		in.unary(func(x uint64) uint64 { return bits64(f(f64(x))) })
	}
	return true
}
