package kernel

import "fmt"

// RowBlock is the largest number of rows that panels pass by at a time: they stay
// in a core's second cache meanwhile.
const RowBlock = 112

// Epilogue says what becomes of the product y = A·Wᵀ + bias.
type Epilogue uint8

const (
	Store    Epilogue = iota // C = y
	Add                      // C += y, the residual connection
	GELU                     // C = y·Φ(y), the exact form with erf
	GELUTanh                 // C = y·½(1+tanh(√(2/π)(y+0.044715y³)))
	ReLU                     // C = max(y, 0)
	Tanh                     // C = tanh(y)
	// SiLUMul is the gated unit silu(g)·u. Panels alternate between gate and up
	// (see Panels of a gated layer): panel 2i holds the gate and 2i+1 the up
	// projection of the columns [i·NR, (i+1)·NR) of C.
	SiLUMul
	GELUTanhMul // as SiLUMul with GELUTanh for SiLU
	GELUMul     // as SiLUMul with GELU for SiLU
)

// Gated says whether the epilogue makes one column of two.
func (e Epilogue) Gated() bool { return e == SiLUMul || e == GELUTanhMul || e == GELUMul }

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

	// Before keeps y where the epilogue is an activation or gated, for its gradient: as C, but
	// (M, Pad(N)) when gated. Nil for nothing.
	Before   []float32
	LDBefore int
}

// Scratch is memory that a product works in: one for each worker, never shared
// by two that run at the same time. The zero value is ready.
type Scratch struct {
	tile   []float32 // (RowBlock, 2·NR): gate and up
	narrow []uint32  // (RowBlock, steps): activations as bfloat16, int8 or in three parts
	scale  []float32 // (RowBlock): of the int8 activations
	turned []float32 // (LeftBlock, steps): a left side by columns, where no tile takes it so
	matrix *matrix   // of products on a matrix unit
	kept   *kept     // of products that widen weights
}

// Panels computes the columns of the panels [p0, p1) for all rows. For a gated
// epilogue p0 and p1 are even. Disjoint ranges may run concurrently, each with a
// scratch of its own.
func (g *Product) Panels(p0, p1 int, s *Scratch) {
	g.check(p0, p1)
	rows := blockRows(g.W.DType, g.W.K)
	blocks := (g.M + rows - 1) / rows
	for b := range blocks {
		m0, m1 := b*g.M/blocks, (b+1)*g.M/blocks
		g.block(m0, m1-m0, p0, p1, s)
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
		panic(fmt.Sprintf("kernel: Product: A has %d elements, stride %d, want (%d, %d)", len(g.A),
			g.LDA, g.M, g.W.K))
	case len(g.C) < (g.M-1)*g.LDC+cols || g.LDC < cols:
		panic(fmt.Sprintf("kernel: Product: C has %d elements, stride %d, want (%d, %d)", len(g.C),
			g.LDC, g.M, cols))
	case p0 < 0 || p1 > g.W.Len() || g.Epilogue.Gated() && (p0%2 != 0 || p1%2 != 0):
		panic(fmt.Sprintf("kernel: Product: panels [%d, %d) of %d", p0, p1, g.W.Len()))
	case g.Before != nil && (len(g.Before) < (g.M-1)*g.LDBefore+p1*NR || g.LDBefore < p1*NR):
		panic(fmt.Sprintf("kernel: Product: Before has %d elements, stride %d, want (%d, %d)", len(g.Before),
			g.LDBefore, g.M, p1*NR))
	case g.Bias != nil && len(g.Bias) < p1*NR:
		panic(fmt.Sprintf("kernel: Product: bias has %d elements, want %d", len(g.Bias), p1*NR))
	}
}

// block computes rows [m0, m0+m) and panels [p0, p1), m ≤ RowBlock.
func (g *Product) block(m0, m, p0, p1 int, s *Scratch) {
	if p0 == p1 {
		return
	}
	x := g.operand(m0, m, s)
	if g.Epilogue == Store || g.Epilogue == Add {
		y := x.from(p0, p1-p0)
		y.mul(g.C[m0*g.LDC+p0*NR:], g.LDC, g.Epilogue == Add)
		return
	}
	group := tilePanels(m)
	if !g.Epilogue.Gated() {
		for p := p0; p < p1; p += group {
			n := min(group, p1-p)
			c := g.C[m0*g.LDC+p*NR:]
			y := x.from(p, n)
			if g.Before == nil {
				y.mul(c, g.LDC, false)
			} else {
				before := g.Before[m0*g.LDBefore+p*NR:]
				y.mul(before, g.LDBefore, false)
				for i := range m {
					copy(c[i*g.LDC:][:n*NR], before[i*g.LDBefore:])
				}
			}
			Activate(c, g.LDC, m, n*NR, g.Epilogue)
		}
		return
	}
	if s.tile == nil {
		s.tile = make([]float32, RowBlock*2*NR)
	}
	for p := p0; p < p1; p += group {
		n := min(group, p1-p)
		both, ld := s.tile, n*NR
		if g.Before != nil {
			both, ld = g.Before[m0*g.LDBefore+p*NR:], g.LDBefore
		}
		y := x.from(p, n)
		y.mul(both, ld, false)
		for i := 0; i < n; i += 2 {
			c := g.C[m0*g.LDC+(p+i)/2*NR:]
			Gate(c, g.LDC, both[i*NR:], ld, both[(i+1)*NR:], ld, m, NR, g.Epilogue)
		}
	}
}

// tilePanels returns the number of panels of m rows that fit Scratch.tile, 28 KB
// of a core's first cache: their epilogue runs before they leave it.
func tilePanels(m int) int { return max(2, min(RowBlock/m, 8)*2) }

// operand returns rows [m0, m0+m) of A in the format of W, and all panels.
func (g *Product) operand(m0, m int, s *Scratch) operand {
	w := g.W
	x := operand{
		dtype: w.DType, a: words(g.A[m0*g.LDA:]), lda: g.LDA, m: m, w: w.words(), n: w.Len(), bias: g.Bias,
	}
	x.begin(s, w.K)
	x.panel = x.k * NR
	if !converts(w.DType, w.K) {
		return x
	}
	x.narrow(s, w.K)
	if w.DType == Int8 {
		if s.scale == nil {
			s.scale = make([]float32, RowBlock)
		}
		x.scale, x.wscale, x.start = s.scale, w.Scale, w.Start
	}
	for i := range m {
		x.convert(i, g.A[(m0+i)*g.LDA:][:w.K])
	}
	return x
}
