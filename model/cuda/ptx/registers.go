package ptx

// registerFile is the number of registers that a multiprocessor has for the threads of a
// block which stands alone on it, as blocks do that move registers between their warps.
const registerFile = 64 << 10

// registers decodes setmaxnreg: warps give registers back, and wait until others have given
// back as many as they ask for. A block has as many for each thread as its size allows, in
// eights, and no more come.
func (in *inst) registers() {
	n, more := int(in.args[0].val), in.op[1] == "inc"
	in.control = func(w *warp, g *group, _ uint32) status {
		if !w.together(g, w.live) {
			return blocked
		}
		if w.registers == 0 {
			w.registers = min(registerFile/(len(w.block.warps)*lanes)&^7, 255)
		}
		switch by := n - w.registers; {
		case more && by < 0, !more && by > 0:
			w.fault("has %d registers for a thread and asks for %d with %s", w.registers, n, in.op[1])
		case by > w.block.spare:
			g.state = polling
			return blocked
		default:
			w.block.spare -= by
			w.registers = n
		}
		return next
	}
}
