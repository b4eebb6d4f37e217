package ptx

import "math/bits"

// decode gives an instruction what it does.
func (k *Kernel) decode(in *inst) {
	typ := in.op[len(in.op)-1]
	switch in.op[0] {
	case "mov":
		in.mov()
	case "cvta":
		in.cvta()
	case "cvt":
		in.cvt()
	case "selp":
		in.selp()
	case "setp":
		in.setp()
	case "bra":
		to := k.label(in, in.args[0].name)
		in.control = func(w *warp, g *group, mask uint32) status { return w.jump(g, mask, to) }
	case "brx":
		k.table(in)
	case "ret", "exit":
		in.control = func(w *warp, g *group, mask uint32) status {
			if mask == 0 {
				return next
			}
			return w.leave(g, mask)
		}
	case "trap":
		in.run = func(w *warp, mask uint32) { w.fault("trap") }
	case "ld", "st", "red":
		in.memory()
	case "shfl":
		in.shuffle()
	case "vote":
		in.vote()
	case "activemask":
		d := in.def32(in.args[0])
		in.run = func(w *warp, mask uint32) {
			for l := range lanesOf(mask) {
				w.r32[d][l] = mask
			}
		}
	case "bar", "barrier":
		in.barrier()
	case "membar":
		in.run = func(*warp, uint32) {}
	case "fence":
		in.fence()
	case "setmaxnreg":
		in.registers()
	case "griddepcontrol":
		in.run = func(w *warp, mask uint32) { w.waited = w.waited || in.op[1] == "wait" }
	case "mapa":
		in.mapa()
	case "mbarrier":
		in.mbarrier()
	case "cp":
		in.copies()
	case "wgmma":
		in.wgmma()
	case "ldmatrix", "stmatrix":
		in.matrix()
	case "mma":
		in.mma()
	default:
		if typ == "pred" && in.predicates() || in.integer(typ) || in.float(typ) {
			return
		}
		in.unknown("this instruction is not")
	}
}

func (k *Kernel) label(in *inst, name string) int {
	to, ok := k.labels[name]
	if !ok {
		fail("line %d: there is no label %s", in.line, name)
	}
	return to
}

// table decodes a branch through a table.
func (k *Kernel) table(in *inst) {
	var to []int
	for _, n := range k.tables[in.args[1].name] {
		to = append(to, k.label(in, n))
	}
	x := in.use32(in.args[0])
	in.control = func(w *warp, g *group, mask uint32) status {
		if mask == 0 {
			return next
		}
		i := x.of(w)[bits.TrailingZeros32(mask)]
		same := uint32(0)
		for l := range lanesOf(mask) {
			if x.of(w)[l] == i {
				same |= 1 << l
			}
		}
		if int(i) >= len(to) {
			w.fault("branches to place %d of a table of %d", i, len(to))
		}
		if same == g.mask {
			g.pc = to[i]
			return moved
		}
		g.mask &^= same // the others come back here
		w.groups = append(w.groups, &group{pc: to[i], mask: same})
		return moved
	}
}
