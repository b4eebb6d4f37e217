package ptx

import (
	"math"
	"math/bits"
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
			for mask != 0 {
				l := lane(&mask)
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
			for mask != 0 {
				l := lane(&mask)
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
		for mask != 0 {
			l := lane(&mask)
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
		for mask != 0 {
			l := lane(&mask)
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
			for mask != 0 {
				l := lane(&mask)
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
			for mask != 0 {
				l := lane(&mask)
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

// setp compares.
func (in *inst) setp() {
	a, typ := in.args, in.op[len(in.op)-1]
	cmp := in.op[1]
	test := in.comparison(cmp, typ)
	var combine func(w *warp) uint32
	d := in.defPred(a[0])
	second := int32(-1)
	if len(a[0].list) > 0 && a[0].list[0].kind == kReg {
		second = in.defPred(a[0].list[0])
	}
	logic := ""
	if len(a) > 3 {
		logic = in.op[2]
		combine = in.usePred(a[3])
	}
	var result func(w *warp, mask uint32) uint32
	if a[1].is(c32) && a[2].is(c32) {
		x, y := in.use32(a[1]), in.use32(a[2])
		result = func(w *warp, mask uint32) uint32 {
			x, y, r := x.of(w), y.of(w), uint32(0)
			for mask != 0 {
				l := lane(&mask)
				if test(uint64(x[l]), uint64(y[l])) {
					r |= 1 << l
				}
			}
			return r
		}
	} else {
		x, y := in.useAny(a[1]), in.useAny(a[2])
		result = func(w *warp, mask uint32) uint32 {
			r := uint32(0)
			for mask != 0 {
				l := lane(&mask)
				if test(x(w, l), y(w, l)) {
					r |= 1 << l
				}
			}
			return r
		}
	}
	in.run = func(w *warp, mask uint32) {
		r := result(w, mask)
		n := ^r
		if combine != nil {
			c := combine(w)
			switch logic {
			case "and":
				r, n = r&c, n&c
			case "or":
				r, n = r|c, n|c
			case "xor":
				r, n = r^c, n^c
			}
		}
		w.pred[d] = w.pred[d]&^mask | r&mask
		if second >= 0 {
			w.pred[second] = w.pred[second]&^mask | n&mask
		}
	}
}

// comparison is the test of setp.
func (in *inst) comparison(cmp, typ string) func(x, y uint64) bool {
	n := uint(8 * width(typ))
	if n == 0 {
		in.unknown("its type is not")
	}
	order := func(x, y uint64) (lt, eq, nan bool) {
		x, y = x<<(64-n), y<<(64-n)
		return x < y, x == y, false
	}
	switch typ[0] {
	case 's':
		order = func(x, y uint64) (lt, eq, nan bool) {
			p, q := int64(x<<(64-n)), int64(y<<(64-n))
			return p < q, p == q, false
		}
	case 'f':
		order = func(x, y uint64) (lt, eq, nan bool) {
			p, q := float64(f32(x)), float64(f32(y))
			if n == 64 {
				p, q = f64(x), f64(y)
			}
			return p < q, p == q, p != p || q != q
		}
	}
	isFloat := typ[0] == 'f'
	if isFloat && len(cmp) == 3 && cmp[2] == 'u' { // true when unordered
		f := in.comparison(cmp[:2], typ)
		return func(x, y uint64) bool {
			_, _, nan := order(x, y)
			return nan || f(x, y)
		}
	}
	switch cmp {
	case "lt", "lo":
		return func(x, y uint64) bool { lt, _, _ := order(x, y); return lt }
	case "le", "ls":
		return func(x, y uint64) bool { lt, eq, _ := order(x, y); return lt || eq }
	case "gt", "hi":
		return func(x, y uint64) bool { lt, eq, nan := order(x, y); return !lt && !eq && !nan }
	case "ge", "hs":
		return func(x, y uint64) bool { lt, _, nan := order(x, y); return !lt && !nan }
	case "eq":
		return func(x, y uint64) bool { _, eq, _ := order(x, y); return eq }
	case "ne":
		return func(x, y uint64) bool { _, eq, nan := order(x, y); return !eq && !nan }
	case "nan":
		return func(x, y uint64) bool { _, _, nan := order(x, y); return nan }
	case "num":
		return func(x, y uint64) bool { _, _, nan := order(x, y); return !nan }
	}
	in.unknown("this comparison is not")
	return nil
}

// cvt decodes conversions: from is read by its type, to is rounded to its own.
func (in *inst) cvt() {
	to, from := in.op[len(in.op)-2], in.op[len(in.op)-1]
	has := func(s string) bool { return slices.Contains(in.op[1:len(in.op)-2], s) }
	if has("sat") {
		in.unknown("saturation is not")
	}
	relu := has("relu")
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

// predicates decodes logic on predicates.
func (in *inst) predicates() bool {
	a := in.args
	if in.op[0] == "not" {
		d, x := in.defPred(a[0]), in.usePred(a[1])
		in.run = func(w *warp, mask uint32) { w.pred[d] = w.pred[d]&^mask | ^x(w)&mask }
		return true
	}
	f := map[string]func(x, y uint32) uint32{
		"and": func(x, y uint32) uint32 { return x & y },
		"or":  func(x, y uint32) uint32 { return x | y },
		"xor": func(x, y uint32) uint32 { return x ^ y },
	}[in.op[0]]
	if f == nil {
		return false
	}
	d, x, y := in.defPred(a[0]), in.usePred(a[1]), in.usePred(a[2])
	in.run = func(w *warp, mask uint32) { w.pred[d] = w.pred[d]&^mask | f(x(w), y(w))&mask }
	return true
}

// shuffle decodes shfl.sync.
func (in *inst) shuffle() {
	a, mode := in.args, in.op[2]
	d := in.def32(a[0])
	ok := int32(-1)
	if len(a[0].list) > 0 && a[0].list[0].kind == kReg {
		ok = in.defPred(a[0].list[0])
	}
	x := in.use32(a[1])
	from := in.uses[len(in.uses)-min(1, len(in.uses)):]
	from = slices.Clone(from)
	in.uses = nil
	b, c, members := in.use32(a[2]), in.use32(a[3]), in.use32(a[4])
	in.control = func(w *warp, g *group, mask uint32) status {
		if mask == 0 {
			return next
		}
		need := members.of(w)[bits.TrailingZeros32(mask)]
		if need&^w.live != 0 {
			w.fault("shuffles with lanes %s, which have ended", laneList(need&^w.live))
		}
		if in.pred < 0 {
			if !w.together(g, need) {
				return blocked
			}
			mask = g.mask
		}
		if mask&need != need {
			w.fault("shuffles without lanes %s of its members", laneList(need&^mask))
		}
		x, b, c := *x.of(w), b.of(w), c.of(w)
		for m := mask; m != 0; {
			l := lane(&m)
			s, in := shuffleSource(mode, l, int(b[l]&31), int(c[l]))
			if in {
				if mask>>s&1 == 0 || need>>s&1 == 0 {
					w.fault("lane %d takes a value of lane %d, which does not take part", l, s)
				}
				for _, r := range from {
					if w.set[r]>>s&1 == 0 {
						w.fault("lane %d takes a register of lane %d that was never set", l, s)
					}
				}
				w.r32[d][l] = x[s]
			} else {
				w.r32[d][l] = x[l]
			}
			if ok >= 0 {
				w.pred[ok] &^= 1 << l
				if in {
					w.pred[ok] |= 1 << l
				}
			}
		}
		return next
	}
}

// shuffleSource is the lane that a lane takes from, and whether it lies in reach.
func shuffleSource(mode string, l, b, c int) (int, bool) {
	clamp, seg := c&31, c>>8&31
	hi, lo := l&seg|clamp&^seg, l&seg
	switch mode {
	case "up":
		return l - b, l-b >= hi // the clamp is the segment's first lane
	case "down":
		return l + b, l+b <= hi
	case "bfly":
		return l ^ b, l^b <= hi
	}
	s := lo | b&^seg
	return s, s <= hi
}
