package ptx

import (
	"slices"
	"strings"
)

// asyncState is what a warp has under way. Groups of cp.async belong to threads,
// those of wgmma to warps; here all are a warp's, whose lanes commit together.
type asyncState struct {
	open      []func() // products not yet in a group
	products  [][]func()
	copying   []func()
	copyGroup [][]func()
	bulk      []int  // stores under way in each group, the last one open
	stores    int    // issued and not waited for
	storeTime uint32 // of the agent that reads for stores
}

// finishCopies carries out all groups of cp.async but the last n.
func (a *asyncState) finishCopies(n int) {
	for len(a.copyGroup) > n {
		for _, f := range a.copyGroup[0] {
			f()
		}
		a.copyGroup = a.copyGroup[1:]
	}
}

func (in *inst) copies() {
	a := in.args
	switch {
	case strings.HasPrefix(in.full, "cp.async.bulk.tensor.2d.shared"):
		in.tensorLoad()
	case strings.HasPrefix(in.full, "cp.async.bulk.tensor.2d.global"):
		in.tensorStore()
	case in.full == "cp.async.bulk.commit_group":
		in.run = func(w *warp, mask uint32) { w.async.bulk = append(w.async.bulk, 0) }
	case strings.HasPrefix(in.full, "cp.async.bulk.wait_group"):
		n := in.use32(a[0])
		in.control = func(w *warp, g *group, mask uint32) status { return w.waitStores(g, int(n.of(w)[0])) }
	case strings.HasPrefix(in.full, "cp.async.ca.shared") || strings.HasPrefix(in.full, "cp.async.cg.shared"):
		in.copyAsync()
	case in.full == "cp.async.commit_group":
		in.control = collective(func(w *warp) {
			w.async.copyGroup = append(w.async.copyGroup, w.async.copying)
			w.async.copying = nil
		})
	case in.full == "cp.async.wait_group":
		n := in.use32(a[0])
		in.control = collective(func(w *warp) { w.async.finishCopies(int(n.of(w)[0])) })
	case in.full == "cp.async.wait_all":
		in.control = collective(func(w *warp) {
			w.async.copyGroup = append(w.async.copyGroup, w.async.copying)
			w.async.copying = nil
			w.async.finishCopies(0)
		})
	default:
		in.unknown("this copy is not")
	}
}

// copyAsync decodes cp.async, which happens as late as the wait for it allows.
func (in *inst) copyAsync() {
	a := in.args
	dst, dd := in.address(a[0])
	src, sd := in.address(a[1])
	bytes := int(a[2].val)
	n := src32{row: constant32(a[2].val)}
	if len(a) > 3 {
		n = in.use32(a[3])
	}
	in.run = func(w *warp, mask uint32) {
		type part struct {
			to   uint64
			from []byte
		}
		var parts []part
		for l := range lanesOf(mask) {
			to, from, n := dst(w, l)+dd, src(w, l)+sd, int(n.of(w)[l])
			if n > bytes || to%uint64(bytes) != 0 || n > 0 && from%uint64(bytes) != 0 {
				w.fault("lane %d: copies %d of %d bytes from %#x to %#x: misaligned or too many", l, n, bytes, from, to)
			}
			if to < guard || to+uint64(bytes) > uint64(len(w.block.smem)) {
				w.fault("lane %d: address %#x is outside of shared memory", l, to)
			}
			p := part{to: to}
			if n > 0 {
				p.from = w.global(from, n, -1, false)[:n]
			}
			parts = append(parts, p)
		}
		by := w.actor()
		by.clock, by.what = slices.Clone(by.clock), "cp.async "
		w.async.copying = append(w.async.copying, func() {
			at, lanes := w.at, w.mask
			w.begin(in, mask)
			by.epoch = w.epoch()
			by.clock[w.agent] = w.clock[w.agent]
			b := w.block
			for _, p := range parts {
				b.cells.writeBy(&by, int(p.to), bytes)
				to := b.smem[p.to : p.to+uint64(bytes)]
				clear(to[copy(to, p.from):])
			}
			w.begin(at, lanes)
		})
	}
}

// box is an access of the copy engine: a tensor map, where its box lies in the
// matrix, and where in shared memory.
type box struct {
	in   *inst
	w    *warp
	m    tensorMap
	x, y int
	at   uint64
}

// boxAt reads the operands of a copy of a box in a lane.
func (w *warp) boxAt(in *inst, mp uint64, x, y uint32, at uint64) box {
	m, err := w.block.cluster.m.tensorMapAt(mp)
	if err != nil {
		w.fault("%v", err)
	}
	at &= 1<<rankShift - 1
	if at%128 != 0 {
		w.fault("a box at %#x of shared memory, which is not a multiple of 128", at)
	}
	if at < guard || at+uint64(m.box*128) > uint64(len(w.block.smem)) {
		w.fault("a box of %d bytes at %#x is outside of shared memory", m.box*128, at)
	}
	return box{in, w, m, int(int32(x)), int(int32(y)), at}
}

// load fills a block's shared memory; what is outside of the matrix is zero.
func (b *box) load(to *block, by *actor) {
	w := b.w
	w.begin(b.in, w.mask)
	to.cells.writeBy(by, int(b.at), b.m.box*128)
	for r := range b.m.box {
		row := to.smem[b.at+uint64(r*128):][:128]
		clear(row)
		if n := b.inside(r); n > 0 {
			src := w.global(b.m.address(b.y+r, b.x), 2*n, -1, false)
			b.chunks(r, n, func(in, out int, bytes int) { copy(row[in:in+bytes], src[out:]) })
		}
	}
}

// store empties a block's shared memory into the matrix.
func (b *box) store(by *actor) {
	w := b.w
	w.begin(b.in, w.mask)
	from := w.block
	from.cells.readBy(by, int(b.at), b.m.box*128)
	for r := range b.m.box {
		row := from.smem[b.at+uint64(r*128):][:128]
		if n := b.inside(r); n > 0 {
			dst := w.global(b.m.address(b.y+r, b.x), 2*n, -1, true)
			b.chunks(r, n, func(in, out int, bytes int) { copy(dst[out:out+bytes], row[in:]) })
		}
	}
}

// inside is how many columns of a row of the box lie in the matrix; boxes start
// at columns that do.
func (b *box) inside(r int) int {
	if y := b.y + r; y < 0 || y >= b.m.rows || b.x >= b.m.cols {
		return 0
	}
	if b.x < 0 {
		b.w.fault("a box at column %d", b.x)
	}
	return min(64, b.m.cols-b.x)
}

// chunks calls f for the 16 bytes at a time that lie together: their place in
// the row of the box as swizzled, in the row of the matrix, and their number.
func (b *box) chunks(r, n int, f func(in, out, bytes int)) {
	flip := int(b.at>>7+uint64(r)) & 7
	for c := 0; 8*c < n; c++ {
		f((c^flip)*16, c*16, min(16, 2*n-16*c))
	}
}

// tensorLoad decodes the copy engine's loads. They arrive at any time later.
func (in *inst) tensorLoad() {
	a := in.args
	if len(a) < 3 || len(a[1].list) != 2 || len(a[1].list[1].list) != 2 ||
		!strings.Contains(in.full, "mbarrier::complete_tx::bytes") {
		in.unknown("its operands are not")
	}
	dst, dd := in.address(a[0])
	mp, md := in.address(a[1])
	x, y := in.use32(a[1].list[1].list[0]), in.use32(a[1].list[1].list[1])
	bar, bd := in.address(a[2])
	var ranks func(*warp, int) uint64
	if slices.Contains(in.op, "multicast::cluster") {
		ranks = in.useAny(a[3])
	}
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			b := w.boxAt(in, mp(w, l)+md, x.of(w)[l], y.of(w)[l], dst(w, l)+dd)
			at := bar(w, l) + bd
			to := []*block{w.block}
			if d := dst(w, l) + dd; d>>rankShift != 0 {
				to[0] = w.peer(d)
			}
			if ranks != nil {
				to = nil
				for i, p := range w.block.cluster.blocks {
					if ranks(w, l)>>i&1 == 1 {
						to = append(to, p)
					}
				}
			}
			for _, p := range to {
				w.loadLater(b, p, at&(1<<rankShift-1))
			}
		}
	}
}

func (w *warp) loadLater(b box, to *block, bar uint64) {
	w.remote(to, bar)
	by := actor{warp: w, clock: slices.Clone(w.clock), what: "the copy engine "}
	m := w.block.cluster.m
	m.later = append(m.later, func() {
		w.begin(b.in, w.mask)
		e := to.barriers[bar]
		e.time++
		by.epoch = uint32(e.agent)<<agentShift | e.time
		to.visit(w, by.epoch)
		for len(by.clock) <= e.agent {
			by.clock = append(by.clock, 0)
		}
		by.clock[e.agent] = max(by.clock[e.agent], e.time)
		b.load(to, &by)
		for len(e.clock) <= e.agent {
			e.clock = append(e.clock, 0)
		}
		e.clock[e.agent] = e.time
		e.tx -= b.m.box * 128
		e.check()
	})
}

// tensorStore decodes the copy engine's stores, which read shared memory late.
func (in *inst) tensorStore() {
	a := in.args
	if len(a) != 2 || len(a[0].list) != 2 || len(a[0].list[1].list) != 2 {
		in.unknown("its operands are not")
	}
	mp, md := in.address(a[0])
	x, y := in.use32(a[0].list[1].list[0]), in.use32(a[0].list[1].list[1])
	src, sd := in.address(a[1])
	in.run = func(w *warp, mask uint32) {
		s := &w.async
		if len(s.bulk) == 0 {
			s.bulk = append(s.bulk, 0)
		}
		for l := range lanesOf(mask) {
			b := w.boxAt(in, mp(w, l)+md, x.of(w)[l], y.of(w)[l], src(w, l)+sd)
			agent := len(w.block.cluster.warps) + w.agent
			s.storeTime++
			by := actor{warp: w, clock: slices.Clone(w.clock), what: "a store of the copy engine ", async: true,
				epoch: uint32(agent)<<agentShift | s.storeTime}
			w.block.cells.readBy(&by, int(b.at), b.m.box*128)
			group := len(s.bulk) - 1
			s.bulk[group]++
			s.stores++
			mc := w.block.cluster.m
			mc.later = append(mc.later, func() {
				b.store(&by)
				s.bulk[group]--
			})
		}
	}
}

// waitStores waits for all groups of stores but the last n.
func (w *warp) waitStores(g *group, n int) status {
	s := &w.async
	open, left := 0, 0
	for i, c := range s.bulk {
		switch {
		case i == len(s.bulk)-1: // not committed
			left += c
		case i < len(s.bulk)-1-n:
			open += c
		default:
			left += c
		}
	}
	if open > 0 {
		g.state = polling
		return blocked
	}
	if n == 0 && left == 0 {
		s.bulk = s.bulk[:0]
		agent := len(w.block.cluster.warps) + w.agent
		w.clock[agent] = s.storeTime
	}
	s.stores = left
	return next
}
