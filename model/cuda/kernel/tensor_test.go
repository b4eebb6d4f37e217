package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
	"github.com/warmserve/warmserve/model/nn"
)

// scaled is a matrix of normal deviates times a factor.
func (m *machine) scaled(n numbers, rows, cols, ld int, seed uint64, by float64) *matrix {
	r := rand.New(rand.NewPCG(seed, 7))
	return m.matrix(n, rows, cols, ld, func(int, int) float64 { return by * r.NormFloat64() })
}

// hopper is a card of that generation, whose schedules a seed fixes.
func hopper(t *testing.T, seed uint64) *machine {
	if cudatest.OnCard() {
		return &machine{t, cudatest.NewDevice(t, 90)}
	}
	return &machine{t, ptx.NewDevice(seed, 2, 90)}
}

// tensorMap is of the rows of a matrix and of so many of the NaN behind it.
func (x *matrix) tensorMap(box, behind int) kernel.Ptr {
	b, err := x.m.d.TensorMap(x.at, x.rows+behind, x.cols, x.ld, box)
	require.NoError(x.m.t, err)
	return put(x.m, b[:])
}

// tensorArgs are the parameters that a product has with a kernel on tensor cores. behind
// is how many rows of NaN the engine's capacity adds.
func (p *product) tensorArgs(k *kernel.Kernel, c *matrix) kernel.Product {
	a := p.args(c)
	if strings.HasPrefix(k.Name, "wgmma_") {
		a.AMap, a.WMap, a.CMap = p.a.tensorMap(k.TileM, spare), p.w.tensorMap(k.TileN/k.Cluster, 0), c.tensorMap(k.Box, 0)
		if p.r != nil {
			a.RMap = p.r.tensorMap(k.Box, spare)
		}
	}
	return a
}

// tiles returns the kernels with an epilogue, all of which give the same bits.
func tiles(epilogue string) []*kernel.Kernel { return kernel.Tiles("wgmma_" + epilogue) }

// every runs all tiles of an epilogue, checks the first's results and compares bits. fresh
// makes the product on a new machine, because results may replace what they are added to.
func every(t *testing.T, kernels []*kernel.Kernel, seed uint64, rows int, fresh func(*machine) (*product, *matrix),
	more func(*machine, *kernel.Product), check func(p *product, c *matrix)) {
	t.Helper()
	var first *matrix
	for i, k := range kernels {
		m := hopper(t, seed+uint64(i))
		p, c := fresh(m)
		a := p.tensorArgs(k, c)
		a.Header = put(m, []int32{7, int32(rows)})
		a.At = 1
		if more != nil {
			more(m, &a)
		}
		launch(m, k.Name, []int{1, 2, 3, 5}[(seed+uint64(i))%4], a)
		if first == nil {
			first = c
			check(p, c)
		} else {
			same(t, first, 0, c, 0, rows)
		}
		if t.Failed() {
			t.Fatalf("%s", k.Name)
		}
	}
}

type shape struct{ m, n, k int }

// Rows that end within a warp's, a warpgroup's, a tile's; columns and K likewise.
var shapes = []shape{{1, 8, 8}, {63, 136, 72}, {129, 264, 40}, {300, 72, 200}}

func activated(a nn.Activation, x float64) float64 {
	switch a {
	case nn.GELUTanh:
		return x * 0.5 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case nn.ReLU:
		return max(x, 0)
	case nn.Tanh:
		return math.Tanh(x)
	}
	return act(a, x)
}

func TestTensorProducts(t *testing.T) {
	acts := []nn.Activation{nn.None, nn.GELU, nn.GELUTanh, nn.ReLU, nn.SiLU, nn.Tanh}
	for i, s := range shapes {
		for j, a := range acts {
			if a != nn.None && i != j%len(shapes) {
				continue
			}
			for name, kernels := range map[string][]*kernel.Kernel{"wgmma": tiles("store"), "mma": {kernel.Table["product_mma"]}} {
				t.Run(fmt.Sprintf("%s %v act %d", name, s, a), func(t *testing.T) {
					every(t, kernels, uint64(10*i+j), s.m, func(m *machine) (*product, *matrix) {
						p := &product{a: m.random(bf16, s.m, s.k, s.k+8, 1), w: m.scaled(bf16, s.n, s.k, s.k, 2, 1.5/math.Sqrt(float64(s.k))), act: a}
						if j%2 == 1 {
							p.bias = m.random(f32, 1, s.n, s.n, 3)
						}
						return p, m.empty(bf16, s.m, s.n, s.n+8*(i%2))
					}, nil, func(p *product, c *matrix) {
						c.check(t, 2e-6, 1, func(row, col int) float64 { return activated(a, p.sum(row, col)) })
					})
				})
			}
		}
	}
}

func TestTensorProductsAreAddedToRows(t *testing.T) {
	for i, s := range shapes {
		for name, kernels := range map[string][]*kernel.Kernel{"wgmma": tiles("residual"), "mma": {kernel.Table["product_mma"]}} {
			for _, in := range []string{"in place", "apart"} {
				t.Run(fmt.Sprintf("%s %v %s", name, s, in), func(t *testing.T) {
					every(t, kernels, uint64(i), s.m, func(m *machine) (*product, *matrix) {
						p := &product{a: m.random(bf16, s.m, s.k, s.k, 1), w: m.scaled(bf16, s.n, s.k, s.k, 2, 1/math.Sqrt(float64(s.k))), bias: m.random(f32, 1, s.n, s.n, 3)}
						c := m.random(bf16, s.m, s.n, s.n+8, 4)
						p.r = c
						if in == "apart" {
							p.r = m.random(bf16, s.m, s.n, s.n+16, 5)
							c = m.empty(bf16, s.m, s.n, s.n+8)
						}
						return p, c
					}, nil, func(p *product, c *matrix) {
						// The sum is rounded before it is added, and may lie near the middle of two numbers.
						c.check(t, 0x1p-9, 5, func(row, col int) float64 { return p.sum(row, col) + p.r.v[row][col] })
					})
				})
			}
		}
	}
}

func TestTensorProductsWithGates(t *testing.T) {
	for i, s := range []shape{{1, 16, 8}, {63, 144, 72}, {129, 272, 40}, {300, 80, 136}} {
		for _, a := range []nn.Activation{nn.SiLU, nn.GELU, nn.GELUTanh} {
			if a != nn.SiLU && i == 0 {
				continue
			}
			for name, kernels := range map[string][]*kernel.Kernel{"wgmma": tiles("gated"), "mma": {kernel.Table["gated_mma"]}} {
				t.Run(fmt.Sprintf("%s %v act %d", name, s, a), func(t *testing.T) {
					every(t, kernels, uint64(i), s.m, func(m *machine) (*product, *matrix) {
						p := &product{a: m.random(bf16, s.m, s.k, s.k, 1), w: m.scaled(bf16, s.n, s.k, s.k, 2, 1.5/math.Sqrt(float64(s.k))), act: a}
						if a != nn.SiLU {
							p.bias = m.random(f32, 1, s.n, s.n, 3)
						}
						return p, m.empty(bf16, s.m, s.n/2, s.n/2+8)
					}, nil, func(p *product, c *matrix) {
						c.check(t, 2e-6, 4, func(row, col int) float64 {
							gate := col/8*16 + col%8
							return activated(a, p.sum(row, gate)) * p.sum(row, gate+8)
						})
					})
				})
			}
		}
	}
}

// Two heads of queries, one of keys and two of values.
func TestTensorProductsTurnHeads(t *testing.T) {
	t.Run("heads of 128", func(t *testing.T) { testTurnedHeads(t, tiles("heads"), 128) })
	t.Run("heads of 64", func(t *testing.T) { testTurnedHeads(t, tiles("heads64"), 64) })
}

func testTurnedHeads(t *testing.T, kernels []*kernel.Kernel, d int) {
	const qheads, kheads, heads, positions, k = 2, 1, 5, 40, 72
	turn := make([]float32, positions*d)
	for i := range positions * d / 2 {
		sin, cos := math.Sincos(float64(2*i/d) * math.Pow(1e4, -float64(2*i%d)/float64(d)))
		turn[2*i], turn[2*i+1] = float32(cos), float32(sin)
	}
	for _, rows := range []int{1, 130} {
		for _, with := range []string{"norms", "bias", "neither"} {
			t.Run(fmt.Sprintf("%d rows, %s", rows, with), func(t *testing.T) {
				pos := make([]int32, rows)
				for i := range pos {
					pos[i] = int32(i * 7 % positions)
				}
				var qnorm, knorm *matrix
				every(t, kernels, uint64(rows), rows, func(m *machine) (*product, *matrix) {
					p := &product{a: m.random(bf16, rows, k, k, 1), w: m.scaled(bf16, heads*d, k, k, 2, 1/math.Sqrt(k))}
					if with == "bias" {
						p.bias = m.random(f32, 1, heads*d, heads*d, 3)
					}
					return p, m.empty(bf16, rows, heads*d, heads*d)
				}, func(m *machine, a *kernel.Product) {
					a.Pos, a.Turn, a.QHeads, a.KHeads, a.Eps = put(m, pos), put(m, kernel.Turns(turn, d/2)), qheads, kheads, 1e-6
					if with == "norms" {
						qnorm, knorm = m.random(f32, 1, d, d, 5), m.random(f32, 1, d, d, 6)
						a.QNorm, a.KNorm = qnorm.at, knorm.at
					}
				}, func(p *product, c *matrix) {
					head := make([]float64, d)
					done := -1
					c.check(t, 1e-3, 1, func(row, col int) float64 { // angles are float16
						h := col / d
						if h >= qheads+kheads {
							return p.sum(row, col)
						}
						if done != row*heads+h {
							done = row*heads + h
							squares := 0.0
							for i := range head {
								head[i] = p.sum(row, h*d+i)
								squares += head[i] * head[i]
							}
							norm := qnorm
							if h >= qheads {
								norm = knorm
							}
							for i := range head {
								if norm != nil {
									head[i] *= norm.v[0][i] / math.Sqrt(squares/float64(d)+1e-6)
								}
							}
						}
						i := col % (d / 2)
						cos, sin := float64(turn[int(pos[row])*d+2*i]), float64(turn[int(pos[row])*d+2*i+1])
						if col%d < d/2 {
							return head[i]*cos - head[i+d/2]*sin
						}
						return head[i+d/2]*cos + head[i]*sin
					})
				})
			})
		}
	}
}

// An expert's rows are a part of a matrix: others' must stay as they are.
func TestTensorProductsOfAPartOfTheRows(t *testing.T) {
	const first, n, k = 5, 144, 72
	for _, rows := range []int{0, 1, 70, 200} {
		for _, epilogue := range []string{"store", "residual", "gated", "mma", "gated mma"} {
			kernels := tiles(epilogue)
			switch epilogue {
			case "mma":
				kernels = []*kernel.Kernel{kernel.Table["product_mma"]}
			case "gated mma":
				kernels = []*kernel.Kernel{kernel.Table["gated_mma"]}
			}
			for i, kn := range kernels {
				t.Run(fmt.Sprintf("%s %d rows", kn.Name, rows), func(t *testing.T) {
					m := hopper(t, uint64(i))
					v := m.random(bf16, rows+1, k, k, 1).v
					a := m.matrix(bf16, first+rows+100, k, k, func(r, c int) float64 {
						if r < first || r >= first+rows {
							return math.NaN()
						}
						return v[r-first][c]
					})
					cols := n
					if strings.HasPrefix(epilogue, "gated") {
						cols /= 2
					}
					p := &product{a: a, w: m.random(bf16, n, k, k, 2), act: nn.SiLU}
					c := m.matrix(bf16, first+rows+100, cols, cols, func(r, c int) float64 { return float64(r % 50) })
					if epilogue == "residual" {
						p.r, p.act = c, nn.None
					}
					x := p.tensorArgs(kn, c)
					x.Header, x.At, x.From = put(m, []int32{0, first, 0, int32(rows)}), 3, 1
					launch(m, kn.Name, 2, x)
					c.check(t, 0x1p-8, 30, func(row, col int) float64 {
						if row < first || row >= first+rows {
							return c.v[row][col]
						}
						switch {
						case epilogue == "residual":
							return p.sum(row, col) + float64(row%50)
						case cols == n:
							return act(p.act, p.sum(row, col))
						}
						gate := col/8*16 + col%8
						return act(p.act, p.sum(row, gate)) * p.sum(row, gate+8)
					})
				})
			}
		}
	}
}

// What a row becomes depends on it alone.
func TestTensorProductsOfRowsAlone(t *testing.T) {
	const rows, n, k = 150, 72, 136
	for _, name := range []string{"wgmma_store_256x2", "wgmma_store_128x1", "wgmma_store_n32", "product_mma"} {
		m := hopper(t, 1)
		p := &product{a: m.random(bf16, rows, k, k, 1), w: m.random(bf16, n, k, k, 2)}
		c := m.empty(bf16, rows, n, n)
		kn := kernel.Table[name]
		a := p.tensorArgs(kn, c)
		a.Header = put(m, []int32{rows})
		launch(m, name, 2, a)
		for _, row := range []int{0, 77, 149} {
			one := m.empty(bf16, 1, n, n)
			q := &product{a: m.matrix(bf16, 1, k, k, func(_, c int) float64 { return p.a.v[row][c] }), w: p.w}
			b := q.tensorArgs(kn, one)
			b.Header = put(m, []int32{1})
			launch(m, name, 2, b)
			same(t, c, row, one, 0, 1)
		}
	}
}

func TestHeadTurnsAreHalves(t *testing.T) {
	for f, want := range map[float32]uint16{0: 0, 1: 0x3c00, -1: 0xbc00, 0.5: 0x3800, 65504: 0x7bff, 65520: 0x7c00, 0x1p-14: 0x0400, 0x1p-24: 1,
		0x1p-25: 0, 0x1.8p-24: 2, 1 + 0x1p-11: 0x3c00, 1 + 0x3p-11: 0x3c02, 0x1.ffep-15: 0x0400} {
		require.Equal(t, want, kernel.Turns(append([]float32{f}, make([]float32, 63)...), 32)[0], "%v", f)
	}
}
