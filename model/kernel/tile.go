package kernel

// operand is the left side of a product and the panels of its right side.
type operand struct {
	dtype DType
	a     []uint32 // (m, k) steps with row stride lda; floats as they are unless A is converted, see converts
	lda   int
	words int // of A a step, see stepWords
	m, k  int // rows and steps
	w     []uint32
	panel int // steps from one panel to the next
	n     int // panels
	bias  []float32

	scale  []float32 // Int8 only: of each row
	wscale []float32 // Int8 only: of each column, for all panels
	start  []int32   // Int8 only: where each column's sum begins

	fill   int     // steps of zeros behind each row of A, see tileSteps
	matrix *matrix // where tileSteps is more than one
	kept   *kept   // where keepsW
}

// kept is the memory of tiles that widen W: a part of two panels, and the sums of all rows
// over the parts before it.
type kept struct {
	w    [keptSteps * 2 * 2 * NR]float32
	sums [(RowBlock + 1) * 2 * NR]float32 // and a row that nothing uses: a pointer moves behind the last
}

// keptSteps is the largest number of steps of a part: 192 KB of a core's second cache. Fewer
// fit the first, but keeping sums costs more than that saves (1 % of a product at 128).
const keptSteps = 384

// from returns the operand without its first p panels.
func (x operand) from(p, n int) operand {
	x.w, x.n = x.w[p*x.panel:], n
	if x.bias != nil {
		x.bias = x.bias[p*NR:]
	}
	if x.dtype == Int8 {
		x.wscale, x.start = x.wscale[p*NR:], x.start[p*NR:]
	}
	return x
}

// mul computes neighbouring panels: C (m, n·NR) = or += A (m, k) · W + bias. It
// is the one place where the assembly of products is called.
func (x *operand) mul(c []float32, ldc int, add bool) {
	if x.m == 0 || x.n == 0 {
		return
	}
	// The assembly trusts these lengths.
	_ = c[(x.m-1)*ldc+x.n*NR-1]
	if x.bias != nil {
		_ = x.bias[x.n*NR-1]
	}
	if x.k > 0 {
		_ = x.a[(x.m-1)*x.lda+x.words*x.k-1]
		_ = x.w[(x.n-1)*x.panel+x.k*NR-1]
	}
	if x.dtype == Int8 {
		_ = x.scale[x.m-1]
		_ = x.wscale[x.n*NR-1]
		_ = x.start[x.n*NR-1]
	}
	if x.kept != nil {
		_ = x.kept.sums[(x.m+1)*2*NR-1]
	}
	if x.k == 0 || !mulTiles(x, c, ldc, add) {
		mulGeneric(x, c, ldc, add)
	}
}

func mulGeneric(x *operand, c []float32, ldc int, add bool) {
	for p := range x.n {
		y := x.from(p, 1)
		switch x.dtype {
		case Float32:
			tileGeneric(c[p*NR:], ldc, &y, add)
		case BFloat16:
			tileBF16Generic(c[p*NR:], ldc, &y, add)
		case Int8:
			tileInt8Generic(c[p*NR:], ldc, &y, add)
		}
	}
}

// converts says whether rows of A, of k columns, are converted before they are multiplied:
// of Float32 on a matrix unit alone, into three bfloat16 each; of BFloat16 where both sides
// are rounded, or to complete the last of the pairs of its weights.
func converts(d DType, k int) bool {
	switch d {
	case Float32:
		return tileSteps(d) > 1
	case BFloat16:
		return HasBF16() || k%2 != 0
	}
	return true
}

// stepWords is the number of dwords that A takes a step: two floats for a pair of bfloat16
// that is widened, two of int16 for int8 at some levels.
func stepWords(d DType) int {
	switch {
	case d == BFloat16 && !HasBF16():
		return 2
	case d == Int8:
		return int8Words()
	}
	return 1
}

// maxNarrow is the memory in bytes of rows in three parts that pass by a panel together:
// with the panel's parts they stay in a core's second cache.
const maxNarrow = 5 << 18

// blockRows is the number of rows of A, of k columns, that panels pass by at a time.
func blockRows(d DType, k int) int {
	if d != Float32 || !converts(d, k) {
		return RowBlock
	}
	return max(32, min(RowBlock, maxNarrow/(6*up(k, splitBlock))/32*32))
}

// begin sets the steps of k columns, and gives tiles that need it memory to work in.
func (x *operand) begin(s *Scratch, k int) {
	x.k, x.words = steps(x.dtype, k), stepWords(x.dtype)
	if keepsW(x.dtype) {
		if s.kept == nil {
			s.kept = new(kept)
		}
		x.kept = s.kept
	}
}

// narrow gives A, of k columns, room for rows in the operand's format.
func (x *operand) narrow(s *Scratch, k int) {
	x.begin(s, k)
	x.lda = Stride(x.words * x.k)
	if n := tileSteps(x.dtype); n > 1 {
		// Whole tiles, and one more: n rows are read at once, no two from the same sets
		// of a cache.
		x.fill = (n - x.k%n) % n
		x.lda = x.k + x.fill + n
		if x.dtype == Float32 {
			x.lda = (x.k+x.fill)/splitBlock*splitWords/splitRows + 1
		}
		if s.matrix == nil {
			s.matrix = newMatrix()
		}
		x.matrix = s.matrix
	}
	if n := up(blockRows(x.dtype, k), 16) * x.lda; len(s.narrow) < n {
		s.narrow = make([]uint32, n)
	}
	x.a = s.narrow
}

// row is where row i of A begins: of rows in parts every sixteen make tiles together, and
// lda is a sixteenth of what those take.
func (x *operand) row(i int) int {
	if x.dtype == Float32 && x.matrix != nil {
		return i/splitRows*splitRows*x.lda + i%splitRows*splitBlock/2
	}
	return i * x.lda
}

// convert stores row i of A.
func (x *operand) convert(i int, row []float32) {
	if x.dtype == Float32 {
		splitRow(x.a[x.row(i):], row)
		return
	}
	dst := x.a[i*x.lda:][:x.words*x.k]
	clear(x.a[i*x.lda+len(dst):][:x.fill])
	var inv float32
	if x.dtype == Int8 {
		inv, x.scale[i] = quantScale(maxAbs(row))
	}
	switch {
	case len(row) == 0:
	case x.dtype == BFloat16 && x.words == 2:
		clear(dst[copy(dst, words(row)):])
	case x.dtype == BFloat16:
		bf16Row(dst, row)
	case x.words == 2:
		quantWide(dst, row, inv)
	default:
		quantRow(quads(dst), row, inv, quantZero)
	}
}

// up rounds n up to a multiple of m.
func up(n, m int) int { return (n + m - 1) / m * m }
