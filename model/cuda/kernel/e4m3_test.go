package kernel_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// eights are rows of e4m3 on a card.
type eights struct {
	at     kernel.Ptr
	row    int        // bytes
	scales kernel.Ptr // of weights
}

// value is what bits of e4m3 are.
func value(b byte) float64 {
	exp, m := int(b>>3&15), float64(b&7)
	v := math.Ldexp(1+m/8, exp-7)
	switch {
	case b&0x7f == 0x7f:
		return math.NaN()
	case exp == 0:
		v = math.Ldexp(m/8, -6)
	}
	return math.Copysign(v, 64-float64(b&0x80))
}

// quantize makes e4m3 of rows of a matrix, from one on, with the kernel, and puts what became of them
// in the place of its values.
func (x *matrix) quantize(t *testing.T, from, rows int) eights {
	size, width := kernel.E4M3Row(x.cols), kernel.E4M3Width(x.cols)
	b := make([]byte, (x.rows+spare)*size)
	for i := range b {
		b[i] = 0x7f // NaN
	}
	y := put(x.m, b)
	launch(x.m, "quantize_bf16", 2, kernel.Quantize{Y: y, X: x.at, Header: put(x.m, []int32{int32(from), 9, int32(rows)}), At: 2, From: 0,
		N: int32(x.cols), K: int32(width), LDY: int32(size), LDX: int32(x.ld)})
	b = get[byte](x.m, y, len(b))
	for r := range x.rows + spare {
		row := b[r*size:][:size]
		if r < from || r >= from+rows {
			require.Equal(t, strings.Repeat("\x7f", size), string(row), "row %d was written", r)
			continue
		}
		want, in := make([]byte, width), make([]float32, x.cols)
		for i, v := range x.v[r] {
			in[i] = float32(v)
		}
		scale := kernel.QuantizeE4M3(want, in)
		require.Equal(t, want, row[:width], "row %d", r)
		require.Equal(t, math.Float32bits(scale), binary.LittleEndian.Uint32(row[width:]), "scale of row %d", r)
		require.Equal(t, strings.Repeat("\x7f", 12), string(row[width+4:]), "row %d was written behind its scale", r)
		for i := range x.v[r] {
			x.v[r][i] = value(row[i]) * float64(scale)
		}
	}
	return eights{at: y, row: size}
}

// packed are the rows of a matrix as weights of e4m3.
func (x *matrix) packed() eights {
	width := kernel.E4M3Width(x.cols)
	b, scales := make([]byte, x.rows*width), make([]float32, x.rows)
	for r, row := range x.v {
		in := make([]float32, x.cols)
		for i, v := range row {
			in[i] = float32(v)
		}
		to := b[r*width:][:x.cols]
		scales[r] = kernel.QuantizeE4M3(to, in)
		for i := range row {
			row[i] = value(to[i]) * float64(scales[r])
		}
	}
	return eights{put(x.m, b), width, put(x.m, scales)}
}

// e4m3Args are the parameters of a product of e4m3 of rows of a, from one on.
func (p *product) e4m3Args(t *testing.T, k *kernel.Kernel, c *matrix, from, rows int) kernel.Product {
	a, w, width := p.a.quantize(t, from, rows), p.w.packed(), kernel.E4M3Width(p.a.cols)
	out := p.args(c)
	out.A, out.LDA, out.W, out.K, out.Scales = a.at, int32(a.row/2), w.at, int32(width/2), w.scales
	if strings.HasPrefix(k.Name, "wgmma_") {
		tensorMap := func(at kernel.Ptr, rows, ld, box int) kernel.Ptr {
			b, err := p.a.m.d.TensorMap(at, rows, width/2, ld, box)
			require.NoError(t, err)
			return put(p.a.m, b[:])
		}
		out.AMap, out.WMap = tensorMap(a.at, p.a.rows+spare, a.row/2, k.TileM), tensorMap(w.at, p.w.rows, width/2, k.TileN/k.Cluster)
		out.CMap = c.tensorMap(k.Box, 0)
		if p.r != nil {
			out.RMap = p.r.tensorMap(k.Box, spare)
		}
	}
	return out
}

// e4m3Error is what sums may be wrong by, as a share of what is added up: in the interpreter they are
// float32, tensor cores keep 13 bits of those of a part.
func e4m3Error() float64 {
	if cudatest.OnCard() {
		return 0x1p-11
	}
	return 2e-6
}

// A row becomes what packing makes of it, whatever it holds and lies beside.
func TestRowsAreQuantized(t *testing.T) {
	for _, cols := range []int{1, 7, 16, 100, 1030} {
		m := hopper(t, 1)
		x := m.matrix(bf16, 9, cols, cols+cols%3*8, func(r, c int) float64 {
			v := math.Sin(float64(r*cols + c + 1))
			switch r {
			case 2:
				v = 0
			case 3:
				v *= 1e-36 // below the least scale
			case 4:
				v *= 1e36
			case 5:
				if c == cols/2 {
					return math.NaN()
				}
			case 6:
				if c == cols/2 {
					return math.Inf(-1)
				}
			}
			return v
		})
		x.quantize(t, 1, 7)
	}
}

// Rows that hold no NaN, of zeros for example, are not touched by one that does.
func TestProductsOfE4M3(t *testing.T) {
	for i, s := range []shape{{3, 8, 8}, {63, 136, 72}, {130, 72, 300}} {
		for name, kernels := range map[string][]*kernel.Kernel{"wgmma": tiles("store_e4m3"), "mma": {kernel.Table["product_mma_e4m3"]}} {
			t.Run(fmt.Sprintf("%s %v", name, s), func(t *testing.T) {
				acts := []nn.Activation{nn.None, nn.GELU, nn.SiLU}
				everyE4M3(t, kernels, func(m *machine) (*product, *matrix) {
					a := m.random(bf16, s.m, s.k, s.k+8, 1).v
					p := &product{a: m.matrix(bf16, s.m, s.k, s.k+8, func(r, c int) float64 {
						switch {
						case r == 1:
							return 0
						case r == 2 && c == 3:
							return math.NaN()
						}
						return a[r][c]
					}), w: m.scaled(bf16, s.n, s.k, s.k, 2, 1.5/math.Sqrt(float64(s.k))), act: acts[i]}
					if i%2 == 1 {
						p.bias = m.random(f32, 1, s.n, s.n, 3)
					}
					return p, m.empty(bf16, s.m, s.n, s.n+8*(i%2))
				}, nil, func(p *product, c *matrix) {
					c.check(t, e4m3Error(), 1, func(row, col int) float64 { return activated(acts[i], p.sum(row, col)) })
				})
			})
		}
	}
}

// everyE4M3 runs all tiles of a product, checks them and compares bits.
func everyE4M3(t *testing.T, kernels []*kernel.Kernel, fresh func(*machine) (*product, *matrix), more func(*machine, *kernel.Product),
	check func(p *product, c *matrix)) {
	t.Helper()
	require.NotEmpty(t, kernels)
	var first *matrix
	for i, k := range kernels {
		m := hopper(t, uint64(i))
		p, c := fresh(m)
		a := p.e4m3Args(t, k, c, 0, p.a.rows)
		a.Header = put(m, []int32{7, int32(p.a.rows)})
		a.At = 1
		if more != nil {
			more(m, &a)
		}
		launch(m, k.Name, 2, a)
		check(p, c)
		if first == nil {
			first = c
		}
		same(t, first, 0, c, 0, c.rows)
	}
}

func TestProductsOfE4M3AreAddedToRows(t *testing.T) {
	for name, kernels := range map[string][]*kernel.Kernel{"wgmma": tiles("residual_e4m3"), "mma": {kernel.Table["product_mma_e4m3"]}} {
		t.Run(name, func(t *testing.T) {
			everyE4M3(t, kernels, func(m *machine) (*product, *matrix) {
				c := m.random(bf16, 70, 136, 144, 4)
				return &product{a: m.random(bf16, 70, 72, 72, 1), w: m.scaled(bf16, 136, 72, 72, 2, 0.1), bias: m.random(f32, 1, 136, 136, 3), r: c}, c
			}, nil, func(p *product, c *matrix) {
				c.check(t, 0x1p-9, 5, func(row, col int) float64 { return p.sum(row, col) + p.r.v[row][col] })
			})
		})
	}
}

func TestProductsOfE4M3WithGates(t *testing.T) {
	for name, kernels := range map[string][]*kernel.Kernel{"wgmma": tiles("gated_e4m3"), "mma": {kernel.Table["gated_mma_e4m3"]}} {
		t.Run(name, func(t *testing.T) {
			everyE4M3(t, kernels, func(m *machine) (*product, *matrix) {
				p := &product{a: m.random(bf16, 70, 72, 72, 1), w: m.scaled(bf16, 144, 72, 72, 2, 0.2), bias: m.random(f32, 1, 144, 144, 3), act: nn.SiLU}
				return p, m.empty(bf16, 70, 72, 80)
			}, nil, func(p *product, c *matrix) {
				c.check(t, e4m3Error(), 4, func(row, col int) float64 {
					gate := col/8*16 + col%8
					return activated(nn.SiLU, p.sum(row, gate)) * p.sum(row, gate+8)
				})
			})
		})
	}
}

// Heads are turned by a quarter, which leaves their halves exchanged.
func TestProductsOfE4M3TurnHeads(t *testing.T) {
	for _, d := range []int{64, 128} {
		t.Run(fmt.Sprintf("heads of %d", d), func(t *testing.T) {
			turn := make([]float32, d)
			for i := range d / 2 {
				turn[2*i+1] = 1 // no cosine, all sine
			}
			name := map[int]string{64: "heads64_e4m3", 128: "heads_e4m3"}[d]
			everyE4M3(t, tiles(name), func(m *machine) (*product, *matrix) {
				return &product{a: m.random(bf16, 5, 72, 72, 1), w: m.scaled(bf16, 3*d, 72, 72, 2, 0.2)}, m.empty(bf16, 5, 3*d, 3*d)
			}, func(m *machine, a *kernel.Product) {
				a.Pos, a.Turn, a.QHeads, a.KHeads = put(m, make([]int32, 5)), put(m, kernel.Turns(turn, d/2)), 1, 1
			}, func(p *product, c *matrix) {
				c.check(t, 5*e4m3Error(), 1, func(row, col int) float64 {
					switch h := col / d * d; {
					case h == 2*d:
						return p.sum(row, col)
					case col-h < d/2:
						return -p.sum(row, col+d/2)
					default:
						return p.sum(row, col-d/2)
					}
				})
			})
		})
	}
}

// An expert's rows are a part of a matrix: others' must stay as they are.
func TestProductsOfE4M3OfAPartOfTheRows(t *testing.T) {
	const first, rows, n, k = 5, 67, 144, 72
	for _, name := range []string{"wgmma_store_e4m3_64x1", "wgmma_residual_e4m3_128x1", "wgmma_gated_e4m3_128x1", "product_mma_e4m3", "gated_mma_e4m3"} {
		t.Run(name, func(t *testing.T) {
			m, kn := hopper(t, 1), kernel.Table[name]
			p := &product{a: m.random(bf16, first+rows+2, k, k, 1), w: m.scaled(bf16, n, k, k, 2, 0.1), act: nn.SiLU}
			cols, gated := n, strings.Contains(name, "gated")
			if gated {
				cols /= 2
			}
			c := m.matrix(bf16, first+rows+2, cols, cols, func(r, _ int) float64 { return float64(r) })
			if strings.Contains(name, "residual") {
				p.r, p.act = c, nn.None
			}
			a := p.e4m3Args(t, kn, c, first, rows)
			a.Header, a.At, a.From = put(m, []int32{0, first, 0, rows}), 3, 1
			launch(m, name, 2, a)
			c.check(t, 0x1p-8, 30, func(row, col int) float64 {
				switch {
				case row < first || row >= first+rows:
					return float64(row)
				case p.r != nil:
					return p.sum(row, col) + float64(row)
				case gated:
					gate := col/8*16 + col%8
					return act(p.act, p.sum(row, gate)) * p.sum(row, gate+8)
				}
				return act(p.act, p.sum(row, col))
			})
		})
	}
}

// What a row becomes depends on it alone.
func TestProductsOfE4M3OfRowsAlone(t *testing.T) {
	const rows, n, k = 130, 72, 200
	for _, name := range []string{"wgmma_store_e4m3_128x1", "product_mma_e4m3"} {
		m, kn := hopper(t, 1), kernel.Table[name]
		p := &product{a: m.random(bf16, rows, k, k, 1), w: m.random(bf16, n, k, k, 2)}
		v := m.random(bf16, rows, k, k, 1).v
		c := m.empty(bf16, rows, n, n)
		a := p.e4m3Args(t, kn, c, 0, rows)
		a.Header = put(m, []int32{rows})
		launch(m, name, 2, a)
		w := m.random(bf16, n, k, k, 2)
		for _, row := range []int{0, 77, 129} {
			one := m.empty(bf16, 1, n, n)
			q := &product{a: m.matrix(bf16, 1, k, k, func(_, c int) float64 { return v[row][c] }), w: w}
			b := q.e4m3Args(t, kn, one, 0, 1)
			b.Header, b.W, b.Scales = put(m, []int32{1}), a.W, a.Scales
			launch(m, name, 2, b)
			same(t, c, row, one, 0, 1)
		}
	}
	assert.Nil(t, kernel.Table["wgmma_store_e4m3_256x1"], "which has no registers for sums of parts")
}
