package ptx

import "slices"

// mbarrier is an object in shared memory that counts arrivals and bytes.
type mbarrier struct {
	block          *block
	at             uint64
	agent          int // of the copies that it counts
	time           uint32
	count, pending int
	tx, phase      int
	born           epoch // of its initialisation
	fenced         bool  // the copy engine and other blocks may see it
	clock          clock // of those who have arrived in this phase
	done           clock // of the phases that are over
}

func (b *mbarrier) check() {
	if b.pending == 0 && b.tx == 0 {
		b.phase++
		b.pending = b.count
		b.done.join(b.clock)
	}
}

// mbarrierAt finds a barrier, in this block or another of the cluster.
func (w *warp) mbarrierAt(addr uint64) *mbarrier {
	b := w.block
	if addr>>rankShift != 0 {
		if b = w.peer(addr); b != w.block {
			b.visit(w, w.epoch())
		}
		addr &= 1<<rankShift - 1
	}
	e := b.barriers[addr]
	if b != w.block {
		e = w.remote(b, addr)
	} else if e == nil {
		w.fault("there is no mbarrier at %#x of block %d", addr, b.id)
	}
	if !w.clock.knows(e.born) {
		w.fault("race: the mbarrier at %#x of block %d may not be initialised yet", addr, b.id)
	}
	return e
}

// arriveAt counts an arrival and bytes to come.
func (w *warp) arriveAt(e *mbarrier, n, bytes int) {
	if e.pending < n {
		w.fault("more arrivals at the mbarrier at %#x of block %d than the %d that it expects",
			e.at, e.block.id, e.count)
	}
	e.tx += bytes
	e.pending -= n
	e.clock.join(w.clock)
	w.release()
	e.check()
}

func (in *inst) mbarrier() {
	a := in.args
	switch in.op[1] {
	case "init":
		addr, disp := in.address(a[0])
		n := in.use32(a[1])
		in.run = func(w *warp, mask uint32) {
			for l := range lanesOf(mask) {
				w.initBarrier(addr(w, l)+disp, int(n.of(w)[l]))
			}
		}
	case "inval":
		addr, disp := in.address(a[0])
		in.run = func(w *warp, mask uint32) {
			for l := range lanesOf(mask) {
				at := addr(w, l) + disp
				w.mbarrierAt(at)
				delete(w.block.barriers, at)
			}
		}
	case "arrive":
		in.arrive()
	case "expect_tx":
		addr, disp := in.address(a[0])
		n := in.use32(a[1])
		in.run = func(w *warp, mask uint32) {
			for l := range lanesOf(mask) {
				w.mbarrierAt(addr(w, l) + disp).tx += int(n.of(w)[l])
			}
		}
	case "try_wait", "test_wait":
		in.tryWait()
	default:
		in.unknown("this use of mbarriers is not")
	}
}

// remote is a barrier as the copy engine and other blocks of the cluster see it.
func (w *warp) remote(b *block, at uint64) *mbarrier {
	e := b.barriers[at]
	switch {
	case e == nil:
		w.fault("there is no mbarrier at %#x of block %d", at, b.id)
	case !e.fenced:
		w.fault("the mbarrier at %#x of block %d was initialised without a fence.mbarrier_init", at, b.id)
	}
	return e
}

func (w *warp) initBarrier(at uint64, n int) {
	b := w.block
	if at%8 != 0 || at+8 > uint64(len(b.smem)) || at < guard || n < 1 {
		w.fault("an mbarrier of %d arrivals at %#x", n, at)
	}
	if b.barriers[at] != nil {
		w.fault("the mbarrier at %#x is initialised twice", at)
	}
	b.cells.write(w, int(at), 8)
	c := b.cluster
	b.barriers[at] = &mbarrier{block: b, at: at, agent: c.agents, count: n, pending: n, born: w.epoch()}
	c.agents++
}

func (in *inst) arrive() {
	a := in.args
	if len(a) < 2 || a[0].kind != kName && a[0].kind != kReg {
		in.unknown("its operands are not")
	}
	if a[0].kind == kReg {
		in.unknown("the state that it returns is not")
	}
	addr, disp := in.address(a[1])
	expect := slices.Contains(in.op, "expect_tx")
	n := src32{row: constant32(1)}
	if len(a) > 2 {
		n = in.use32(a[2])
	}
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			e := w.mbarrierAt(addr(w, l) + disp)
			if v := int(n.of(w)[l]); expect {
				w.arriveAt(e, 1, v)
			} else {
				w.arriveAt(e, v, 0)
			}
		}
	}
}

// tryWait puts a group to sleep until its barrier's phase is over; test_wait and
// lanes that ask different things get an answer at once.
func (in *inst) tryWait() {
	a := in.args
	if !slices.Contains(in.op, "parity") {
		in.unknown("waiting for a state is not")
	}
	d := in.defPred(a[0])
	addr, disp := in.address(a[1])
	parity := in.use32(a[2])
	sleep := in.op[1] == "try_wait"
	in.control = func(w *warp, g *group, mask uint32) status {
		over := uint32(0)
		for l := range lanesOf(mask) {
			e := w.mbarrierAt(addr(w, l) + disp)
			if e.phase&1 != int(parity.of(w)[l]&1) {
				over |= 1 << l
				w.clock.join(e.done)
			}
		}
		if over == 0 && mask != 0 && sleep {
			g.state = polling
			return blocked
		}
		w.pred[d] = w.pred[d]&^mask | over
		return next
	}
}
