//go:build amd64 && !noasm

package kernel

import (
	"unsafe"

	"github.com/warmserve/warmserve/model/kernel/amd64"
)

// matrix is the memory of products on the matrix unit.
type matrix struct {
	args amd64.AMXArgs
	sums []float32 // (RowBlock up to whole blocks, NR), at a cache line
	tail [amxTailPanels * amxSteps * NR]uint32
}

const (
	amxSteps = 16 // steps of a tile, and rows of one
	amxBlock = 32 // rows of a block

	// amxRange is how many tiles of a panel all rows pass by at a time: 16 KB.
	amxRange = 8

	// amxTailPanels are the panels of one call where the last steps do not fill a tile.
	amxTailPanels = 4

	// amxCallTiles is the number of products of tiles of one call, because the runtime
	// cannot stop a goroutine in one: 150 µs at 3.6 GHz.
	amxCallTiles = 1 << 15
)

// runMatrix computes panels on the matrix unit. Where there is none, tests put an
// interpreter of its assembly here.
var runMatrix = tileKind.runMatrix

func newMatrix() *matrix {
	const n = (RowBlock + amxBlock - 1) / amxBlock * amxBlock * NR
	sums := make([]float32, n+15)
	for uintptr(unsafe.Pointer(&sums[0]))%64 != 0 {
		sums = sums[1:]
	}
	return &matrix{sums: sums[:n]}
}

// tileSteps is what rows of A are filled up to with zeros, in steps, at the active
// level. Where it is more than one, there is room for a multiple of it in rows.
func tileSteps(d DType) int {
	if tileOf(d, true).matrix {
		return amxSteps
	}
	return 1
}

// mulMatrix computes x on the matrix unit. The caller has checked every length; m, k
// and n are positive.
func mulMatrix(kind tileKind, x *operand, c []float32, ldc int, add bool) {
	_ = x.a[(up(x.m, amxSteps)-1)*x.lda+up(x.k, amxSteps)-1] // whole tiles are read
	_ = x.matrix.sums[up(x.m, amxBlock)*NR-1]
	t := &x.matrix.args
	*t = amd64.AMXArgs{K: x.k / amxSteps, Panel: 4 * x.panel, LDA: 4 * x.lda, LDC: 4 * ldc, Add: add}
	t.Sums = unsafe.Pointer(&x.matrix.sums[0])
	if x.k%amxSteps == 0 {
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
	t.Tail, t.TailStep = unsafe.Pointer(tail), 4*amxSteps*NR
	rest := x.k % amxSteps * NR
	for p := 0; p < x.n; p += amxTailPanels {
		n := min(amxTailPanels, x.n-p)
		for i := range n {
			d := tail[i*amxSteps*NR:][:amxSteps*NR]
			clear(d[copy(d, x.w[(p+i)*x.panel+t.K*amxSteps*NR:][:rest]):])
		}
		y := x.from(p, n)
		mulPanels(kind, &y, c[p*NR:], ldc)
	}
}

// mulPanels computes whole panels in calls of a bounded length: of all rows as long as
// one panel is less than that, of fewer rows beyond.
func mulPanels(kind tileKind, x *operand, c []float32, ldc int) {
	t := &x.matrix.args
	each := 4 * up(x.k, amxSteps) / amxSteps // products of a block and a panel
	rows := max(1, amxCallTiles/each) * amxBlock
	for m := 0; m < x.m; m += rows {
		t.M = min(rows, x.m-m)
		t.KB = amxRange
		if t.K <= amxRange*3/2 || t.M <= amxBlock {
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

// at moves the arguments to row i of panel p; c begins there.
func (r *matrix) at(x *operand, c []float32, i, p int) {
	t := &r.args
	t.AtW, t.AtStart, t.AtBias, t.AtTail, t.AtC = 0, 0, 0, 0, 0
	t.C = unsafe.Pointer(&c[0])
	t.A = unsafe.Pointer(&x.a[i*x.lda])
	t.W = unsafe.Pointer(&x.w[p*x.panel])
	if t.Tail != nil {
		t.Tail = unsafe.Pointer(&r.tail[p*amxSteps*NR])
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

// up rounds n up to a multiple of m.
func up(n, m int) int { return (n + m - 1) / m * m }
