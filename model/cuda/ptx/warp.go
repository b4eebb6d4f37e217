package ptx

import "math/bits"

// lanes is the threads of a warp.
const lanes = 32

// full is the mask of a whole warp.
const full = uint32(0xffffffff)

type (
	row32 = [lanes]uint32
	row64 = [lanes]uint64
)

// inst is a decoded instruction. Exactly one of run and control is set.
type inst struct {
	op     []string // the opcode at its dots
	full   string
	args   []operand
	line   int
	pred   int32 // the guarding predicate, -1 for none
	predID int32
	not    bool
	uses   []int32 // registers that must be set
	copy   bool    // a mov: ptxas makes one register of two, so nothing counts as written
	handed []int32 // registers whose being set is handed on to defs, as mov and selp do
	defs   []int32
	run    func(w *warp, mask uint32)
	// control may block a group or send it elsewhere. It sees to pc itself.
	control func(w *warp, g *group, mask uint32) status
}

// status is how an instruction that controls left its group.
type status uint8

const (
	next    status = iota // go on behind it
	moved                 // go on where pc says, or with other groups
	blocked               // wait; nothing was done
)

// state is what a group waits for.
type state uint8

const (
	ready    state = iota
	polling        // asked a barrier in vain, asks again when the warp runs next
	meeting        // waits for the warp's other lanes
	sleeping       // others wake it
)

// group is the lanes of a warp that are at one instruction.
type group struct {
	pc    int
	mask  uint32
	state state
}

// warp is 32 threads and what they hold.
type warp struct {
	block     *block
	id        int // in its block
	agent     int // in its cluster
	live      uint32
	groups    []*group
	apart     bool // groups are cut and run at random
	r32       []row32
	r64       []row64
	pred      []uint32
	set       []uint32 // of each register, the lanes in which it was written
	stamp     []uint32 // of each register, the tick of its last write
	flight    []int32  // of each register, how many products of wgmma under way will write it
	tick      uint32   // instructions run
	local     []byte
	clock     clock  // what this warp knows of the others
	fenced    uint32 // its own time at its last fence.proxy.async
	joined    uint32 // tick of the wgmma.fence before the products to come, 0 for none
	waited    bool   // griddepcontrol.wait was run
	phase     int    // of the cluster's barrier
	hasCB     bool   // arrived at the cluster's barrier, not yet waited
	registers int    // of a thread, since setmaxnreg; 0 before
	async     asyncState
	at        *inst // under way, for reports
	mask      uint32
}

func (w *warp) code() []inst { return w.block.kernel.code }

// progress runs some of a warp's groups for at most so many instructions and
// tells whether any was run.
func (w *warp) progress(budget int) bool {
	ran := 0
	for _, g := range w.groups {
		if g.state == polling {
			g.state = ready
		}
	}
	for ran < budget {
		g := w.pick()
		if g == nil {
			break
		}
		n := budget - ran
		if w.apart {
			n = min(n, 1+w.rand(24))
		}
		ran += w.burst(g, n)
	}
	w.block.cluster.m.steps += uint64(ran)
	return ran > 0
}

func (w *warp) rand(n int) int { return w.block.cluster.m.rand.IntN(n) }

// pick chooses the group to run next: the one furthest behind, so that lanes
// meet again, or any in a warp whose lanes run apart.
func (w *warp) pick() *group {
	if w.apart {
		return w.pickApart()
	}
	var best *group
	for _, g := range w.groups {
		if g.state == ready && (best == nil || g.pc < best.pc) {
			best = g
		}
	}
	return best
}

func (w *warp) pickApart() *group {
	n := 0
	var pick *group
	for _, g := range w.groups {
		if g.state == ready {
			if n++; w.rand(n) == 0 {
				pick = g
			}
		}
	}
	if pick != nil && len(w.groups) < 4 && bits.OnesCount32(pick.mask) > 1 && w.rand(8) == 0 {
		if part := pick.mask & w.block.cluster.m.rand.Uint32(); part != 0 && part != pick.mask {
			pick.mask &^= part
			w.groups = append(w.groups, &group{pc: pick.pc, mask: part})
		}
	}
	return pick
}

// meet joins to a group the others that are at the same instruction.
func (w *warp) meet(g *group) {
	for i := 0; i < len(w.groups); i++ {
		if o := w.groups[i]; o != g && o.pc == g.pc && o.state != sleeping {
			g.mask |= o.mask
			w.groups = append(w.groups[:i], w.groups[i+1:]...)
			i--
		}
	}
}

// burst runs a group until something else may have to run, and returns the
// number of instructions run.
func (w *warp) burst(g *group, n int) int {
	code := w.code()
	if len(w.groups) > 1 {
		w.meet(g)
	}
	for i := 0; i < n; i++ {
		in := &code[g.pc]
		mask := g.mask
		if in.pred >= 0 {
			p := w.pred[in.pred]
			if mask&^w.set[in.predID] != 0 {
				w.begin(in, mask)
				w.fault("guard read before it was set in lanes %s", laneList(mask&^w.set[in.predID]))
			}
			if in.not {
				p = ^p
			}
			mask &= p
		}
		w.tick++
		if in.run != nil {
			if mask != 0 {
				w.do(in, mask)
			}
			g.pc++
			if len(w.groups) > 1 && !w.apart && w.behind(g) {
				return i + 1
			}
			continue
		}
		w.begin(in, mask)
		if mask != 0 {
			w.check(in, mask)
		}
		switch in.control(w, g, mask) {
		case next:
			if in.pred < 0 {
				mask = g.mask // others may have joined
			}
			w.mark(in, mask)
			w.block.cluster.m.lanes += uint64(bits.OnesCount32(mask))
			g.pc++
		case blocked:
			return i
		default:
			if len(w.groups) != 1 || w.groups[0] != g || g.state != ready {
				return i + 1
			}
		}
	}
	return n
}

// behind tells whether another group is now as far back as g or further.
func (w *warp) behind(g *group) bool {
	for _, o := range w.groups {
		if o != g && o.pc <= g.pc && (o.state == ready || o.state == meeting && o.pc == g.pc) {
			return true
		}
	}
	return false
}

// do runs a plain instruction.
func (w *warp) do(in *inst, mask uint32) {
	w.begin(in, mask)
	w.check(in, mask)
	in.run(w, mask)
	w.mark(in, mask)
	w.block.cluster.m.lanes += uint64(bits.OnesCount32(mask))
}

func (w *warp) begin(in *inst, mask uint32) { w.at, w.mask = in, mask }

// check finds registers that are read before they are set.
func (w *warp) check(in *inst, mask uint32) {
	for _, r := range in.uses {
		if mask&^w.set[r] != 0 {
			w.unset(r, mask&^w.set[r])
		}
	}
}

func (w *warp) unset(id int32, mask uint32) {
	if w.flight[id] > 0 {
		w.fault("reads register %s before wgmma has made it (no wgmma.wait_group)", w.block.kernel.regs.nameOf(id))
	}
	w.fault("reads register %s, which was never set, in lanes %s", w.block.kernel.regs.nameOf(id),
		laneList(mask))
}

// mark notes that an instruction has written its registers.
func (w *warp) mark(in *inst, mask uint32) {
	known, tick := mask, w.tick
	if in.copy {
		tick = 0
	}
	for _, r := range in.handed {
		known &= w.set[r]
		tick = max(tick, w.stamp[r])
	}
	for _, r := range in.defs {
		if w.flight[r] > 0 {
			w.fault("writes register %s, which a product of wgmma under way will write", w.block.kernel.regs.nameOf(r))
		}
		w.set[r] = w.set[r]&^mask | known
		w.stamp[r] = tick
	}
}

// jump sends the lanes of a group that a mask holds elsewhere.
func (w *warp) jump(g *group, mask uint32, to int) status {
	switch mask {
	case 0:
		g.pc++
	case g.mask:
		g.pc = to
	default:
		g.mask &^= mask
		g.pc++
		w.groups = append(w.groups, &group{pc: to, mask: mask})
	}
	return moved
}

// leave ends the threads of a mask.
func (w *warp) leave(g *group, mask uint32) status {
	w.live &^= mask
	if g.mask &^= mask; g.mask == 0 {
		for i, o := range w.groups {
			if o == g {
				w.groups = append(w.groups[:i], w.groups[i+1:]...)
				break
			}
		}
	} else {
		g.pc++
	}
	for _, o := range w.groups { // they may have waited for these lanes
		if o.state == meeting {
			o.state = ready
		}
	}
	if w.live == 0 {
		w.ended()
	}
	return moved
}

// together tells whether all lanes of need are in the group; if not the group
// waits for them.
func (w *warp) together(g *group, need uint32) bool {
	if len(w.groups) > 1 {
		w.meet(g)
	}
	if g.mask&need == need {
		w.mask = g.mask
		w.check(w.at, g.mask&need)
		return true
	}
	g.state = meeting
	return false
}

// collective makes an instruction that all lanes of a warp carry out together.
func collective(work func(w *warp)) func(*warp, *group, uint32) status {
	return func(w *warp, g *group, mask uint32) status {
		if !w.together(g, w.live) {
			return blocked
		}
		if w.at.pred >= 0 && mask != g.mask {
			if mask == 0 {
				return next
			}
			w.fault("lanes %s alone carry out what the whole warp must", laneList(mask))
		}
		work(w)
		return next
	}
}

func (s *registers) nameOf(id int32) string {
	for _, names := range s.names {
		for n, r := range names {
			if r.id == id {
				return n
			}
		}
	}
	return "declared in a scope"
}
