package ptx

import (
	"math/bits"
	"slices"
)

// syncBarrier is a barrier of a block (bar.sync).
type syncBarrier struct {
	arrived int // threads
	want    int // 0: all that have not ended
	clock   clock
	asleep  []*warp
	groups  []*group
}

// barrier decodes barriers of blocks, warps and clusters.
func (in *inst) barrier() {
	switch {
	case in.op[1] == "cluster":
		in.clusterBarrier()
	case in.op[1] == "warp":
		members := in.use32(in.args[0])
		in.control = func(w *warp, g *group, mask uint32) status {
			if !w.together(g, members.of(w)[bits.TrailingZeros32(mask)&31]&w.live) {
				return blocked
			}
			return next
		}
	case slices.Contains(in.op, "sync") || slices.Contains(in.op, "arrive"):
		in.blockBarrier(slices.Contains(in.op, "arrive"))
	default:
		in.unknown("this barrier is not")
	}
}

func (in *inst) blockBarrier(arrive bool) {
	id := in.use32(in.args[0])
	n := src32{row: &row32{}}
	if len(in.args) > 1 {
		n = in.use32(in.args[1])
	}
	in.control = func(w *warp, g *group, mask uint32) status {
		if mask == 0 && in.pred >= 0 {
			return next
		}
		if !w.together(g, w.live) {
			return blocked
		}
		l := bits.TrailingZeros32(w.live) & 31
		at := int(id.of(w)[l])
		b := w.block
		s := b.syncs[at]
		if s == nil {
			s = &syncBarrier{}
			b.syncs[at] = s
		}
		want := int(n.of(w)[l])
		if s.arrived > 0 && want != s.want {
			w.fault("barrier %d is waited for with %d and with %d threads", at, s.want, want)
		}
		s.want = want
		s.arrived += lanes
		s.clock.join(w.clock)
		w.release()
		if arrive {
			s.check(b, at)
			return next
		}
		g.state = sleeping
		s.asleep, s.groups = append(s.asleep, w), append(s.groups, g)
		s.check(b, at)
		return moved
	}
}

// check wakes those who wait once all have come.
func (s *syncBarrier) check(b *block, id int) {
	want := s.want
	if want == 0 {
		want = b.live * lanes
	}
	if s.arrived == 0 || s.arrived < want {
		return
	}
	for i, w := range s.asleep {
		w.clock.join(s.clock)
		s.groups[i].state = ready
		s.groups[i].pc++
	}
	if s.arrived > want {
		w := s.asleep[0]
		w.fault("%d threads came to barrier %d, which waits for %d", s.arrived, id, want)
	}
	*s = syncBarrier{}
}

// release starts a new time of a warp, after others have been told of the old one.
func (w *warp) release() { w.clock[w.agent]++ }

// clusterBarrier is barrier.cluster, which has one phase after another.
type clusterBarrier struct {
	arrived int // warps
	phase   int
	clock   clock // of those who have arrived in this phase
	done    clock // of the phases that are over
}

func (in *inst) clusterBarrier() {
	arrive := in.op[2] == "arrive"
	in.control = func(w *warp, g *group, mask uint32) status {
		if !w.together(g, w.live) {
			return blocked
		}
		b := &w.block.cluster.bar
		if arrive {
			if w.hasCB {
				w.fault("arrives twice at the cluster's barrier")
			}
			w.hasCB, w.phase = true, b.phase
			b.arrived++
			b.clock.join(w.clock)
			w.release()
			b.check(w.block.cluster)
			return next
		}
		if !w.hasCB {
			w.fault("waits at the cluster's barrier without having arrived")
		}
		if b.phase == w.phase {
			g.state = polling
			return blocked
		}
		w.hasCB = false
		w.clock.join(b.done)
		return next
	}
}

func (b *clusterBarrier) check(c *cluster) {
	want := 0
	for _, o := range c.blocks {
		want += o.live
	}
	if b.arrived == 0 || b.arrived < want {
		return
	}
	b.arrived = 0
	b.phase++
	b.done.join(b.clock)
}

// fence decodes fences. Memory is sequential here, so only fences between proxies
// matter, and those of new mbarriers.
func (in *inst) fence() {
	async := len(in.op) > 2 && in.op[1] == "proxy" && (in.op[2] == "async" || in.op[2] == "async::generic")
	if !async && in.op[1] != "mbarrier_init" {
		in.run = func(*warp, uint32) {}
		return
	}
	in.run = func(w *warp, mask uint32) {
		for _, e := range w.block.barriers {
			e.fenced = e.fenced || int(e.born>>agentShift) == w.agent
		}
		if async {
			w.fenced = w.clock[w.agent]
			w.release()
		}
	}
}
