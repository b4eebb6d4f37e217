package ptx

import (
	"encoding/binary"
	"math"
	"slices"
)

// Windows of generic addresses.
const (
	sharedWindow = 1 << 40
	localWindow  = 1 << 41
	moduleWindow = 1 << 42
	globalBase   = 1 << 44
	rankShift    = 24 // above it an address of shared::cluster has its block's rank and one
)

// memory decodes ld, st and red.
func (in *inst) memory() {
	size, n := width(in.op[len(in.op)-1]), 1
	if size == 0 {
		in.unknown("its type is not")
	}
	for i, v := range []string{"v2", "v4", "v8"} {
		if slices.Contains(in.op, v) {
			n = 2 << i
		}
	}
	sp := generic
	for i, o := range [...]string{global: "global", shared: "shared", local: "local",
		param: "param", constant: "const"} {
		if o != "" && (slices.Contains(in.op, o) || slices.Contains(in.op, o+"::cta") ||
			slices.Contains(in.op, o+"::cluster")) {
			sp = space(i)
		}
	}
	at, val := in.args[0], in.args[len(in.args)-1]
	load := in.op[0] == "ld"
	if load {
		at, val = in.args[1], in.args[0]
	}
	list := []operand{val}
	if val.kind == kVec {
		list = val.list
	}
	if len(list) != n || at.kind != kMem {
		in.unknown("its operands are not")
	}
	base, disp := in.address(at)
	if sp == generic && at.list[0].kind == kImm {
		sp = at.list[0].space
	}
	a := access{size: size, n: n, space: sp}
	switch in.op[0] {
	case "ld":
		in.load(a, base, disp, list)
	case "st":
		in.store(a, base, disp, list)
	default:
		in.reduce(a, base, disp, list[0])
	}
}

// address is a base that may have 32 or 64 bits, and what is added to it.
func (in *inst) address(at operand) (base func(w *warp, l int) uint64, disp uint64) {
	return in.useAny(at.list[0]), at.val
}

// access is what an instruction does to memory in each lane.
type access struct {
	size, n int // bytes of an element, elements
	space   space
}

func (in *inst) load(a access, base func(*warp, int) uint64, disp uint64, list []operand) {
	typ := in.op[len(in.op)-1]
	signed := typ[0] == 's'
	var to []func(w *warp, l int, v uint64)
	for _, o := range list {
		to = append(to, in.defAny(o))
	}
	shift := uint(64 - 8*a.size)
	if words := wordRegisters(a, list); words != nil {
		in.run = func(w *warp, mask uint32) {
			for l := range lanesOf(mask) {
				p := w.reach(a, base(w, l)+disp, l, false)
				for i, d := range words {
					w.r32[d][l] = binary.LittleEndian.Uint32(p[4*i:])
				}
			}
		}
		return
	}
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			p := w.reach(a, base(w, l)+disp, l, false)
			for i, d := range to {
				v := get(p[i*a.size:], a.size)
				if signed {
					v = uint64(int64(v<<shift) >> shift)
				}
				d(w, l, v)
			}
		}
	}
}

// wordRegisters are the registers of 32 bits that words go to, nil if any is none.
func wordRegisters(a access, list []operand) (out []int32) {
	for _, o := range list {
		if a.size != 4 || o.kind != kReg || o.reg.class != c32 || o.reg.bytes != 4 {
			return nil
		}
		out = append(out, o.reg.index)
	}
	return out
}

func (in *inst) store(a access, base func(*warp, int) uint64, disp uint64, list []operand) {
	var from []func(w *warp, l int) uint64
	for _, o := range list {
		from = append(from, in.useAny(o))
	}
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			p := w.reach(a, base(w, l)+disp, l, true)
			for i, v := range from {
				put(p[i*a.size:], a.size, v(w, l))
			}
		}
	}
}

// reduce adds to memory; the sums of blocks may come in any order.
func (in *inst) reduce(a access, base func(*warp, int) uint64, disp uint64, o operand) {
	typ := in.op[len(in.op)-1]
	if !slices.Contains(in.op, "add") || a.n != 1 || a.space != global {
		in.unknown("of reductions, sums in global memory are")
	}
	x := in.useAny(o)
	in.run = func(w *warp, mask uint32) {
		for l := range lanesOf(mask) {
			p := w.atomic(a, base(w, l)+disp)
			old, v := get(p, a.size), x(w, l)
			switch typ {
			case "f32":
				v = bits32(f32(old) + f32(v))
			case "f64":
				v = bits64(f64(old) + f64(v))
			default:
				v += old
			}
			put(p, a.size, v)
		}
	}
}

func get(p []byte, n int) uint64 {
	switch n {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(p))
	case 4:
		return uint64(binary.LittleEndian.Uint32(p))
	}
	return binary.LittleEndian.Uint64(p)
}

func put(p []byte, n int, v uint64) {
	switch n {
	case 1:
		p[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(p, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(p, uint32(v))
	default:
		binary.LittleEndian.PutUint64(p, v)
	}
}

// reach returns the bytes that a lane reads or writes, once all rules are kept.
func (w *warp) reach(a access, addr uint64, l int, write bool) []byte {
	n := a.size * a.n
	if addr&uint64(n-1) != 0 {
		w.fault("lane %d: address %#x of %d bytes is misaligned", l, addr, n)
	}
	sp := a.space
	if sp == generic {
		switch {
		case addr >= moduleWindow:
			sp = global
		case addr >= localWindow:
			sp, addr = local, addr-localWindow
		case addr >= sharedWindow:
			sp, addr = shared, addr-sharedWindow
		}
	}
	b := w.block
	switch sp {
	case shared:
		return w.shared(addr, n, l, write)
	case local:
		if addr+uint64(n) > uint64(b.kernel.local) {
			w.fault("lane %d: address %#x is outside of local memory", l, addr)
		}
		if w.local == nil {
			w.local = make([]byte, lanes*b.kernel.local)
			fill(w.local)
		}
		return w.local[l*b.kernel.local+int(addr):]
	case param:
		if addr+uint64(n) > uint64(len(b.params)) || write {
			w.fault("lane %d: address %#x is outside of the parameters", l, addr)
		}
		return b.params[addr:]
	case global, constant:
		if addr >= moduleWindow && addr < globalBase {
			return w.module(addr-moduleWindow, n, l, write)
		}
		return w.global(addr, n, l, write)
	}
	w.fault("lane %d: address %#x is in no space", l, addr)
	return nil
}

// module reads variables of the module.
func (w *warp) module(at uint64, n, l int, write bool) []byte {
	data := w.block.kernel.module.data
	if write || at+uint64(n) > uint64(len(data)) {
		w.fault("lane %d: variables of a module are read alone, inside their bounds", l)
	}
	return data[at:]
}

// shared is an access of a lane to shared memory.
func (w *warp) shared(addr uint64, n, l int, write bool) []byte {
	b, own := w.block, true
	if addr>>rankShift != 0 {
		b = w.peer(addr)
		own = b == w.block
		addr &= 1<<rankShift - 1
	}
	if addr < guard || addr+uint64(n) > uint64(len(b.smem)) {
		w.fault("lane %d: address %#x of %d bytes is outside of shared memory (%d bytes)", l, addr,
			n, len(b.smem)-guard)
	}
	if !own {
		b.visit(w, w.epoch())
	}
	if write {
		b.cells.write(w, int(addr), n)
	} else {
		b.cells.read(w, int(addr), n)
	}
	return b.smem[addr:]
}

// peer is the block of the cluster that an address of shared::cluster lies in.
func (w *warp) peer(addr uint64) *block {
	rank := int(addr>>rankShift) - 1
	if rank < 0 || rank >= len(w.block.cluster.blocks) {
		w.fault("address %#x is in no block of the cluster", addr)
	}
	return w.block.cluster.blocks[rank]
}

// mapa makes addresses in the shared memory of other blocks of the cluster.
func (in *inst) mapa() {
	base := uint64(0)
	if in.op[len(in.op)-1] == "u64" && !slices.Contains(in.op, "shared::cluster") {
		base = sharedWindow
	}
	in.binary(func(x, rank uint64) uint64 {
		return base + (x-base)&(1<<rankShift-1) | (rank&math.MaxUint16+1)<<rankShift
	})
}

// fill makes bytes what nobody should read: each bfloat16 and float32 is NaN.
func fill(b []byte) {
	if len(b) == 0 {
		return
	}
	b[0] = 0xff
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}
