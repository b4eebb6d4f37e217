package ptx

import (
	"iter"
	"math/bits"
)

// src32 is a source of 32 bits: a register or, when row is set, a constant.
type src32 struct {
	index int32
	row   *row32
}

func (s *src32) of(w *warp) *row32 {
	if s.row != nil {
		return s.row
	}
	return &w.r32[s.index]
}

// src64 is the same of 64 bits.
type src64 struct {
	index int32
	row   *row64
}

func (s *src64) of(w *warp) *row64 {
	if s.row != nil {
		return s.row
	}
	return &w.r64[s.index]
}

func constant32(v uint64) *row32 {
	r := new(row32)
	for i := range r {
		r[i] = uint32(v)
	}
	return r
}

func constant64(v uint64) *row64 {
	r := new(row64)
	for i := range r {
		r[i] = v
	}
	return r
}

// use32 makes a source of an operand and notes that it must be set.
func (in *inst) use32(o operand) src32 {
	switch {
	case o.kind == kReg && o.reg.class == c32:
		in.uses = append(in.uses, o.reg.id)
		return src32{index: o.reg.index}
	case o.kind == kImm:
		return src32{row: constant32(o.val)}
	}
	in.unknown("an operand of 32 bits is wanted")
	return src32{}
}

func (in *inst) use64(o operand) src64 {
	switch {
	case o.kind == kReg && o.reg.class == c64:
		in.uses = append(in.uses, o.reg.id)
		return src64{index: o.reg.index}
	case o.kind == kImm:
		return src64{row: constant64(o.val)}
	}
	in.unknown("an operand of 64 bits is wanted")
	return src64{}
}

// usePred makes a function that gives the lanes in which a predicate holds.
func (in *inst) usePred(o operand) func(w *warp) uint32 {
	switch {
	case o.kind == kReg && o.reg.class == pred:
		in.uses = append(in.uses, o.reg.id)
		i := o.reg.index
		if o.not {
			return func(w *warp) uint32 { return ^w.pred[i] }
		}
		return func(w *warp) uint32 { return w.pred[i] }
	case o.kind == kImm:
		all := -uint32(o.val & 1)
		return func(*warp) uint32 { return all }
	}
	in.unknown("a predicate is wanted")
	return nil
}

// useAny makes a function that reads a lane of an operand of any class.
func (in *inst) useAny(o operand) func(w *warp, l int) uint64 {
	switch {
	case o.kind == kReg && o.reg.class == pred:
		p := in.usePred(o)
		return func(w *warp, l int) uint64 { return uint64(p(w) >> l & 1) }
	case o.kind == kReg && o.reg.class == c64:
		s := in.use64(o)
		return func(w *warp, l int) uint64 { return s.of(w)[l&31] }
	case o.kind == kReg:
		s := in.use32(o)
		return func(w *warp, l int) uint64 { return uint64(s.of(w)[l&31]) }
	case o.kind == kImm:
		v := o.val
		return func(*warp, int) uint64 { return v }
	}
	in.unknown("a value is wanted")
	return nil
}

// def32 notes that an operand is written and returns its place.
func (in *inst) def32(o operand) int32 {
	if o.kind != kReg || o.reg.class != c32 {
		in.unknown("a register of 32 bits is wanted")
	}
	in.defs = append(in.defs, o.reg.id)
	return o.reg.index
}

func (in *inst) def64(o operand) int32 {
	if o.kind != kReg || o.reg.class != c64 {
		in.unknown("a register of 64 bits is wanted")
	}
	in.defs = append(in.defs, o.reg.id)
	return o.reg.index
}

func (in *inst) defPred(o operand) int32 {
	if o.kind != kReg || o.reg.class != pred {
		in.unknown("a predicate is wanted")
	}
	in.defs = append(in.defs, o.reg.id)
	return o.reg.index
}

// defAny makes a function that writes a lane of a register of any class, cut to
// its width. The operand _ takes everything.
func (in *inst) defAny(o operand) func(w *warp, l int, v uint64) {
	if o.kind == kName && o.name == "_" {
		return func(*warp, int, uint64) {}
	}
	if o.kind != kReg {
		in.unknown("a register is wanted")
	}
	in.defs = append(in.defs, o.reg.id)
	i := o.reg.index
	switch {
	case o.reg.class == c64:
		return func(w *warp, l int, v uint64) { w.r64[i][l&31] = v }
	case o.reg.class == pred:
		return func(w *warp, l int, v uint64) { w.pred[i] = w.pred[i]&^(1<<l) | uint32(v&1)<<l }
	case o.reg.bytes == 4:
		return func(w *warp, l int, v uint64) { w.r32[i][l&31] = uint32(v) }
	}
	cut := uint32(1)<<(8*o.reg.bytes) - 1
	return func(w *warp, l int, v uint64) { w.r32[i][l&31] = uint32(v) & cut }
}

// lanesOf yields the lanes of a mask.
func lanesOf(mask uint32) iter.Seq[int] {
	return func(yield func(int) bool) {
		for ; mask != 0; mask &= mask - 1 {
			if !yield(bits.TrailingZeros32(mask) & 31) {
				return
			}
		}
	}
}

func (in *inst) unknown(why string) {
	fail("line %d: %s is not known here: %s", in.line, in.full, why)
}
