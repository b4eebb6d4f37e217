package ptx

import (
	"slices"
	"strconv"
	"strings"
)

// tile is a warp's 16 rows of A, as many columns of K as the format has.
type tile [16][32]float32

// wgmma decodes the products of warpgroups. Each warp makes its own 16 rows, as
// late as the wait for it allows.
func (in *inst) wgmma() {
	switch in.op[1] {
	case "fence":
		in.control = collective(func(w *warp) { w.joined = w.tick })
	case "commit_group":
		in.control = collective(func(w *warp) {
			w.async.products = append(w.async.products, w.async.open)
			w.async.open = nil
			w.joined = 0
		})
	case "wait_group":
		n := int(in.args[0].val)
		in.control = collective(func(w *warp) {
			for s := &w.async; len(s.products) > n; s.products = s.products[1:] {
				for _, f := range s.products[0] {
					f()
				}
			}
		})
	case "mma_async":
		in.product64()
	default:
		in.unknown("this use of wgmma is not")
	}
}

// wgmmaShape is what an mma_async says of itself.
type wgmmaShape struct {
	in *inst
	*format
	width int // columns
	acc   []operand
	a     []operand // registers of A, or nothing
	da    src64     // descriptor of A
	db    src64
	trans bool // B has N contiguous
	add   func(w *warp) uint32
}

func (in *inst) product64() {
	a := in.args
	s := &wgmmaShape{in: in, acc: a[0].list}
	s.format = formats[in.op[len(in.op)-1]]
	if s.format == nil || !strings.HasSuffix(in.full, ".f32."+s.name+"."+s.name) {
		in.unknown("its type is not")
	}
	for _, o := range in.op {
		if rest, ok := strings.CutPrefix(o, "m64n"); ok {
			s.width, _ = strconv.Atoi(strings.TrimSuffix(rest, "k"+strconv.Itoa(s.k())))
		}
	}
	if s.width == 0 || s.width%8 != 0 || len(s.acc) != s.width/2 {
		in.unknown("its shape is not")
	}
	imm := a[4:]
	if s.name != "bf16" { // K is contiguous, which nothing says
		if a[1].kind == kVec {
			in.unknown("an A in registers is not")
		}
		imm = append(slices.Clone(imm), operand{}, operand{})
	}
	if a[1].kind == kVec {
		s.a = a[1].list
		for _, o := range s.a {
			in.use32(o)
		}
		s.trans = imm[2].val != 0
	} else {
		s.da = in.use64(a[1])
		if imm[2].val != 0 {
			in.unknown("a transposed A is not")
		}
		s.trans = imm[3].val != 0
	}
	if imm[0].val != 1 || imm[1].val != 1 {
		in.unknown("negated operands are not")
	}
	s.db, s.add = in.use64(a[2]), in.usePred(a[3])
	in.control = collective(s.issue)
}

// issue checks what a product needs and leaves it for later.
func (s *wgmmaShape) issue(w *warp) {
	if w.joined == 0 {
		w.fault("no wgmma.fence since the products before were committed")
	}
	p := s.add(w)
	add := p&1 != 0
	for _, o := range s.acc {
		id := o.reg.id
		if w.flight[id] == 0 {
			if add && w.set[id] != full {
				w.unset(id, ^w.set[id])
			}
			if w.stamp[id] > w.joined {
				w.fault("register %s was written after the last wgmma.fence", w.block.kernel.regs.nameOf(id))
			}
		}
	}
	for _, o := range s.a {
		if w.stamp[o.reg.id] > w.joined {
			w.fault("register %s was written after the last wgmma.fence", w.block.kernel.regs.nameOf(o.reg.id))
		}
	}
	for _, o := range s.acc {
		w.flight[o.reg.id]++
		w.set[o.reg.id] = 0
	}
	db, da := s.db.of(w)[0], uint64(0)
	if s.a == nil {
		da = s.da.of(w)[0]
	}
	s.touch(w, da, db)
	w.async.open = append(w.async.open, func() {
		at, mask := w.at, w.mask
		w.begin(s.in, full)
		s.touch(w, da, db)
		s.make(w, da, db, add)
		w.begin(at, mask)
	})
}

// descriptor of a matrix in shared memory, swizzled by 128 bytes.
type descriptor struct{ at, lead, stride int }

func (w *warp) descriptor(d uint64) descriptor {
	if d>>62 != 1 || d>>49&7 != 0 {
		w.fault("the descriptor %#x is not one of a matrix swizzled by 128 bytes", d)
	}
	return descriptor{int(d & 0x3fff << 4), int(d >> 16 & 0x3fff << 4), int(d >> 32 & 0x3fff << 4)}
}

// rows calls f for each 32 bytes (16 of K) of rows from and on; f's address is
// not swizzled.
func (d descriptor) row(r int) int { return d.at + r/8*d.stride + r%8*128 }

// touch tells the shadow what a product reads.
func (s *wgmmaShape) touch(w *warp, da, db uint64) {
	by := w.actor()
	by.async, by.what = true, "wgmma "
	cells := &w.block.cells
	chunk := func(at int) {
		if at < guard || at+16 > len(w.block.smem) {
			w.fault("wgmma reads at %#x, outside of shared memory", at)
		}
		cells.readBy(&by, int(swizzle(uint64(at))), 16)
	}
	if s.a == nil {
		d := w.descriptor(da)
		for r := range 16 {
			at := d.row(w.id%4*16 + r)
			chunk(at)
			chunk(at + 16)
		}
	}
	d := w.descriptor(db)
	if !s.trans {
		for c := range s.width {
			chunk(d.row(c))
			chunk(d.row(c) + 16)
		}
		return
	}
	for k := range 16 {
		for c := 0; c < s.width; c += 8 {
			chunk(d.at + c/64*d.lead + k/8*d.stride + k%8*128 + c%64*2)
		}
	}
}

// make carries a product out.
func (s *wgmmaShape) make(w *warp, da, db uint64, add bool) {
	smem := w.block.smem
	var x tile
	if s.a != nil {
		x.fromRegisters(w, s.format, s.a)
	} else {
		d := w.descriptor(da)
		for r := range 16 {
			s.row(smem, d.row(w.id%4*16+r), x[r][:s.k()])
		}
	}
	y := w.block.cluster.m.scratch(s.k() * s.width) // [K][N]
	d := w.descriptor(db)
	if s.trans {
		for k := range 16 {
			for c := 0; c < s.width; c += 8 {
				at := swizzle(uint64(d.at + c/64*d.lead + k/8*d.stride + k%8*128 + c%64*2))
				s.widen(smem[at:at+16], y[k*s.width+c:][:8])
			}
		}
	} else {
		var room [32]float32
		line := room[:s.k()]
		for c := range s.width {
			s.row(smem, d.row(c), line)
			for k, v := range line {
				y[k*s.width+c] = v
			}
		}
	}
	var sums [16][256]float32
	plain := finite(y, s.width)
	for r := range 16 {
		products(sums[r][:s.width], x[r][:s.k()], y, plain)
	}
	for i, o := range s.acc {
		d := &w.r32[o.reg.index]
		for l := range d {
			v := sums[l/4+i/2%2*8][i/4*8+l%4*2+i%2]
			if add {
				v += f32(uint64(d[l]))
			}
			d[l] = uint32(bits32(v))
		}
		id := o.reg.id
		if w.flight[id]--; w.flight[id] == 0 {
			w.set[id] = full
		}
	}
}

// products sets sums to the product of a row and a matrix [K][N]. A zero of the
// row costs nothing where a row of the matrix is plain.
func products(sums, x, y []float32, plain []bool) {
	n := len(sums)
	clear(sums)
	for k, v := range x {
		if v == 0 && plain[k] {
			continue
		}
		for c, e := range y[k*n:][:n] {
			sums[c] += float32(v * e)
		}
	}
}

// finite tells of each row whether all its n numbers are finite.
func finite(y []float32, n int) []bool {
	out := make([]bool, len(y)/n)
	for k := range out {
		s := float32(0)
		for _, v := range y[k*n:][:n] {
			s += v * 0
		}
		out[k] = s == 0
	}
	return out
}

// row reads the numbers of K, two chunks of a swizzled row.
func (f *format) row(smem []byte, at int, to []float32) {
	a, b := swizzle(uint64(at)), swizzle(uint64(at)+16)
	f.widen(smem[a:a+16], to[:f.n])
	f.widen(smem[b:b+16], to[f.n:])
}

// scratch is room for numbers that nobody keeps.
func (m *Machine) scratch(n int) []float32 {
	if cap(m.room) < n {
		m.room = make([]float32, n)
	}
	return m.room[:n]
}

// fromRegisters reads A as mma and wgmma hold it: four bytes in each lane.
func (x *tile) fromRegisters(w *warp, f *format, list []operand) {
	for i, o := range list {
		x.fromRegister(w, f, o, i%2*8, i/2)
	}
}

// fromRegister reads eight rows, from one on, of one half of K.
func (x *tile) fromRegister(w *warp, f *format, o operand, row, half int) {
	var four [16]byte
	for l, v := range &w.r32[o.reg.index] {
		put(four[:], 4, uint64(v))
		f.widen(four[:], x[row+l/4][half*f.n+l%4*f.n/4:][:f.n/4])
	}
}

// mma decodes mma.sync of 16 x 8 x 16 bfloat16 and of 16 x 8 x 32 e4m3.
func (in *inst) mma() {
	f := map[string]*format{
		"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32": formats["bf16"],
		"mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32": formats["e4m3"],
	}[in.full]
	if f == nil {
		in.unknown("its shape or type is not")
	}
	d, a, b, c := in.args[0].list, in.args[1].list, in.args[2].list, in.args[3].list
	for _, o := range slices.Concat(a, b) {
		in.use32(o)
	}
	var acc []src32
	for _, o := range c {
		acc = append(acc, in.use32(o))
	}
	for _, o := range d {
		in.def32(o)
	}
	shared := f.name == "e4m3" && share(d, slices.Concat(a, b, c))
	in.control = collective(func(w *warp) {
		if shared {
			w.fault("a result has the register of an operand: ptxas 12.4 makes a wrong sum of that for sm_90")
		}
		var x tile
		x.fromRegisters(w, f, a)
		var of tile // rows are columns
		for i, o := range b {
			of.fromRegister(w, f, o, 0, i)
		}
		var room [32 * 8]float32
		y := room[:8*f.k()]
		for c := range 8 {
			for k, v := range of[c][:f.k()] {
				y[k*8+c] = v
			}
		}
		var sums [16][8]float32
		plain := finite(y, 8)
		for r := range 16 {
			products(sums[r][:], x[r][:f.k()], y, plain)
		}
		var old [4]row32
		for i := range 4 {
			old[i] = *acc[i].of(w)
		}
		for i := range 4 {
			to := &w.r32[d[i].reg.index]
			for l := range to {
				to[l] = uint32(bits32(f32(uint64(old[i][l])) + sums[l/4+i/2*8][l%4*2+i%2]))
			}
		}
	})
}

// share says whether operands have a register in common. Cards without products of e4m3 in one
// instruction, such as Hopper's, are given two of float16 and two additions in its place, and ptxas
// 12.4 lets the first addition overwrite what the second one reads.
func share(a, b []operand) bool {
	return slices.ContainsFunc(a, func(x operand) bool {
		return slices.ContainsFunc(b, func(y operand) bool { return y.kind == kReg && y.reg == x.reg })
	})
}

// matrix decodes ldmatrix and stmatrix of 8 x 8 matrices of 16 bits.
func (in *inst) matrix() {
	store := in.op[0] == "stmatrix"
	list, at := in.args[0], in.args[len(in.args)-1]
	if store {
		list, at = at, list
	}
	trans := slices.Contains(in.op, "trans")
	if !slices.Contains(in.op, "m8n8") || !slices.Contains(in.op, "b16") {
		in.unknown("its shape is not")
	}
	base, disp := in.address(at)
	var regs []int32
	for _, o := range list.list {
		if store {
			in.use32(o)
			regs = append(regs, o.reg.index)
		} else {
			regs = append(regs, in.def32(o))
		}
	}
	in.control = collective(func(w *warp) {
		var out [4]row32
		for m, r := range regs {
			var rows [8][]byte
			for i := range rows {
				l := 8*m + i
				addr := base(w, l) + disp
				if addr%16 != 0 {
					w.fault("lane %d: address %#x of a row is misaligned", l, addr)
				}
				rows[i] = w.shared(addr, 16, l, store)
			}
			for l := range lanes {
				lo, hi := rows[l/4][l%4*4:], rows[l/4][l%4*4+2:]
				if trans {
					lo, hi = rows[l%4*2][l/4*2:], rows[l%4*2+1][l/4*2:]
				}
				if store {
					v := uint64(w.r32[r][l])
					put(lo, 2, v)
					put(hi, 2, v>>16)
				} else {
					out[m][l] = uint32(get(lo, 2) | get(hi, 2)<<16)
				}
			}
		}
		if !store {
			for m, r := range regs {
				w.r32[r] = out[m]
			}
		}
	})
}
