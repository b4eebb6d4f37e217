package kernel

// MatMul computes C = A·P for float32 panels that the caller packed with
// [PackRows] or [PackCols]: the two products of attention.
//
// Shapes: C is (m, n·NR) with stride ldc; A is (m, k) with stride lda; panels
// are n of [≥k][NR], panel elements apart. Writes C.
func MatMul(c []float32, ldc int, a []float32, lda int, panels []float32, panel, m, k, n int, s *Scratch) {
	mulF32(c, ldc, a, lda, panels, panel, m, k, n, false, s)
}

// MatMulAdd computes C += A·P for float32 panels that the caller packed with
// [PackRows] or [PackCols]. Each element is one ascending sum over k, added to C
// when it is finished: what a gradient accumulates, in one fixed order.
//
// Shapes and aliasing are those of [MatMul]. Accumulates into C.
func MatMulAdd(c []float32, ldc int, a []float32, lda int, panels []float32, panel, m, k, n int, s *Scratch) {
	if k > 0 {
		mulF32(c, ldc, a, lda, panels, panel, m, k, n, true, s)
	}
}

// MatMulAddT computes C += Aᵀ·P for float32 panels that the caller packed with [PackCols]:
// what a gradient sums over tokens. Its bits are those of [MatMulAdd] of the transposed A.
//
// Shapes: C is (m, n·NR) with stride ldc; A is k rows of m columns, of which LeftRows are
// neighbours: column i of row t is a[i/LeftRows·group + t·lda + i%LeftRows]. That is what
// [PackLeft] makes, with lda LeftRows, or a plain matrix of row stride lda, with group
// LeftRows. Panels are n of [≥k][NR], panel elements apart. Accumulates into C.
func MatMulAddT(c []float32, ldc int, a []float32, lda, group int, panels []float32, panel, m, k, n int, s *Scratch) {
	if m <= 0 || k <= 0 || n <= 0 {
		return
	}
	// The assembly trusts these lengths.
	_, _ = c[(m-1)*ldc+n*NR-1], panels[(n-1)*panel+k*NR-1]
	_ = a[(m-1)/LeftRows*group+(k-1)*lda+(m-1)%LeftRows]
	for m0 := 0; m0 < m; m0 += LeftBlock {
		l := leftSide{a: a[m0/LeftRows*group:], lda: lda, group: group, m: min(LeftBlock, m-m0), k: k}
		if hasColumns() {
			l.mulColumns(c[m0*ldc:], ldc, words(panels), panel, n)
			continue
		}
		ldt := Stride(k)
		if cap(s.turned) < LeftBlock*ldt {
			s.turned = make([]float32, LeftBlock*ldt)
		}
		turned := s.turned[:LeftBlock*ldt]
		for i := 0; i < l.m; i += LeftRows {
			Transpose(turned[i*ldt:], ldt, l.a[i/LeftRows*group:], lda, k, min(LeftRows, l.m-i))
		}
		mulF32(c[m0*ldc:], ldc, turned, ldt, panels, panel, l.m, k, n, true, s)
	}
}

// leftSide is the left side of a product by columns, see [MatMulAddT]; m ≤ LeftBlock.
type leftSide struct {
	a          []float32
	lda, group int
	m, k       int
}

func mulF32(c []float32, ldc int, a []float32, lda int, panels []float32, panel, m, k, n int, add bool,
	s *Scratch) {
	x := operand{dtype: Float32, w: words(panels), panel: panel, n: n}
	x.mulBlocks(c, ldc, a, lda, m, k, add, s)
}

// mulBlocks computes C = or += A·W, A of m rows and k columns, block after block of rows.
func (x *operand) mulBlocks(c []float32, ldc int, a []float32, lda, m, k int, add bool, s *Scratch) {
	if m <= 0 || x.n <= 0 {
		return
	}
	convert := k > 0 && converts(x.dtype, k)
	if convert {
		x.narrow(s, k)
	} else {
		x.begin(s, k)
		x.lda = lda
	}
	rows := blockRows(x.dtype, k)
	blocks := (m + rows - 1) / rows
	for b := range blocks {
		m0, m1 := b*m/blocks, (b+1)*m/blocks
		x.m = m1 - m0
		if convert {
			for i := range x.m {
				x.convert(i, a[(m0+i)*lda:][:k])
			}
		} else {
			x.a = words(a[m0*lda:])
		}
		x.mul(c[m0*ldc:], ldc, add)
	}
}

// MatMulBF16 is [MatMul] for panels in bfloat16, of [PackRowsBF16] or
// [PackColsBF16], an odd k completed with zero. A is rounded too where the level in
// use has bfloat16 ([HasBF16]); elsewhere the product is in float32. Sums are float32.
//
// Shapes: C is (m, n·NR) with stride ldc; A is (m, k) with stride lda; panels
// are n of [≥⌈k/2⌉][NR], panel dwords apart. Writes C.
func MatMulBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int, s *Scratch) {
	mulBF16(c, ldc, a, lda, panels, panel, m, k, n, false, s)
}

// MatMulAddBF16 is [MatMulAdd] for panels in bfloat16, as MatMulBF16 takes them.
//
// Shapes and aliasing are those of [MatMulBF16]. Accumulates into C.
func MatMulAddBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int,
	s *Scratch) {
	if k > 0 {
		mulBF16(c, ldc, a, lda, panels, panel, m, k, n, true, s)
	}
}

func mulBF16(c []float32, ldc int, a []float32, lda int, panels []uint32, panel, m, k, n int,
	add bool, s *Scratch) {
	x := operand{dtype: BFloat16, w: panels, panel: panel, n: n}
	x.mulBlocks(c, ldc, a, lda, m, k, add, s)
}

// Reserve makes room for products in d of up to k columns of A.
func (s *Scratch) Reserve(d DType, k int) {
	x := operand{dtype: d}
	if converts(d, k) {
		x.narrow(s, k)
	} else {
		x.begin(s, k)
	}
}
