//go:build amd64 && !noasm

package kernel

import (
	"unsafe"

	"github.com/warmserve/warmserve/model/kernel/amd64"
)

// matrix is the memory of products on the matrix unit.
type matrix struct {
	args  amd64.AMXArgs
	sums  []float32 // (RowBlock up to whole blocks, NR), at a cache line
	parts []float32 // (amxPartsRange+1, 3·amxSteps, NR) as pairs, at a cache line; Float32 only
	tail  [amxTailPanels * splitBlock * NR]uint32
}

const (
	amxSteps = 16 // steps of a tile, and rows of one
	amxBlock = 32 // rows of a block

	// amxRange is how many tiles of a panel all rows pass by at a time: 16 KB.
	amxRange = 8

	// amxPartsRange is that of float32, whose tiles come from a core's second cache: a
	// product is six there, and the unit slower than the loads. 192 KB.
	amxPartsRange = 32

	// amxTailPanels are the panels of one call where the last steps do not fill a tile.
	amxTailPanels = 4

	// amxCallTiles is the number of products of tiles of one call, because the runtime
	// cannot stop a goroutine in one: 150 µs at 3.6 GHz. A block and a panel of float32 are
	// one call all the same, from 43,690 k on a longer one.
	amxCallTiles = 1 << 15
)

// runMatrix computes panels on the matrix unit. Where there is none, tests put an
// interpreter of its assembly here.
var runMatrix = tileKind.runMatrix

func newMatrix() *matrix {
	return &matrix{sums: atLine((RowBlock + amxBlock - 1) / amxBlock * amxBlock * NR)}
}

// atLine returns n floats at a cache line.
func atLine(n int) []float32 {
	x := make([]float32, n+15)
	for uintptr(unsafe.Pointer(&x[0]))%64 != 0 {
		x = x[1:]
	}
	return x[:n]
}

// tileSteps is what rows of A are filled up to with zeros, in steps, at the active
// level. Where it is more than one, there is room for whole sixteens of rows.
func tileSteps(d DType) int {
	switch {
	case !tileOf(d, true).matrix:
		return 1
	case d == Float32:
		return splitBlock
	}
	return amxSteps
}

// mulMatrix computes x on the matrix unit. The caller has checked every length; m, k
// and n are positive.
func mulMatrix(kind tileKind, x *operand, c []float32, ldc int, add bool) {
	n := tileSteps(x.dtype)
	last := (up(x.m, amxSteps)-1)*x.lda + up(x.k, n) // whole tiles are read
	if x.dtype == Float32 {
		last = up(x.m, amxSteps) * x.lda
		if x.matrix.parts == nil {
			x.matrix.parts = atLine((amxPartsRange + 1) * 3 * amxSteps * NR)
		}
	}
	_ = x.a[last-1]
	_ = x.matrix.sums[up(x.m, amxBlock)*NR-1]
	t := &x.matrix.args
	*t = amd64.AMXArgs{K: x.k / n, Panel: 4 * x.panel, LDA: 4 * x.lda, LDC: 4 * ldc, Add: add}
	t.Sums = unsafe.Pointer(&x.matrix.sums[0])
	if x.dtype == Float32 {
		t.LDA *= splitRows
		t.Parts = unsafe.Pointer(&x.matrix.parts[0])
	}
	if x.k%n == 0 {
		mulPanels(kind, x, c, ldc)
	} else {
		mulTails(kind, x, c, ldc)
	}
	*t = amd64.AMXArgs{} // keeps nothing alive
}

// mulTails is mulPanels where the last steps of a panel do not fill a tile: they are
// copied, because what follows them in memory need not be zero.
func mulTails(kind tileKind, x *operand, c []float32, ldc int) {
	t, tail := &x.matrix.args, &x.matrix.tail
	tile := tileSteps(x.dtype) * NR
	t.Tail, t.TailStep = unsafe.Pointer(tail), 4*tile
	rest := x.k * NR % tile
	for p := 0; p < x.n; p += amxTailPanels {
		n := min(amxTailPanels, x.n-p)
		for i := range n {
			d := tail[i*tile:][:tile]
			clear(d[copy(d, x.w[(p+i)*x.panel+t.K*tile:][:rest]):])
		}
		y := x.from(p, n)
		mulPanels(kind, &y, c[p*NR:], ldc)
	}
}

// mulPanels computes whole panels in calls of a bounded length: of all rows as long as
// one panel is less than that, of fewer rows beyond.
func mulPanels(kind tileKind, x *operand, c []float32, ldc int) {
	t := &x.matrix.args
	n := tileSteps(x.dtype)
	each := blockProducts(x.dtype) * up(x.k, n) / n // products of a block and a panel
	rows := max(1, amxCallTiles/each) * amxBlock
	for m := 0; m < x.m; m += rows {
		t.M = min(rows, x.m-m)
		t.KB = amxRange
		switch {
		case x.dtype == Float32: // ranges of equal length, since each has a cost of its own
			ranges := max(1, up(t.K, amxPartsRange)/amxPartsRange)
			t.KB = max(1, up(t.K, ranges)/ranges)
		case t.K <= amxRange*3/2 || t.M <= amxBlock:
			t.KB = max(1, t.K)
		}
		group := max(1, amxCallTiles/(each*up(t.M, amxBlock)/amxBlock))
		for p := 0; p < x.n; p += group {
			t.N = min(group, x.n-p)
			x.matrix.at(x, c[m*ldc+p*NR:], m, p)
			runMatrix(kind, t)
		}
	}
}

// blockProducts is the number of products of tiles of a step, of a block and a panel.
func blockProducts(d DType) int {
	if d == Float32 {
		return 24
	}
	return 4
}

// at moves the arguments to row i of panel p; c begins there.
func (r *matrix) at(x *operand, c []float32, i, p int) {
	t := &r.args
	t.AtW, t.AtStart, t.AtBias, t.AtTail, t.AtC = 0, 0, 0, 0, 0
	t.C = unsafe.Pointer(&c[0])
	t.A = unsafe.Pointer(&x.a[x.row(i)])
	t.W = unsafe.Pointer(&x.w[p*x.panel])
	if t.Tail != nil {
		t.Tail = unsafe.Pointer(&r.tail[p*t.TailStep/4])
	}
	bias, step := unsafe.Pointer(&zeros), 0
	if x.bias != nil {
		bias, step = unsafe.Pointer(&x.bias[p*NR]), 4*NR
	}
	if x.dtype != Int8 {
		t.Start, t.StartStep = bias, step
		return
	}
	t.WBias, t.BiasStep = bias, step
	t.Start, t.StartStep = unsafe.Pointer(&x.start[p*NR]), 4*NR
	t.Scale = unsafe.Pointer(&x.scale[i])
	t.WScale = unsafe.Pointer(&x.wscale[p*NR])
}
