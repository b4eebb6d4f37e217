package main

import (
	"fmt"
	"iter"
	"math"
	"strings"
)

// Vec writes the row operations once for both register widths. An operation is
// written on temporaries t0, t1, … and [Vec.op] emits each instruction for every
// stream, a vector of neighbouring elements with registers of its own, so that
// two streams interleave without being written twice.
type Vec struct {
	*Asm
	wide    bool // 512 bits, else 256
	table   string
	names   []string          // of the constants, in the order of the table
	regs    map[string]string // registers that hold constants
	streams []stream          // empty outside of a loop
	temps   int               // temporaries of a stream
	held    int               // registers that hold constants, from the top
	in      string            // base of the row that a function of one operand reads
	tail    bool              // accesses go through the tail mask

	perStream map[string]func(stream int) string // operands that differ between streams
}

// stream is a vector of elements: so many vectors on from the offset, in the
// given one of the rows that are worked on together.
type stream struct{ vector, row int }

// bases are the registers that point to the rows worked on together, by that of
// the first.
var bases = map[string][]string{"DI": {"DI", "R8", "R9"}, "SI": {"SI", "R10"}, "DX": {"DX", "R12"}}

// Registers shared by the loops over elements.
const (
	regOffset = "BX"  // bytes from the start of the rows
	regCount  = "CX"  // vectors or rows left
	regFull   = "AX"  // whole vectors in a row
	regTail   = "R15" // elements after them
	maskTail  = "K1"  // 512 bits: the tail as a mask
)

// constants defines the table of a file, and returns what writes its kernels at each width. Each
// constant stands there eight times, so that it serves as a 256-bit memory operand and as the
// source of a broadcast.
func constants(a *Asm, table string, values []constant) iter.Seq[*Vec] {
	var words []uint32
	var names []string
	for _, c := range values {
		names = append(names, c.name)
		for range 8 {
			words = append(words, c.bits)
		}
	}
	if len(words) > 0 {
		a.Table(table, words...)
	}
	return func(yield func(*Vec) bool) {
		vec := Vec{Asm: a, table: table, names: names, temps: 6}
		wide := vec
		wide.wide = true
		_ = yield(&wide) && yield(&vec)
	}
}

type constant struct {
	name string
	bits uint32
}

func f32(name string, v float64) constant { return constant{name, math.Float32bits(float32(v))} }

func f32s(names []string, values []float64) []constant {
	var out []constant
	for i, v := range values {
		out = append(out, f32(names[i], v))
	}
	return out
}

// level is the name of the level that has the width.
func (v *Vec) level() string {
	if v.wide {
		return "AVX512"
	}
	return "AVX2"
}

// size is the bytes and lanes the elements of one vector.
func (v *Vec) size() int {
	if v.wide {
		return 64
	}
	return 32
}

func (v *Vec) lanes() int { return v.size() / 4 }

func (v *Vec) shift() string {
	if v.wide {
		return "$4"
	}
	return "$3"
}

// r names a vector register of the width.
func (v *Vec) r(i int) string {
	if v.wide {
		return Z(i)
	}
	return Y(i)
}

// begin starts the kernel's function for the width.
func (v *Vec) begin(k Kernel, frame int) {
	v.held, v.regs = 0, map[string]string{}
	v.Begin(k, v.level(), frame)
}

// hold keeps constants in registers from the top down, at 512 bits only: there
// are sixteen more of them, and 256-bit instructions take them from memory.
func (v *Vec) hold(names ...string) {
	if !v.wide {
		return
	}
	for i, n := range names {
		r := 31 - i
		v.I("VBROADCASTSS", v.constant(n), Z(r))
		v.regs[n] = Z(r)
	}
	v.held = len(names)
}

func (v *Vec) constant(name string) string {
	for i, n := range v.names {
		if n == name {
			return fmt.Sprintf("·%s<>+%d(SB)", v.table, 32*i)
		}
	}
	panic("no constant " + name)
}

// c is a constant as a first operand: a register or memory.
func (v *Vec) c(name string) string {
	if r, ok := v.regs[name]; ok {
		return r
	}
	if v.wide {
		panic("constant not held: " + name)
	}
	return v.constant(name)
}

// creg is a constant in a register, loaded into temporary t where it is not held.
func (v *Vec) creg(name, t string) string {
	if r, ok := v.regs[name]; ok {
		return r
	}
	v.op("VMOVUPS", v.c(name), t)
	return t
}

// op emits an instruction for each stream. t0…t5 stand for the temporaries of
// the stream, and mem(…) for its elements.
func (v *Vec) op(name string, args ...string) {
	for s := range v.streams {
		out := make([]string, len(args))
		for i, a := range args {
			out[i] = v.operand(s, a)
		}
		v.I(name, out...)
	}
}

func (v *Vec) operand(stream int, a string) string {
	if len(a) == 2 && a[0] == 't' {
		return v.r(v.temps*stream + int(a[1]-'0'))
	}
	if base, ok := strings.CutPrefix(a, "mem:"); ok {
		s := v.streams[stream]
		if s.row > 0 {
			base = bases[base][s.row]
		}
		return AtIndex(s.vector*v.size(), base, regOffset, 1)
	}
	if base, ok := strings.CutPrefix(a, "window:"); ok {
		return At(stream*v.size(), base)
	}
	if f, ok := v.perStream[a]; ok {
		return f(stream)
	}
	return a
}

// load reads the stream's elements of the row at base into a temporary; the
// lanes beyond a tail become zero.
func (v *Vec) load(base, t string) {
	switch {
	case !v.tail:
		v.op("VMOVUPS", "mem:"+base, t)
	case v.wide:
		v.op("VMOVUPS.Z", "mem:"+base, maskTail, t)
	default:
		v.op("VMASKMOVPS", "mem:"+base, v.regs["tail"], t)
	}
}

// store writes a temporary to the row at base.
func (v *Vec) store(t, base string) {
	switch {
	case !v.tail:
		v.op("VMOVUPS", t, "mem:"+base)
	case v.wide:
		v.op("VMOVUPS", t, maskTail, "mem:"+base)
	default:
		v.op("VMASKMOVPS", t, v.regs["tail"], "mem:"+base)
	}
}

// columns splits the number of columns, found in regFull, into whole vectors and
// a tail, and makes the tail mask.
func (v *Vec) columns() {
	v.I("MOVQ", regFull, regTail)
	v.I("ANDQ", Imm(v.lanes()-1), regTail)
	v.I("SHRQ", v.shift(), regFull)
	if v.wide {
		v.I("MOVQ", regTail, regCount)
		v.I("MOVL", "$1", regOffset)
		v.I("SHLQ", "CX", regOffset)
		v.I("DECQ", regOffset)
		v.I("KMOVW", regOffset, maskTail)
		return
	}
	v.regs["tail"] = Y(15)
	v.I("LEAQ", "·"+v.table+"Mask<>+32(SB)", regOffset)
	v.I("MOVQ", regTail, regCount)
	v.I("SHLQ", "$2", regCount)
	v.I("SUBQ", regCount, regOffset)
	v.I("VMOVUPS", "("+regOffset+")", Y(15))
}

// maskTable defines the words that 256-bit tails take their mask from: eight set
// and eight clear, to be read from 8-tail.
func maskTable(a *Asm, table string) {
	words := make([]uint32, 16)
	for i := range 8 {
		words[i] = math.MaxUint32
	}
	a.Table(table+"Mask", words...)
}

// each runs body over the vectors of one row, up to unroll at a time, and over
// the tail.
func (v *Vec) each(unroll int, body func()) { v.eachOf(1, unroll, body) }

// eachOf is each for rows worked on together.
func (v *Vec) eachOf(rows, unroll int, body func()) {
	loop, one, rest, done := v.Fresh("vectors"), v.Fresh("one"), v.Fresh("rest"), v.Fresh("done")
	v.I("XORL", regOffset, regOffset)
	v.I("MOVQ", regFull, regCount)
	if unroll > 1 {
		v.I("SUBQ", Imm(unroll), regCount)
		v.I("JLT", one)
		v.Label(loop)
		v.runOf(rows, unroll, false, body)
		v.I("ADDQ", Imm(unroll*v.size()), regOffset)
		v.I("SUBQ", Imm(unroll), regCount)
		v.I("JGE", loop)
		v.Label(one)
		v.I("ADDQ", Imm(unroll), regCount)
	} else {
		v.I("TESTQ", regCount, regCount)
	}
	v.I("JEQ", rest)
	single := v.Fresh("single")
	v.Label(single)
	v.runOf(rows, 1, false, body)
	v.I("ADDQ", Imm(v.size()), regOffset)
	v.I("DECQ", regCount)
	v.I("JNE", single)
	v.Label(rest)
	v.I("TESTQ", regTail, regTail)
	v.I("JEQ", done)
	v.runOf(rows, 1, true, body)
	v.Label(done)
}

// run emits body for n neighbouring vectors.
func (v *Vec) run(n int, tail bool, body func()) { v.runOf(1, n, tail, body) }

func (v *Vec) runOf(rows, n int, tail bool, body func()) {
	v.streams = nil
	for r := range rows {
		for i := range n {
			v.streams = append(v.streams, stream{i, r})
		}
	}
	if registers := v.temps*len(v.streams) + v.held; registers > 32 || !v.wide && registers > 15 {
		panic(fmt.Sprintf("%d streams of %d registers beside %d constants", len(v.streams), v.temps, v.held))
	}
	v.tail = tail
	body()
	v.streams, v.tail = nil, false
}
