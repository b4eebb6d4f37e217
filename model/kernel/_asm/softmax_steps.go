package main

// softWalk runs edgeBody over the first and the last block and body over those
// between, blocks at a time where it can.
func (v *Vec) softWalk(blocks int, edgeBody func(e edge), body func()) {
	many, one, tail, done := v.Fresh("many"), v.Fresh("one"), v.Fresh("tail"), v.Fresh("done")
	run := func(n int, f func()) {
		if !v.wide {
			n *= 2
		}
		v.run(n, false, f)
	}
	v.I("MOVQ", softFirst, regOffset)
	run(1, func() { edgeBody(softHead) })
	v.I("CMPQ", softFirst, softLast)
	v.I("JEQ", done)
	v.I("ADDQ", "$64", regOffset)
	if blocks > 1 {
		v.Label(many)
		v.I("LEAQ", At(64*blocks, regOffset), "DX")
		v.I("CMPQ", "DX", softLast)
		v.I("JGT", one)
		run(blocks, body)
		v.I("MOVQ", "DX", regOffset)
		v.I("JMP", many)
	}
	v.Label(one)
	v.I("CMPQ", regOffset, softLast)
	v.I("JGE", tail)
	run(1, body)
	v.I("ADDQ", "$64", regOffset)
	v.I("JMP", one)
	v.Label(tail)
	run(1, func() { edgeBody(softTail) })
	v.Label(done)
}

// softBlocks is how many blocks run interleaved: n, but one at 256 bits, where
// a block takes two streams.
func (v *Vec) softBlocks(n int) int {
	if v.wide {
		return n
	}
	return 1
}

// edgeLoad and edgeStore go through the masks of an edge; at 256 bits t5 is the
// mask, of the lanes in use until edgeStore.
func (v *Vec) edgeLoad(e edge, t string) {
	if v.wide {
		v.op("VMOVUPS.Z", "mem:"+softRow, e.use, t)
		return
	}
	v.I("MOVQ", At(softMasks[e.use].place, softRecord), "AX")
	v.I("MOVQ", At(softMasks[e.and].place, softRecord), "CX")
	v.op("VMOVUPS", "window:AX", "t5")
	v.op("VANDPS", "window:CX", "t5", "t5")
	v.op("VMASKMOVPS", "mem:"+softRow, "t5", t)
}

func (v *Vec) edgeStore(t string, e edge) {
	if v.wide {
		v.op("VMOVUPS", t, e.store, "mem:"+softRow)
		return
	}
	v.I("MOVQ", At(softMasks[e.store].place, softRecord), "AX")
	v.op("VMOVUPS", "window:AX", "t5")
	v.op("VMASKMOVPS", t, "t5", "mem:"+softRow)
}

// softMax finds the largest element in use. A NaN may get lost here; it returns
// with its exponential.
func (v *Vec) softMax() {
	tops := []int{12, 13} // one for each stream
	if v.wide {
		tops = []int{12, 13, 14, 15}
	}
	v.perStream["acc"] = func(s int) string { return v.r(tops[s]) }
	v.I("VBROADCASTSS", v.constant("lowest"), v.r(tops[0]))
	for _, r := range tops[1:] {
		v.I("VMOVAPS", v.r(tops[0]), v.r(r))
	}
	v.softWalk(v.softBlocks(4), func(e edge) {
		if v.wide {
			v.op("VMAXPS", "mem:"+softRow, "acc", e.use, "acc")
			return
		}
		v.edgeLoad(e, "t0")
		v.op("VMOVUPS", v.constant("lowest"), "t1")
		v.op("VBLENDVPS", "t5", "t0", "t1", "t0")
		v.op("VMAXPS", "t0", "acc", "acc")
	}, func() { v.op("VMAXPS", "mem:"+softRow, "acc", "acc") })
	v.I("VMAXPS", v.r(13), v.r(12), v.r(12))
	if v.wide {
		v.I("VMAXPS", Z(15), Z(14), Z(14))
		v.I("VMAXPS", Z(14), Z(12), Z(12))
	}
	v.lanesum(12, 13, "VMAXPS")
	v.I("VMOVSS", X(12), At(recordMax, softRecord))
}

// softExp replaces the elements in use by exp(scale·(s−max)) and sums them.
func (v *Vec) softExp() {
	if v.wide {
		v.perStream["acc"] = func(int) string { return Z(12) }
		v.I("VBROADCASTSS", At(recordMax, softRecord), v.regs["max"])
	} else {
		v.perStream["acc"] = func(s int) string { return Y(12 + s) }
		v.I("VBROADCASTSS", At(recordMax, softRecord), Y(0))
		v.I("VMOVUPS", Y(0), v.regs["max"])
		v.I("VXORPS", X(13), X(13), X(13))
	}
	v.I("VXORPS", X(12), X(12), X(12))
	v.softWalk(v.softBlocks(4), func(e edge) {
		v.edgeLoad(e, "t0")
		v.softPower()
		if v.wide {
			v.op("VMOVAPS.Z", "t0", e.use, "t0")
		} else {
			v.op("VANDPS", "t5", "t0", "t0")
		}
		v.op("VADDPS", "t0", "acc", "acc")
		v.edgeStore("t0", e)
	}, func() {
		v.op("VMOVUPS", "mem:"+softRow, "t0")
		v.softPower()
		v.op("VADDPS", "t0", "acc", "acc")
		v.op("VMOVUPS", "t0", "mem:"+softRow)
	})
	if !v.wide {
		v.I("VADDPS", Y(13), Y(12), Y(12))
	}
	v.lanesum(12, 13, "VADDPS")
	v.I("VMOVSS", v.constant("one"), X(13))
	v.I("VDIVSS", X(12), X(13), X(12))
	v.I("VMOVSS", X(12), At(recordInv, softRecord))
}

// softPower replaces t0 by 2^((t0−max)·scale), or by 0 where that is denormal.
// The product with the scale is exact to the last bits of its two parts, so that
// the error does not grow with its size.
func (v *Vec) softPower() {
	v.op("VSUBPS", v.regs["max"], "t0", "t0")
	if v.wide {
		v.op("VMAXPS", "t0", v.regs["least"], "t0") // no Inf-Inf below; keeps NaN
		v.op("VMULPS", v.regs["scale"], "t0", "t1")
		v.op("VRNDSCALEPS", "$0", "t1", "t2")
	} else {
		v.op("VMULPS", v.regs["scale"], "t0", "t1")
		v.op("VROUNDPS", "$8", "t1", "t2")
		v.op("VCMPPS", "$0x15", v.c("smallest"), "t1", "t3") // not less: true for NaN
	}
	v.op("VMOVAPS", "t2", "t1")
	v.op("VFMSUB231PS", v.regs["scale"], "t0", "t1")
	v.op("VFMADD231PS", v.regs["scaleLow"], "t0", "t1")
	v.joined()
	if !v.wide {
		v.op("VANDPS", "t3", "t0", "t0")
	}
}

// softScale multiplies the elements in use by the inverse of their sum.
func (v *Vec) softScale() {
	inv := v.r(12)
	v.I("VBROADCASTSS", At(recordInv, softRecord), inv)
	v.softWalk(v.softBlocks(4), func(e edge) {
		if v.wide {
			v.op("VMULPS.Z", "mem:"+softRow, inv, e.use, "t0")
		} else {
			v.edgeLoad(e, "t0")
			v.op("VMULPS", inv, "t0", "t0")
			v.op("VANDPS", "t5", "t0", "t0")
		}
		v.edgeStore("t0", e)
	}, func() {
		v.op("VMULPS", "mem:"+softRow, inv, "t0")
		v.op("VMOVUPS", "t0", "mem:"+softRow)
	})
}

// softZero clears the blocks from regOffset up to that at offset until.
func (v *Vec) softZero(until string) {
	loop, done := v.Fresh("clear"), v.Fresh("cleared")
	v.I("VXORPS", X(0), X(0), X(0))
	v.Label(loop)
	v.I("CMPQ", regOffset, until)
	v.I("JGE", done)
	for i := 0; i < 64; i += v.size() {
		v.I("VMOVUPS", v.r(0), AtIndex(i, softRow, regOffset, 1))
	}
	v.I("ADDQ", "$64", regOffset)
	v.I("JMP", loop)
	v.Label(done)
}

// softZeroEnd clears the last block of the row.
func (v *Vec) softZeroEnd() {
	if v.wide {
		v.I("VMOVUPS", Z(0), "K4", AtIndex(0, softRow, softEnd, 1))
		return
	}
	v.I("MOVQ", At(frameStoreEnd, "SP"), "AX")
	for i := 0; i < 64; i += 32 {
		v.I("VMOVUPS", At(i, "AX"), Y(1))
		v.I("VMASKMOVPS", Y(0), Y(1), AtIndex(i, softRow, softEnd, 1))
	}
}
