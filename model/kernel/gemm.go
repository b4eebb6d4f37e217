package kernel

import "fmt"

// RowBlock is the largest number of rows that one product takes: it keeps the
// rows in cache while the panels pass by, and one call of a kernel below 100 µs.
const RowBlock = 112

// Epilogue says what becomes of the product y = A·Wᵀ + bias.
type Epilogue uint8

const (
	Store    Epilogue = iota // C = y
	Add                      // C += y, the residual connection
	GELU                     // C = y·Φ(y), the exact form with erf
	GELUTanh                 // C = y·½(1+tanh(√(2/π)(y+0.044715y³)))
	ReLU                     // C = max(y, 0)
	// SiLUMul is the gated unit silu(g)·u. Panels alternate between gate and up
	// (see Panels of a gated layer): panel 2i holds the gate and 2i+1 the up
	// projection of the columns [i·NR, (i+1)·NR) of C.
	SiLUMul
	GELUTanhMul // as SiLUMul with GELUTanh for SiLU
)

// Gated says whether the epilogue makes one column of two.
func (e Epilogue) Gated() bool { return e == SiLUMul || e == GELUTanhMul }

// Product is one matrix product C = epilogue(A·Wᵀ + bias).
//
// Shapes: C is (M, Pad(N)) with row stride LDC (half the columns when gated);
// A is (M, K) with row stride LDA; W is [N, K]; Bias is nil or Pad(N) long.
// Aliasing: C must not overlap A. Accumulates with Add, writes otherwise.
type Product struct {
	C        []float32
	LDC      int
	A        []float32
	LDA      int
	W        *Panels
	Bias     []float32
	M        int
	Epilogue Epilogue
}

// Scratch is memory that a product works in: one for each worker, never shared
// by two that run at the same time. The zero value is ready.
type Scratch struct {
	tile []float32 // (RowBlock, 2·NR)
}

// Panels computes the columns of the panels [p0, p1) for all rows. For a gated
// epilogue p0 and p1 are even. Disjoint ranges may run concurrently, each with a
// scratch of its own.
func (g *Product) Panels(p0, p1 int, s *Scratch) {
	g.check(p0, p1)
	for m0 := 0; m0 < g.M; m0 += RowBlock {
		gemm(g, m0, min(RowBlock, g.M-m0), p0, p1, s)
	}
}

// All computes the whole product.
func (g *Product) All(s *Scratch) { g.Panels(0, g.W.Len(), s) }

func (g *Product) check(p0, p1 int) {
	cols := p1 * NR
	if g.Epilogue.Gated() {
		cols /= 2
	}
	switch {
	case g.M == 0:
	case len(g.A) < (g.M-1)*g.LDA+g.W.K || g.LDA < g.W.K:
		panic(fmt.Sprintf("kernel: Product: A has %d elements, stride %d, want (%d, %d)", len(g.A), g.LDA, g.M, g.W.K))
	case len(g.C) < (g.M-1)*g.LDC+cols || g.LDC < cols:
		panic(fmt.Sprintf("kernel: Product: C has %d elements, stride %d, want (%d, %d)", len(g.C), g.LDC, g.M, cols))
	case p0 < 0 || p1 > g.W.Len() || g.Epilogue.Gated() && (p0%2 != 0 || p1%2 != 0):
		panic(fmt.Sprintf("kernel: Product: panels [%d, %d) of %d", p0, p1, g.W.Len()))
	case g.Bias != nil && len(g.Bias) < p1*NR:
		panic(fmt.Sprintf("kernel: Product: bias has %d elements, want %d", len(g.Bias), p1*NR))
	}
}

// MatMul computes C = A·P for float32 panels that the caller packed with
// [PackRows] or [PackCols]: the two products of attention.
//
// Shapes: C is (m, n·NR) with stride ldc; A is (m, k) with stride lda; panels
// are n of [≥k][NR], panel elements apart. Writes C.
func MatMul(c []float32, ldc int, a []float32, lda int, panels []float32, panel, m, k, n int) {
	for m0 := 0; m0 < m; m0 += RowBlock {
		rows := min(RowBlock, m-m0)
		for p := range n {
			tile(c[m0*ldc+p*NR:], ldc, a[m0*lda:], lda, panels[p*panel:], nil, rows, k, false)
		}
	}
}
