package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// sumsOf is how many columns sums of squares are of.
const sumsOf = 32

// squares puts the sums of squares of rows where products read them.
func (x *matrix) squares() kernel.Ptr {
	var out []float32
	for _, row := range x.v {
		for c := 0; c < x.cols; c += sumsOf {
			s := 0.0
			for _, v := range row[c : c+sumsOf] {
				s += v * v
			}
			out = append(out, float32(s))
		}
	}
	return put(x.m, out)
}

// norm is by what products multiply the results of a row.
func (x *matrix) norm(row int, eps float64) float64 {
	s := 0.0
	for _, v := range x.v[row] {
		s += v * v
	}
	return 1 / math.Sqrt(s/float64(x.cols)+eps)
}

// Rows of A are as long as what is multiplied with sums of squares says. Heads are turned by nothing.
func TestTensorProductsNormaliseRows(t *testing.T) {
	const n, k, eps = 144, 256, 0.5
	for i, rows := range []int{1, 140, 300} {
		t.Run(fmt.Sprintf("gated %d rows", rows), func(t *testing.T) {
			gated := func(sum func(int) float64, col int) float64 {
				gate := col/8*16 + col%8
				return activated(nn.SiLU, sum(gate)) * sum(gate+8)
			}
			testNormed(t, tiles("gated_normed"), uint64(i), rows, n, k, n/2, eps, nil, gated)
		})
	}
	for name, d := range map[string]int{"heads": 128, "heads64": 64} {
		t.Run(name, func(t *testing.T) {
			turn := make([]float32, d)
			for i := range d / 2 {
				turn[2*i] = 1
			}
			heads := func(m *machine, a *kernel.Product) {
				a.Pos, a.Turn = put(m, make([]int32, 130)), put(m, kernel.Turns(turn, d/2))
				a.QHeads, a.KHeads = 1, 1
			}
			testNormed(t, tiles(name+"_normed"), uint64(d), 130, 3*d, 128, 3*d, eps, heads,
				func(sum func(int) float64, col int) float64 { return sum(col) })
		})
	}
}

// testNormed runs all tiles of a product that divides its rows, and says what is of sums to come.
func testNormed(t *testing.T, kernels []*kernel.Kernel, seed uint64, rows, n, k, cols int, eps float64,
	more func(*machine, *kernel.Product), want func(sum func(col int) float64, col int) float64) {
	var p *product
	every(t, kernels, seed, rows, func(m *machine) (*product, *matrix) {
		p = &product{a: m.random(bf16, rows, k, k, 1), w: m.scaled(bf16, n, k, k, 2, 1.5/math.Sqrt(float64(k))),
			act: nn.SiLU, bias: m.random(f32, 1, n, n, 3)}
		return p, m.empty(bf16, rows, cols, cols)
	}, func(m *machine, a *kernel.Product) {
		a.Scales, a.Floor = p.a.squares(), float32(eps)
		if more != nil {
			more(m, a)
		}
	}, func(p *product, c *matrix) {
		c.check(t, 4e-6, 4, func(row, col int) float64 {
			norm := p.a.norm(row, eps)
			return want(func(col int) float64 {
				bias := p.bias.v[0][col]
				return (p.sum(row, col)-bias)*norm + bias
			}, col)
		})
	})
}

// What residual leaves of its results are the sums of their squares, equal ones in all tiles, which
// the kernel for rows of others leaves, too. The results are those of residual that leaves none.
func TestTensorProductsLeaveSumsOfSquares(t *testing.T) {
	const n, k = 384, 72
	for i, rows := range []int{1, 70, 300} {
		t.Run(fmt.Sprintf("%d rows", rows), func(t *testing.T) {
			run := func(kn *kernel.Kernel, seed uint64) (m *machine, c, sums *matrix, header kernel.Ptr) {
				m = hopper(t, seed)
				p := &product{a: m.random(bf16, rows, k, k, 1), w: m.random(bf16, n, k, k, 2)}
				c = m.random(bf16, rows, n, n+8, 4)
				p.r = c
				sums = m.empty(f32, rows, n/sumsOf, n/sumsOf)
				a := p.tensorArgs(kn, c)
				a.Header, a.Scales = put(m, []int32{int32(rows)}), sums.at
				launch(m, kn.Name, 2, a)
				return m, c, sums, a.Header
			}
			_, plain, _, _ := run(tiles("residual")[0], 9)
			var first *matrix
			for j, kn := range tiles("residual_normed") {
				m, c, sums, header := run(kn, uint64(i+j))
				same(t, plain, 0, c, 0, rows)
				if first != nil {
					same(t, first, 0, sums, 0, rows)
					continue
				}
				first = sums
				stored := c.all()
				of := func(row, col int) (s float64) {
					for _, v := range stored[row*c.ld+sumsOf*col:][:sumsOf] {
						s += v * v
					}
					return s
				}
				sums.check(t, 2e-6, 1, of)
				others := m.empty(f32, rows, n/sumsOf, n/sumsOf)
				launch(m, "squares_f32", 3, kernel.Rows{Y: others.at, X: c.at, LDX: int32(c.ld),
					LDY: int32(n / sumsOf), N: n, Header: header})
				others.check(t, 2e-6, 1, of)
			}
		})
	}
}
