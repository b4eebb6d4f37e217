package ptx

import (
	"math"
	"slices"
	"strings"
)

// mov decodes copies of registers, constants and addresses, and words that are
// taken apart or put together.
func (in *inst) mov() {
	a := in.args
	switch {
	case a[0].kind == kVec:
		in.takeApart()
	case a[1].kind == kVec:
		in.putTogether()
	case a[0].kind == kReg && a[0].reg.class == pred:
		d, x := in.defPred(a[0]), in.usePred(a[1])
		in.run = func(w *warp, mask uint32) { w.pred[d] = w.pred[d]&^mask | x(w)&mask }
	case a[0].kind == kReg && a[0].reg.class == c64:
		d, x := in.def64(a[0]), in.use64(a[1])
		in.handOn()
		in.run = func(w *warp, mask uint32) {
			d, x := &w.r64[d], x.of(w)
			for l := range lanesOf(mask) {
				d[l] = x[l]
			}
		}
	default:
		d, x := in.def32(a[0]), in.use32(a[1])
		in.handOn()
		in.run = func(w *warp, mask uint32) {
			d, x := &w.r32[d], x.of(w)
			if mask == full {
				*d = *x
				return
			}
			for l := range lanesOf(mask) {
				d[l] = x[l]
			}
		}
	}
}

// handOn lets an instruction take registers that are not set, and leave its
// result as unset as they are: compilers copy values that nobody will use.
func (in *inst) handOn() { in.copy, in.handed, in.uses = true, in.uses, nil }

func (in *inst) takeApart() {
	x := in.useAny(in.args[1])
	list := in.args[0].list
	n := 8 * in.wordBytes() / len(list)
	var to []func(w *warp, l int, v uint64)
	for _, o := range list {
		to = append(to, in.defAny(o))
	}
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			v := x(w, l)
			for i, d := range to {
				d(w, l, v>>(n*i)&(math.MaxUint64>>(64-n)))
			}
		}
	}
}

func (in *inst) putTogether() {
	list := in.args[1].list
	n := 8 * in.wordBytes() / len(list)
	var from []func(w *warp, l int) uint64
	for _, o := range list {
		from = append(from, in.useAny(o))
	}
	d := in.defAny(in.args[0])
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			v := uint64(0)
			for i, x := range from {
				v |= x(w, l) & (math.MaxUint64 >> (64 - n)) << (n * i)
			}
			d(w, l, v)
		}
	}
}

func (in *inst) wordBytes() int {
	n := width(in.op[1])
	if n == 0 {
		in.unknown("its type is not")
	}
	return n
}

// cvta turns addresses of a space into generic ones and back.
func (in *inst) cvta() {
	to, sp := in.op[1] == "to", in.op[1]
	if to {
		sp = in.op[2]
	}
	base, ok := map[string]uint64{"global": 0, "const": 0, "shared": sharedWindow, "shared::cta": sharedWindow, "local": localWindow}[sp]
	if !ok {
		in.unknown("its space is not")
	}
	if to {
		in.unary(func(x uint64) uint64 { return x - base })
	} else {
		in.unary(func(x uint64) uint64 { return x + base })
	}
}

// selp picks one of two values.
func (in *inst) selp() {
	a := in.args
	p := in.usePred(a[3])
	cond := slices.Clone(in.uses)
	if a[0].is(c32) && a[1].is(c32) && a[2].is(c32) {
		d, x, y := in.def32(a[0]), in.use32(a[1]), in.use32(a[2])
		in.run = func(w *warp, mask uint32) {
			d, x, y, p := &w.r32[d], x.of(w), y.of(w), p(w)
			for l := range lanesOf(mask) {
				if p>>l&1 != 0 {
					d[l] = x[l]
				} else {
					d[l] = y[l]
				}
			}
		}
	} else {
		d, x, y := in.defAny(a[0]), in.useAny(a[1]), in.useAny(a[2])
		in.run = func(w *warp, mask uint32) {
			p := p(w)
			for l := range lanesOf(mask) {
				if p>>l&1 != 0 {
					d(w, l, x(w, l))
				} else {
					d(w, l, y(w, l))
				}
			}
		}
	}
	in.choose(a, cond)
}

// choose makes a result as set as what was chosen.
func (in *inst) choose(a []operand, cond []int32) {
	run, p := in.run, in.usePred(a[3])
	in.uses = cond
	id := func(o operand) int32 {
		if o.kind == kReg {
			return o.reg.id
		}
		return -1
	}
	x, y, d := id(a[1]), id(a[2]), a[0].reg.id
	in.defs = nil
	in.run = func(w *warp, mask uint32) {
		known := full
		if x >= 0 {
			known &= w.set[x] | ^p(w)
		}
		if y >= 0 {
			known &= w.set[y] | p(w)
		}
		run(w, mask)
		w.set[d] = w.set[d]&^mask | known&mask
		w.stamp[d] = w.tick
	}
}

// cvt decodes conversions: from is read by its type, to is rounded to its own.
func (in *inst) cvt() {
	to, from := in.op[len(in.op)-2], in.op[len(in.op)-1]
	has := func(s string) bool { return slices.Contains(in.op[1:len(in.op)-2], s) }
	if has("sat") {
		in.unknown("saturation is not")
	}
	relu := has("relu")
	if to == "e4m3x2" {
		if from != "f32" || relu || !has("rn") || !has("satfinite") {
			in.unknown("this conversion is not")
		}
		in.binary(func(hi, lo uint64) uint64 { return uint64(toE4M3(f32(hi)))<<8 | uint64(toE4M3(f32(lo))) })
		return
	}
	if strings.HasSuffix(to, "x2") {
		pack := map[string]func(float32) uint64{"bf16x2": toBfloat, "f16x2": toHalf}[to]
		if pack == nil || from != "f32" || relu {
			in.unknown("this conversion is not")
		}
		in.binary(func(hi, lo uint64) uint64 { return pack(f32(hi))<<16 | pack(f32(lo)) })
		return
	}
	isFloat := func(t string) bool { return t[0] == 'f' || t == "bf16" }
	read := map[string]func(uint64) float64{
		"f32":  func(x uint64) float64 { return float64(f32(x)) },
		"f64":  f64,
		"f16":  func(x uint64) float64 { return float64(half(uint16(x))) },
		"bf16": func(x uint64) float64 { return float64(bfloat(uint16(x))) },
	}[from]
	write := map[string]func(float64) uint64{
		"f32":  func(f float64) uint64 { return bits32(float32(f)) },
		"f64":  bits64,
		"f16":  func(f float64) uint64 { return toHalf(float32(f)) },
		"bf16": func(f float64) uint64 { return toBfloat(float32(f)) },
	}[to]
	nf, nt := uint(8*width(from)), uint(8*width(to))
	if nf == 0 || nt == 0 || relu {
		in.unknown("this conversion is not")
	}
	whole := func(f float64) float64 { return f }
	for m, r := range map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil} {
		if has(m) {
			whole = r
		}
	}
	switch {
	case isFloat(to) && isFloat(from):
		in.unary(func(x uint64) uint64 { return write(whole(read(x))) })
	case isFloat(from):
		in.unary(func(x uint64) uint64 { return clampTo(whole(read(x)), to[0] == 's', nt) })
	case isFloat(to):
		if from[0] == 's' {
			in.unary(func(x uint64) uint64 { return write(float64(int64(x<<(64-nf)) >> (64 - nf))) })
		} else {
			in.unary(func(x uint64) uint64 { return write(float64(x << (64 - nf) >> (64 - nf))) })
		}
	case from[0] == 's':
		in.unary(func(x uint64) uint64 { return uint64(int64(x<<(64-nf))>>(64-nf)) << (64 - nt) >> (64 - nt) })
	default:
		in.unary(func(x uint64) uint64 { return x << (64 - nf) >> (64 - nf) << (64 - nt) >> (64 - nt) })
	}
}

// clampTo makes an integer of n bits of a float, the nearest there is.
func clampTo(f float64, signed bool, n uint) uint64 {
	lo, hi := 0.0, math.Ldexp(1, int(n))
	if signed {
		lo, hi = -math.Ldexp(1, int(n)-1), math.Ldexp(1, int(n)-1)
	}
	switch {
	case f != f:
		return 0
	case f < lo:
		f = lo
	case f >= hi:
		if signed {
			return 1<<(n-1) - 1
		}
		return math.MaxUint64 >> (64 - n)
	}
	if f < 0 {
		return uint64(int64(f)) << (64 - n) >> (64 - n)
	}
	return uint64(f)
}
