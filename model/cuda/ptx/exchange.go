package ptx

import (
	"math/bits"
	"slices"
)

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
		for l := range lanesOf(mask) {
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

// vote decodes vote.sync.
func (in *inst) vote() {
	a, mode := in.args, in.op[2]
	if mode == "ballot" {
		d := in.def32(a[0])
		p, members := in.usePred(a[1]), in.use32(a[2])
		in.control = func(w *warp, g *group, mask uint32) status {
			if !w.together(g, members.of(w)[bits.TrailingZeros32(mask)]) {
				return blocked
			}
			for l := range lanesOf(g.mask) {
				w.r32[d][l] = p(w) & g.mask
			}
			return next
		}
		return
	}
	d, p, members := in.defPred(a[0]), in.usePred(a[1]), in.use32(a[2])
	in.control = func(w *warp, g *group, mask uint32) status {
		if !w.together(g, members.of(w)[bits.TrailingZeros32(mask)]) {
			return blocked
		}
		yes := p(w) & g.mask
		r := uint32(0)
		if mode == "any" && yes != 0 || mode == "all" && yes == g.mask ||
			mode == "uni" && (yes == 0 || yes == g.mask) {
			r = full
		}
		w.pred[d] = w.pred[d]&^g.mask | r&g.mask
		return next
	}
}
