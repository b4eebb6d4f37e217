package kernel

import "unsafe"

// tileArgs is what a tile kernel reads; the assembly knows the fields by name.
// Strides are in bytes. A step is four bytes of A and four bytes a column of W.
type tileArgs struct {
	c     unsafe.Pointer // (rows, NR) float32
	ldc   int
	a     unsafe.Pointer // (rows, k) steps
	lda   int
	w     unsafe.Pointer // [k][NR] steps
	panel int            // from one panel to the next; wide tiles only
	bias  unsafe.Pointer // NR starting values, never nil
	k     int            // steps, ≥ 1
	mr    int            // rows of the first tiles
	tiles int            // number of tiles of mr rows, ≥ 1
	small int            // number of tiles of mr-1 rows after them
	add   bool           // add to C instead of writing it
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

// tiles computes n neighbouring panels, each panel elements after the one
// before: C (m, n·NR) = or += A (m, k) · W + bias. It is the one place where the
// level is chosen for float32.
func tiles(c []float32, ldc int, a []float32, lda int, w []float32, panel int, bias []float32, m, k, n int, add bool) {
	if m == 0 || n == 0 {
		return
	}
	// The assembly trusts these lengths.
	_ = c[(m-1)*ldc+n*NR-1]
	if k == 0 || active.level == Generic {
		for p := range n {
			var b []float32
			if bias != nil {
				b = bias[p*NR:][:NR]
			}
			tileGeneric(c[p*NR:], ldc, a, lda, w[p*panel:], b, m, k, add)
		}
		return
	}
	_ = a[(m-1)*lda+k-1]
	_ = w[(n-1)*panel+k*NR-1]
	if bias != nil {
		_ = bias[n*NR-1]
	}
	tilesAsm(c, ldc, a, lda, w, panel, bias, m, k, n, add)
}
