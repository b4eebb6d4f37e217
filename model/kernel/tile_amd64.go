//go:build amd64 && !noasm

package kernel

import (
	"unsafe"

	"github.com/warmserve/warmserve/model/kernel/amd64"
)

// tileKind names a function that computes tiles; 0 is none.
type tileKind uint8

// tileShape is what a tile takes.
type tileShape struct {
	kind  tileKind
	rows  int  // of a row tile, at most
	bytes int  // of C's columns: a panel or a part of it
	words int  // dwords of A a step
	wide  bool // it has a function for several panels of few rows
	keeps bool // it has a function that widens W once for several tiles

	columns bool // it has a function for A by columns
	pairs   bool // it has functions for two panels at once

	matrix bool // it is the matrix unit's, see mulMatrix
}

// wide is the number of panels that a wide tile takes at once, and wideRows the
// largest number of rows for which that is faster.
const (
	wide     = 4
	wideRows = 3
)

// keptRows is the smallest number of rows for which it pays to keep W widened.
const keptRows = 24

// twoRows is the number of rows of a tile of two panels. It is faster from twoFrom rows on,
// fewer being bound by reading W, and up to twoSteps steps: two panels, the next two and a
// block of rows fit a core's second cache of 2 MB then (Emerald Rapids; 0.8 at 3,072 steps).
const (
	twoRows  = 6
	twoFrom  = 48
	twoSteps = 2048
)

// zeros is the bias of a product without one.
var zeros [wide * NR]float32

// callSteps is the number of steps of rows that one call takes, because the
// runtime cannot stop a goroutine in one: 100 µs on Zen 5.
const callSteps = RowBlock * 3500

// int8Words is the number of dwords that A takes a step of int8: two of int16 at some
// levels.
func int8Words() int { return max(1, tileOf(Int8, true).words) }

// keepsW says whether tiles of d want memory for weights that they widen.
func keepsW(d DType) bool { return tileOf(d, true).keeps }

// mulTiles computes x unless the active level has no tile for it. The caller has
// checked every length; m, k and n are positive.
func mulTiles(x *operand, c []float32, ldc int, add bool) bool {
	// A matrix unit takes sixteen rows at the least, so that fewer are cheaper elsewhere:
	// of int8, whose sums are exact and have the same bits in any tile.
	shape := tileOf(x.dtype, x.dtype != Int8 || x.m > wideRows)
	if shape.kind == 0 {
		return false
	}
	if shape.matrix {
		mulMatrix(shape.kind, x, c, ldc, add)
		return true
	}
	t := tileArgs{TileArgs: amd64.TileArgs{LDC: 4 * ldc, LDA: 4 * x.lda, Panel: 4 * x.panel, K: x.k,
		Add: add}}
	p := 0
	if x.m <= wideRows && shape.wide {
		t.MR = x.m
		for ; p+wide <= x.n; p += wide {
			t.at(x, c[p*NR:], 0, p, 0)
			shape.kind.runWide(&t.TileArgs)
		}
	}
	if shape.keeps && x.m >= keptRows {
		p = mulKept(shape, x, &t, c, ldc, add)
	}
	if shape.pairs && active.pairs && x.m >= twoFrom && x.k <= twoSteps {
		calls := 1 + 2*x.m*x.k/callSteps
		for ; p+2 <= x.n; p += 2 {
			for i := range calls {
				m0, m1 := i*x.m/calls, (i+1)*x.m/calls
				t.at(x, c[m0*ldc+p*NR:], m0, p, 0)
				t.split(m1-m0, twoRows)
				t.ask(x, 2, (p+2)*x.panel+i*2*x.k/calls*NR, calls)
				shape.kind.runPair(&t.TileArgs)
			}
		}
	}
	calls := 1 + x.m*x.words*x.k/callSteps
	for ; p < x.n; p++ {
		for part := 0; part < 4*NR; part += shape.bytes {
			for i := range calls {
				m0, m1 := i*x.m/calls, (i+1)*x.m/calls
				if m0 < m1 {
					t.at(x, c[m0*ldc+p*NR:], m0, p, part)
					t.split(m1-m0, shape.rows)
					n := 4 * NR / shape.bytes * calls
					t.ask(x, 1, (p+1)*x.panel+(part/shape.bytes*calls+i)*x.k/n*NR, n)
					shape.kind.run(&t.TileArgs)
				}
			}
		}
	}
	return true
}

// mulKept computes pairs of panels of x by tiles that keep W widened: part after part of
// them, each for all rows, whose sums wait meanwhile. It returns the number of panels.
func mulKept(shape tileShape, x *operand, t *tileArgs, c []float32, ldc int, add bool) int {
	parts := (x.k + keptSteps - 1) / keptSteps
	p := 0
	for ; p+2 <= x.n; p += 2 {
		for i := range parts {
			k0, k1 := i*x.k/parts, (i+1)*x.k/parts
			t.at(x, c[p*NR:], 0, p, 0)
			t.split(x.m, twoRows)
			t.A, t.W, t.K = unsafe.Pointer(&x.a[x.words*k0]), unsafe.Pointer(&x.w[p*x.panel+k0*NR]), k1-k0
			t.ask(x, 2, (p+2)*x.panel+2*k0*NR, 1)
			t.Kept, t.Sums, t.LDC, t.Add = unsafe.Pointer(&x.kept.w), nil, 4*ldc, add
			if i > 0 {
				t.Sums = unsafe.Pointer(&x.kept.sums)
			}
			if i+1 < parts {
				t.C, t.LDC, t.Add = unsafe.Pointer(&x.kept.sums), 2*4*NR, false
			}
			shape.kind.runKept(&t.TileArgs)
		}
	}
	t.LDC, t.K, t.Add = 4*ldc, x.k, add
	return p
}

// hasColumns says whether there are tiles for A by columns.
func hasColumns() bool { return tileOf(Float32, true).columns }

// mulColumns computes C += Aᵀ·W for up to LeftBlock rows of Aᵀ, where hasColumns.
func (l *leftSide) mulColumns(c []float32, ldc int, w []uint32, panel, n int) {
	shape := tileOf(Float32, true)
	x := &operand{w: w, panel: panel, n: n, k: l.k, a: words(l.a), lda: l.lda}
	t := tileArgs{TileArgs: amd64.TileArgs{LDC: 4 * ldc, LDA: 4 * l.lda, Panel: 4 * panel, K: l.k, Add: true}}
	groups := (l.m + LeftRows - 1) / LeftRows
	parts := 4 * NR / shape.bytes
	p := 0
	if shape.pairs && active.pairs {
		for ; p+2 <= n; p += 2 {
			for g := range groups {
				t.at(x, c[g*LeftRows*ldc+p*NR:], 0, p, 0)
				t.A = unsafe.Pointer(&l.a[g*l.group])
				t.split(min(LeftRows, l.m-g*LeftRows), twoRows)
				t.ask(x, 2, (p+2)*panel+g*2*l.k/groups*NR, groups)
				shape.kind.runPairColumns(&t.TileArgs)
			}
		}
	}
	for ; p < n; p++ {
		for g := range groups {
			for part := range parts {
				t.at(x, c[g*LeftRows*ldc+p*NR:], 0, p, part*shape.bytes)
				t.A = unsafe.Pointer(&l.a[g*l.group])
				t.split(min(LeftRows, l.m-g*LeftRows), shape.rows)
				i := g*parts + part
				t.ask(x, 1, (p+1)*panel+i*l.k/(groups*parts)*NR, groups*parts)
				shape.kind.runColumns(&t.TileArgs)
			}
		}
	}
}

// tileArgs are the arguments of a tile.
type tileArgs struct{ amd64.TileArgs }

// split divides m rows into tiles of at most mr rows whose sizes differ by one
// at most: sixteen rows become 8+8, not 14+2, since short tiles waste the width
// of the multiplier.
func (t *tileArgs) split(m, mr int) {
	n := (m + mr - 1) / mr
	t.MR = (m + n - 1) / n
	t.Small = t.MR*n - m
	t.Tiles = n - t.Small
}

// ask has the tiles of one or two panels, one of n calls, ask for their share of as much as
// they read: for the weights from index at on, which come next, maybe in another product,
// evenly over their steps. So memory is busy in all of them, not in the first alone, which
// reads its panels from there. One tile reads as it goes.
func (t *tileArgs) ask(x *operand, panels, at, n int) {
	t.Next, t.NextStep = t.W, 0
	if tiles := (t.Tiles + t.Small) * n; at < len(x.w) && tiles > 1 {
		t.Next, t.NextStep = unsafe.Pointer(&x.w[at]), panels*4*NR/tiles
	}
}

// at moves the arguments to row i of panel p, part bytes into its columns; c
// begins at that row and panel.
func (t *tileArgs) at(x *operand, c []float32, i, p, part int) {
	col := p*NR + part/4
	t.C = unsafe.Pointer(&c[part/4])
	t.A = unsafe.Pointer(&x.a[i*x.lda])
	t.W = unsafe.Pointer(&x.w[p*x.panel+part/4])
	t.Bias = unsafe.Pointer(&zeros)
	if x.bias != nil {
		t.Bias = unsafe.Pointer(&x.bias[col])
	}
	if x.dtype == Int8 {
		t.Scale, t.Scaled = unsafe.Pointer(&x.scale[i]), 0
		t.WScale = unsafe.Pointer(&x.wscale[col])
		t.WBias = t.Bias
		t.Bias = unsafe.Pointer(&x.start[col])
	}
}
