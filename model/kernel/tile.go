package kernel

import "unsafe"

// tileArgs is what a tile kernel reads; the assembly knows the fields by name.
// Strides are in bytes. A step is four bytes a column of W and four of A, or
// eight of A where a kernel says so.
type tileArgs struct {
	c      unsafe.Pointer // (rows, NR) float32
	ldc    int
	a      unsafe.Pointer // (rows, k) steps
	lda    int
	w      unsafe.Pointer // [k][NR] steps
	panel  int            // from one panel to the next
	bias   unsafe.Pointer // NR starting values: float32, int32 for int8; never nil
	scale  unsafe.Pointer // rows float32; int8 only, as the next three
	scaled int            // bytes of scale that the tiles so far have used
	wscale unsafe.Pointer // NR float32
	wbias  unsafe.Pointer // NR float32
	k      int            // steps, ≥ 1
	mr     int            // rows of the first tiles
	tiles  int            // number of tiles of mr rows, ≥ 1
	small  int            // number of tiles of mr-1 rows after them
	add    bool           // add to C instead of writing it
}

// split divides m rows into tiles of at most mr rows whose sizes differ by one
// at most: sixteen rows become 8+8, not 14+2, since short tiles waste the width
// of the multiplier.
func (t *tileArgs) split(m, mr int) {
	n := (m + mr - 1) / mr
	t.mr = (m + n - 1) / n
	t.small = t.mr*n - m
	t.tiles = n - t.small
}

// wide is the number of panels that a wide tile takes at once, and wideRows the
// largest number of rows for which that is faster.
const (
	wide     = 4
	wideRows = 3
)

// zeros is the bias of a product without one.
var zeros [wide * NR]float32

// operand is the left side of a product and the panels of its right side.
type operand struct {
	dtype DType
	a     []uint32 // (m, k) steps with row stride lda; of Float32 the floats themselves
	lda   int
	words int // of A a step: 2 when the active level wants A wide, see wideSteps
	m, k  int // rows and steps
	w     []uint32
	panel int // steps from one panel to the next
	n     int // panels
	bias  []float32

	scale  []float32 // Int8 only: of each row
	wscale []float32 // Int8 only: of each column, for all panels
	start  []int32   // Int8 only: where each column's sum begins
}

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
// is the one place where the level is chosen for products.
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
	if x.k == 0 || !mulAsm(x, c, ldc, add) {
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
