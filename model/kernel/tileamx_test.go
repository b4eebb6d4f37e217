package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestMatrixOrderOfSums holds the specification of the matrix unit's bfloat16 to what
// the manual says, in cases that another order or rounding would change.
func TestMatrixOrderOfSums(t *testing.T) {
	const tiny = 0x1p-12 // tiny·tiny is half a unit in the last place of 1
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		name string
		a, w map[int]float32 // by k
		k    int
		bias float32
		want float32
	}{
		{"even and odd k have sums of their own", map[int]float32{0: 1, 1: tiny, 3: tiny}, map[int]float32{0: 1, 1: tiny, 3: tiny}, 4, 0, 1 + 0x1p-23},
		{"a sum of even k is rounded at each step", map[int]float32{0: 1, 2: tiny, 4: tiny}, map[int]float32{0: 1, 2: tiny, 4: tiny}, 6, 0, 1},
		{"the element is added once in 32 k", map[int]float32{0: tiny, 31: tiny}, map[int]float32{0: tiny, 31: tiny}, 32, 1, 1 + 0x1p-23},
		{"and again in the next", map[int]float32{0: tiny, 32: tiny}, map[int]float32{0: tiny, 32: tiny}, 64, 1, 1},
		{"a denormal product is zero", map[int]float32{0: 0x1p-80}, map[int]float32{0: 0x1p-60}, 1, 0, 0},
		{"a denormal operand is zero", map[int]float32{0: 0x1p-130}, map[int]float32{0: 0x1p100}, 1, 3, 3},
		{"a denormal element is zero", nil, nil, 2, 0x1p-130, 0},
		{"an infinity stays", map[int]float32{5: inf}, map[int]float32{5: 2}, 6, 1, inf},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := operand{dtype: BFloat16, m: 1, k: steps(BFloat16, c.k), n: 1, words: 1}
			x.lda, x.panel = x.k, x.k*NR
			x.a, x.w = make([]uint32, x.k), make([]uint32, x.panel)
			for k, v := range c.a {
				x.a[k/2] |= math.Float32bits(v) >> 16 << (k % 2 * 16)
				x.w[k/2*NR+9] |= math.Float32bits(c.w[k]) >> 16 << (k % 2 * 16)
			}
			x.bias = make([]float32, NR)
			x.bias[9] = c.bias
			got := make([]float32, NR)
			tileBF16MatrixGeneric(got, NR, &x, false)
			assert.Equal(t, c.want, got[9])
		})
	}
}

// TestMatrixSpecificationAgreesWithFloat64: one rounding of a sum a value, as in any
// other order.
func TestMatrixSpecificationAgreesWithFloat64(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 50 {
		m, k := 1+r.IntN(5), 1+r.IntN(150)
		p := newProblem(r, BFloat16, m, k, NR, Add, true)
		x := operand{dtype: BFloat16, m: m, k: steps(BFloat16, k), n: 1, words: 1, w: p.W.words(), bias: p.Bias}
		x.lda, x.panel = x.k, x.k*NR
		x.a = make([]uint32, m*x.k)
		for i := range m {
			row := p.A[i*p.LDA:][:k]
			bf16RowGeneric(x.a[i*x.k:][:x.k], row)
			for j, v := range row { // for the oracle
				row[j] = bf16Value(v)
			}
		}
		tileBF16MatrixGeneric(p.C, p.LDC, &x, true)
		for i := range m {
			for j := range NR {
				want, abs, _ := p.at(i, j)
				before := float64(p.before[i*p.LDC+j])
				within(t, want+before, p.C[i*p.LDC+j], sumBound(k, abs+math.Abs(before)), "[%d %d] of %d×%d", i, j, m, k)
			}
		}
	}
}
