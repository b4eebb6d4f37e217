package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// simt are the names of the products without tensor cores.
var simt = map[string]string{"product f32": "product_f32", "gated f32": "gated_f32",
	"product bf16": "product_bf16_simt", "gated bf16": "gated_bf16_simt"}

// A product is what a test multiplies.
type product struct {
	a, w, bias, r *matrix
	act           nn.Activation
}

func (p *product) sum(row, col int) float64 {
	s := 0.0
	for i, v := range p.a.v[row] {
		s += v * p.w.v[col][i]
	}
	if p.bias != nil {
		s += p.bias.v[0][col]
	}
	return s
}

// args are the parameters that it has with results in c.
func (p *product) args(c *matrix) kernel.Product {
	a := kernel.Product{A: p.a.at, LDA: int32(p.a.ld), W: p.w.at, C: c.at, LDC: int32(c.ld), From: -1,
		N: int32(p.w.rows), K: int32(p.w.cols), Act: int32(p.act)}
	if p.bias != nil {
		a.Bias = p.bias.at
	}
	if p.r != nil {
		a.R, a.LDR = p.r.at, int32(p.r.ld)
	}
	return a
}

func act(a nn.Activation, x float64) float64 {
	switch a {
	case nn.SiLU:
		return x / (1 + math.Exp(-x))
	case nn.GELU:
		return x * 0.5 * math.Erfc(-x/math.Sqrt2)
	}
	return x
}

func TestProductsOfAnyShape(t *testing.T) {
	for _, n := range formats {
		for _, s := range []struct{ m, n, k, lda, ldc, grid int }{
			{1, 1, 1, 1, 1, 1}, {1, 64, 16, 16, 64, 1}, {5, 3, 7, 9, 4, 1}, {70, 66, 33, 40, 70, 3}, {64, 130, 24, 24, 130, 2}, {3, 20, 1500, 1504, 20, 1},
		} {
			for _, with := range []string{"nothing", "bias and GELU", "bias, added in place", "added"} {
				t.Run(fmt.Sprintf("%s %dx%dx%d %s", n.name, s.m, s.n, s.k, with), func(t *testing.T) {
					m := newMachine(t)
					p := &product{a: m.random(n, s.m, s.k, s.lda, 1), w: m.random(n, s.n, s.k, s.k, 2)}
					c := m.empty(n, s.m, s.n, s.ldc)
					switch with {
					case "bias and GELU":
						p.act, p.bias = nn.GELU, m.random(f32, 1, s.n, s.n, 3)
					case "bias, added in place":
						c = m.random(n, s.m, s.n, s.ldc, 4)
						p.r, p.bias = c, m.random(f32, 1, s.n, s.n, 3)
					case "added":
						p.r = m.random(n, s.m, s.n, s.ldc+3, 4)
					}
					a := p.args(c)
					a.Header = put(m, []int32{int32(s.m)})
					launch(m, simt["product "+n.name], s.grid, a)
					c.check(t, 3e-7, 2*math.Sqrt(float64(s.k)), func(row, col int) float64 {
						v := act(p.act, p.sum(row, col))
						if p.r != nil {
							v = n.round(v) + p.r.v[row][col]
						}
						return v
					})
				})
			}
		}
	}
}

func TestGatedProductsOfAnyWidth(t *testing.T) {
	for _, n := range formats {
		for _, s := range []struct{ m, f, k, grid int }{{1, 1, 1, 1}, {66, 8, 16, 1}, {5, 13, 20, 2}, {3, 45, 9, 3}, {2, 71, 8, 1}} {
			for _, biased := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %dx%dx%d bias %t", n.name, s.m, s.f, s.k, biased), func(t *testing.T) {
					m := newMachine(t)
					p := &product{a: m.random(n, s.m, s.k, s.k+2, 1), w: m.random(n, 2*s.f, s.k, s.k, 2), act: nn.SiLU}
					if biased {
						p.bias = m.random(f32, 1, 2*s.f, 2*s.f, 3)
					}
					c := m.empty(n, s.m, s.f, s.f+1)
					a := p.args(c)
					a.Header = put(m, []int32{int32(s.m)})
					launch(m, simt["gated "+n.name], s.grid, a)
					c.check(t, 1e-6, float64(s.k), func(row, col int) float64 {
						group := col / 8 * 8
						size := min(8, s.f-group)
						gate := 2*group + col - group
						return act(nn.SiLU, p.sum(row, gate)) * p.sum(row, gate+size)
					})
				})
			}
		}
	}
}

// The rows of an expert are a part of a matrix; those of others hold NaN.
func TestProductsOfAPartOfTheRows(t *testing.T) {
	for _, n := range formats {
		for _, kind := range []string{"product ", "gated "} {
			t.Run(kind+n.name, func(t *testing.T) {
				const first, rows, cols, k = 5, 67, 16, 24
				m := newMachine(t)
				part := func(seed uint64, cols int) *matrix {
					v := m.random(n, rows, cols, cols, seed).v
					return m.matrix(n, first+rows, cols, cols, func(r, c int) float64 {
						if r < first {
							return math.NaN()
						}
						return v[r-first][c]
					})
				}
				width := cols
				if kind == "gated " {
					width /= 2
				}
				p := &product{a: part(1, k), w: m.random(n, cols, k, k, 2), act: nn.SiLU}
				c := m.empty(n, first+rows, width, width)
				a := p.args(c)
				a.Header, a.At, a.From = put(m, []int32{0, first, 0, rows}), 3, 1
				launch(m, simt[kind+n.name], 2, a)
				all, whole := c.all(), m.empty(n, rows, width, width)
				for i, v := range all[:first*width] {
					if v == v {
						t.Fatalf("value %d before the first row: written", i)
					}
				}
				b := p.args(whole)
				b.A, b.Header = p.a.row(first), put(m, []int32{rows})
				launch(m, simt[kind+n.name], 1, b)
				same(t, c, first, whole, 0, rows)
				b.C, b.A, b.Header = whole.row(1), p.a.row(first+rows-1), put(m, []int32{1})
				launch(m, simt[kind+n.name], 1, b)
				same(t, c, first+rows-1, whole, 1, 1)
			})
		}
	}
}
