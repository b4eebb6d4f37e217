package ptx

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
			for l := range lanesOf(mask) {
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
			for l := range lanesOf(mask) {
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
