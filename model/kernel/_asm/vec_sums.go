package main

// sums is the number of partial sums of a row, each a vector: 64 lanes in all.
func (v *Vec) sums() int { return 256 / v.size() }

// reduce runs body over the vectors of a row with the number of the accumulator
// that takes the vector, which is that of the vector modulo sums, so that lane
// j mod 64 takes element j.
func (v *Vec) reduce(body func(acc int)) {
	n := v.sums()
	loop, rem, done := v.Fresh("sums"), v.Fresh("rem"), v.Fresh("summed")
	v.I("XORL", regOffset, regOffset)
	v.I("MOVQ", regFull, regCount)
	v.I("SUBQ", Imm(n), regCount)
	v.I("JLT", rem)
	v.Label(loop)
	for k := range n {
		v.streams = []stream{{vector: k}}
		body(k)
	}
	v.I("ADDQ", Imm(256), regOffset)
	v.I("SUBQ", Imm(n), regCount)
	v.I("JGE", loop)
	v.Label(rem)
	v.I("ADDQ", Imm(n), regCount)
	var tails []string
	for k := range n {
		tails = append(tails, v.Fresh("tail"))
		v.I("JEQ", tails[k])
		if k == n-1 {
			break
		}
		v.run(1, false, func() { body(k) })
		v.I("ADDQ", Imm(v.size()), regOffset)
		v.I("DECQ", regCount)
	}
	for k := n - 1; k >= 0; k-- {
		v.Label(tails[k])
		v.I("TESTQ", regTail, regTail)
		v.I("JEQ", done)
		v.run(1, true, func() { body(k) })
		if k > 0 {
			v.I("JMP", done)
		}
	}
	v.Label(done)
	v.streams = nil
}

// clear sets the accumulators of reduce, registers first and up, to zero.
func (v *Vec) clear(first int) {
	for k := range v.sums() {
		v.I("VXORPS", v.r(first+k), v.r(first+k), v.r(first+k))
	}
}

// total adds the lanes of the accumulators in the order of the specification
// and leaves the sum in lane 0 of register first.
func (v *Vec) total(first int) {
	for n := v.sums() / 2; n > 0; n /= 2 {
		for k := range n {
			v.I("VADDPS", v.r(first+k+n), v.r(first+k), v.r(first+k))
		}
	}
	v.lanesum(first, first+1, "VADDPS")
}

// lanesum folds the lanes of register r with op, halves first, into lane 0.
// tmp is overwritten.
func (v *Vec) lanesum(r, tmp int, op string) {
	if v.wide {
		v.I("VEXTRACTF64X4", "$1", Z(r), Y(tmp))
		v.I(op, Y(tmp), Y(r), Y(r))
	}
	v.I("VEXTRACTF128", "$1", Y(r), X(tmp))
	v.I(op, X(tmp), X(r), X(r))
	v.I("VPERMILPS", "$0x0e", X(r), X(tmp))
	v.I(op, X(tmp), X(r), X(r))
	v.I("VMOVSHDUP", X(r), X(tmp))
	v.I(op, X(tmp), X(r), X(r))
}
