package ptx

import (
	"math"
	"math/bits"
	"slices"
)

// unary, binary and ternary give an instruction the function of its lanes. All
// registers of one width take the short way.
func (in *inst) unary(f func(x uint64) uint64) {
	a := in.args
	if a[0].is(c32) && a[1].is(c32) && a[0].reg.bytes == 4 {
		d, x := in.def32(a[0]), in.use32(a[1])
		in.run = func(w *warp, mask uint32) {
			d, x := &w.r32[d], x.of(w)
			for l := range lanesOf(mask) {
				d[l] = uint32(f(uint64(x[l])))
			}
		}
		return
	}
	d, x := in.defAny(a[0]), in.useAny(a[1])
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			d(w, l, f(x(w, l)))
		}
	}
}

func (in *inst) binary(f func(x, y uint64) uint64) {
	a := in.args
	if a[0].is(c32) && a[1].is(c32) && a[2].is(c32) && a[0].reg.bytes == 4 {
		d, x, y := in.def32(a[0]), in.use32(a[1]), in.use32(a[2])
		in.run = func(w *warp, mask uint32) {
			d, x, y := &w.r32[d], x.of(w), y.of(w)
			if mask == full {
				for l := range d {
					d[l] = uint32(f(uint64(x[l]), uint64(y[l])))
				}
				return
			}
			for l := range lanesOf(mask) {
				d[l] = uint32(f(uint64(x[l]), uint64(y[l])))
			}
		}
		return
	}
	if a[0].is(c64) && a[1].is(c64) && a[2].is(c64) {
		d, x, y := in.def64(a[0]), in.use64(a[1]), in.use64(a[2])
		in.run = func(w *warp, mask uint32) {
			d, x, y := &w.r64[d], x.of(w), y.of(w)
			for l := range lanesOf(mask) {
				d[l] = f(x[l], y[l])
			}
		}
		return
	}
	d, x, y := in.defAny(a[0]), in.useAny(a[1]), in.useAny(a[2])
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			d(w, l, f(x(w, l), y(w, l)))
		}
	}
}

func (in *inst) ternary(f func(x, y, z uint64) uint64) {
	a := in.args
	if a[0].is(c32) && a[1].is(c32) && a[2].is(c32) && a[3].is(c32) && a[0].reg.bytes == 4 {
		d, x, y, z := in.def32(a[0]), in.use32(a[1]), in.use32(a[2]), in.use32(a[3])
		in.run = func(w *warp, mask uint32) {
			d, x, y, z := &w.r32[d], x.of(w), y.of(w), z.of(w)
			for l := range lanesOf(mask) {
				d[l] = uint32(f(uint64(x[l]), uint64(y[l]), uint64(z[l])))
			}
		}
		return
	}
	d, x, y, z := in.defAny(a[0]), in.useAny(a[1]), in.useAny(a[2]), in.useAny(a[3])
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			d(w, l, f(x(w, l), y(w, l), z(w, l)))
		}
	}
}

// is tells whether an operand can be read as one of a class.
func (o *operand) is(c class) bool {
	return o.kind == kReg && o.reg.class == c || o.kind == kImm && c != pred
}

// intOps are functions of integers; what they give is cut to the type's width,
// what they get is extended as the type says.
var intOps = map[string]any{
	"add": func(x, y uint64) uint64 { return x + y },
	"sub": func(x, y uint64) uint64 { return x - y },
	"and": func(x, y uint64) uint64 { return x & y },
	"or":  func(x, y uint64) uint64 { return x | y },
	"xor": func(x, y uint64) uint64 { return x ^ y },
	"not": func(x uint64) uint64 { return ^x },
	"neg": func(x uint64) uint64 { return -x },
}

// integer decodes arithmetic on integers and bits. It reports false for what is not.
func (in *inst) integer(typ string) bool {
	n := uint(8 * width(typ))
	if typ == "pred" {
		n = 1
	}
	if n == 0 || typ[0] == 'f' {
		return false
	}
	if slices.Contains(in.op, "sat") || slices.Contains(in.op, "cc") {
		in.unknown("saturation and carries are not")
	}
	cut := uint64(math.MaxUint64) >> (64 - n)
	signed := typ[0] == 's'
	ext := func(x uint64) uint64 {
		if signed {
			return uint64(int64(x<<(64-n)) >> (64 - n))
		}
		return x & cut
	}
	mode := ""
	if len(in.op) > 2 {
		mode = in.op[1]
	}
	switch f := intOps[in.op[0]].(type) {
	case func(x uint64) uint64:
		in.unary(func(x uint64) uint64 { return f(x) & cut })
		return true
	case func(x, y uint64) uint64:
		if n == 32 && in.plain32() {
			return true
		}
		in.binary(func(x, y uint64) uint64 { return f(x, y) & cut })
		return true
	}
	less := func(x, y uint64) bool {
		if signed {
			return int64(ext(x)) < int64(ext(y))
		}
		return x&cut < y&cut
	}
	switch in.op[0] {
	case "mul", "mad":
		in.product(mode, n, signed, ext, cut)
	case "div", "rem":
		in.quotient(in.op[0] == "rem", signed, ext, cut)
	case "min", "max":
		bigger := in.op[0] == "max"
		in.binary(func(x, y uint64) uint64 {
			if less(x, y) != bigger {
				return x
			}
			return y
		})
	case "abs":
		in.unary(func(x uint64) uint64 { return uint64(max(int64(ext(x)), -int64(ext(x)))) & cut })
	case "shl":
		in.binary(func(x, y uint64) uint64 { return x << (y & math.MaxUint32) & cut })
	case "shr":
		if signed {
			in.binary(func(x, y uint64) uint64 { return uint64(int64(ext(x))>>min(y&math.MaxUint32, 63)) & cut })
		} else {
			in.binary(func(x, y uint64) uint64 { return x & cut >> (y & math.MaxUint32) })
		}
	case "bfe":
		in.ternary(func(x, y, z uint64) uint64 {
			y, z = y&255, min(z&255, 64)
			if z == 0 {
				return 0
			}
			if signed {
				return uint64(int64(ext(x))>>min(y, 63)<<(64-z)>>(64-z)) & cut
			}
			return x & cut >> y & (math.MaxUint64 >> (64 - z))
		})
	case "popc":
		in.unary(func(x uint64) uint64 { return uint64(bits.OnesCount64(x & cut)) })
	case "clz":
		in.unary(func(x uint64) uint64 { return uint64(bits.LeadingZeros64(x&cut)) - uint64(64-n) })
	case "brev":
		in.unary(func(x uint64) uint64 { return bits.Reverse64(x) >> (64 - n) })
	case "prmt":
		in.ternary(permute)
	case "lop3":
		in.lookup()
	case "shf":
		in.funnel()
	default:
		return false
	}
	return true
}

// plain32 is the short way of the commonest instructions.
func (in *inst) plain32() bool {
	a := in.args
	if !a[0].is(c32) || !a[1].is(c32) || !a[2].is(c32) {
		return false
	}
	switch in.op[0] {
	case "add":
		d, x, y := in.def32(a[0]), in.use32(a[1]), in.use32(a[2])
		in.run = func(w *warp, mask uint32) {
			d, x, y := &w.r32[d], x.of(w), y.of(w)
			if mask == full {
				for l := range d {
					d[l] = x[l] + y[l]
				}
				return
			}
			for l := range lanesOf(mask) {
				d[l] = x[l] + y[l]
			}
		}
		return true
	}
	return false
}

func (in *inst) product(mode string, n uint, signed bool, ext func(uint64) uint64, cut uint64) {
	var f func(x, y uint64) uint64
	switch {
	case mode == "lo":
		f = func(x, y uint64) uint64 { return x * y & cut }
	case mode == "wide":
		f, cut = func(x, y uint64) uint64 { return ext(x) * ext(y) }, uint64(math.MaxUint64)>>(64-2*n)
	case mode == "hi" && n <= 32:
		f = func(x, y uint64) uint64 { return ext(x) * ext(y) >> n & cut }
	case mode == "hi" && !signed:
		f = func(x, y uint64) uint64 { h, _ := bits.Mul64(x, y); return h }
	case mode == "hi":
		f = func(x, y uint64) uint64 {
			h, _ := bits.Mul64(x, y)
			return h - uint64(int64(x)>>63)&y - uint64(int64(y)>>63)&x
		}
	default:
		in.unknown("products are lo, hi or wide")
	}
	if in.op[0] == "mul" {
		in.binary(func(x, y uint64) uint64 { return f(x, y) & cut })
	} else {
		in.ternary(func(x, y, z uint64) uint64 { return (f(x, y) + z) & cut })
	}
}

// quotient gives all ones for a division by zero, as cards do.
func (in *inst) quotient(rest, signed bool, ext func(uint64) uint64, cut uint64) {
	in.binary(func(x, y uint64) uint64 {
		x, y = ext(x), ext(y)
		switch {
		case y == 0:
			return cut
		case signed && rest:
			return uint64(int64(x)%int64(y)) & cut
		case signed:
			return uint64(int64(x)/int64(y)) & cut
		case rest:
			return x % y
		}
		return x / y
	})
}

// permute picks bytes of two words (prmt, default mode).
func permute(x, y, sel uint64) uint64 {
	both, out := x&math.MaxUint32|y<<32, uint64(0)
	for i := range 4 {
		s := sel >> (4 * i)
		b := both >> (8 * (s & 7)) & 255
		if s&8 != 0 {
			b = uint64(uint8(int8(b) >> 7))
		}
		out |= b << (8 * i)
	}
	return out
}

// lookup is lop3: any function of three bits.
func (in *inst) lookup() {
	table := in.args[4].val
	in.ternary(func(x, y, z uint64) uint64 {
		out := uint64(0)
		for i := range 8 {
			if table>>i&1 == 1 {
				p, q, r := x, y, z
				if i&4 == 0 {
					p = ^p
				}
				if i&2 == 0 {
					q = ^q
				}
				if i&1 == 0 {
					r = ^r
				}
				out |= p & q & r
			}
		}
		return out & math.MaxUint32
	})
}

// funnel shifts two words as one.
func (in *inst) funnel() {
	left, clamp := in.op[1] == "l", in.op[2] == "clamp"
	in.ternary(func(x, y, z uint64) uint64 {
		n := z & 31
		if clamp {
			n = min(z, 32)
		}
		both := x&math.MaxUint32 | y<<32
		if left {
			return both << n >> 32 & math.MaxUint32
		}
		return both >> n & math.MaxUint32
	})
}
