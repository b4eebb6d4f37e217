//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel/amd64"
)

// eachMatrix runs f at level AMXFloat32: on the processor's matrix unit, where it has one, and
// by the interpreter.
func eachMatrix(t *testing.T, f func(t *testing.T)) {
	if cpuHas.level >= AMX {
		t.Run("processor", func(t *testing.T) {
			defer SetLevel(AMXFloat32)()
			f(t)
		})
	} else {
		t.Logf("no matrix unit: %v", hasTiles())
	}
	if interpreted != nil {
		t.Run("interpreter", func(t *testing.T) {
			defer interpreted(t)()
			f(t)
		})
	}
}

// matrixOperand returns an operand with exponents that are spread over so many, as its
// packed words.
func matrixOperand(r *rand.Rand, s *Scratch, m, k, n, spread int, bias bool) operand {
	value := func() uint32 {
		e := min(max(127-spread/2+r.IntN(spread), 0), 255)
		if spread < 250 {
			e = min(max(e, 1), 254)
		}
		return uint32(r.IntN(2)<<15 | e<<7 | r.IntN(128))
	}
	x := operand{dtype: BFloat16, m: m, n: n}
	x.narrow(s, 2*k)
	x.panel = x.k*NR + r.IntN(3)*16
	x.w = make([]uint32, x.n*x.panel)
	for i := range x.w {
		x.w[i] = value() | value()<<16
	}
	for i := range x.m {
		for k := range x.k {
			x.a[i*x.lda+k] = value() | value()<<16
		}
		clear(x.a[i*x.lda+x.k : (i+1)*x.lda])
	}
	if bias {
		x.bias = make([]float32, x.n*NR)
		for i := range x.bias {
			x.bias[i] = math.Float32frombits(value()<<16 | r.Uint32()&0xffff)
		}
	}
	return x
}

// TestMatrixTilesAreTheirSpecification compares bfloat16 tiles with their description
// bit for bit, over operands of any size: overflow, NaN and denormals included.
func TestMatrixTilesAreTheirSpecification(t *testing.T) {
	eachMatrix(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(12, 12))
		for n := range 400 {
			m, k, panels := 1+r.IntN(RowBlock), 1+r.IntN(100), 1+r.IntN(5)
			if n%10 == 0 {
				k += 12 * amxSteps // several ranges
			} else if n%10 == 1 {
				k = up(k, amxSteps)
			}
			var s Scratch
			x := matrixOperand(r, &s, m, k, panels, []int{1, 6, 40, 250}[n%4], n%2 == 0)
			ldc := x.n*NR + r.IntN(9)
			got := make([]float32, x.m*ldc)
			for i := range got {
				got[i] = r.Float32()
			}
			want := append([]float32(nil), got...)
			add := n%3 == 0
			x.mul(got, ldc, add)
			for p := range x.n {
				y := x.from(p, 1)
				tileBF16MatrixGeneric(want[p*NR:], ldc, &y, add)
			}
			sameBits(t, want, got, n)
		}
	})
}

// TestFloat32MatrixTilesAreTheirSpecification compares float32 tiles with their
// description, over operands of any size: what leaves NaN leaves some NaN.
func TestFloat32MatrixTilesAreTheirSpecification(t *testing.T) {
	eachMatrix(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(14, 14))
		for n := range 40 {
			m, k, panels := 1+r.IntN(40), 1+r.IntN(100), 1+r.IntN(3)
			switch n % 10 {
			case 0:
				m, k, panels = 1+r.IntN(20), k+amxPartsRange*splitBlock, 1 // several ranges
			case 1:
				m, k = RowBlock-r.IntN(3), up(k, splitBlock)
			}
			spread := []int{1, 6, 40, 250}[n%4]
			values := func(x []float32) {
				for i := range x {
					e := min(max(127-spread/2+r.IntN(spread), 0), 255)
					x[i] = math.Float32frombits(r.Uint32()&0x807fffff | uint32(e)<<23)
				}
			}
			lda, ldc, panel := k+r.IntN(9), panels*NR+r.IntN(9), k*NR+r.IntN(3)*16
			a, okA := walled(r, (m-1)*lda+k)
			w, okW := walled(r, (panels-1)*panel+k*NR)
			c, okC := walled(r, (m-1)*ldc+panels*NR)
			okLD := fuse(c, ldc, panels*NR)
			values(a)
			values(w)
			var bias []float32
			if n%2 == 0 {
				bias = make([]float32, panels*NR)
				values(bias)
			}
			want, add := append([]float32(nil), c...), n%3 == 0
			x := operand{a: words(a), lda: lda, m: m, k: k, n: panels, w: words(w), panel: panel, bias: bias}
			for p := range panels {
				y := x.from(p, 1)
				tileFloat32MatrixGeneric(want[p*NR:], ldc, &y, add)
			}
			tiles(c, ldc, a, lda, w, panel, bias, m, k, panels, add)
			require.True(t, okA() && okW() && okC() && okLD(), "guards of %d×%d×%d", m, k, panels)
			for i, v := range want {
				if v != v && i%ldc < panels*NR {
					require.True(t, c[i] != c[i], "element %d of %d×%d×%d", i, m, k, panels)
					want[i], c[i] = 0, 0
				}
			}
			sameBits(t, want, c, n)
		}
	})
}

// TestFloat32OfThreePartsIsCloserThanMultiplyAdds measures the error of products, as a
// share of the root mean square of their exact values, beside that of one ascending sum.
func TestFloat32OfThreePartsIsCloserThanMultiplyAdds(t *testing.T) {
	if cpuHas.level < AVX512 {
		t.Skip("the level has multiply-adds of avx512")
	}
	for _, k := range []int{384, 1024, 3072} {
		r := rand.New(rand.NewPCG(15, uint64(k)))
		p := newProblem(r, Float32, 16, k, NR, Store, false)
		for i := range p.weights {
			p.weights[i] = float32(r.NormFloat64())
		}
		p.W.Pack(0, p.weights)
		for i := range p.A {
			p.A[i] = float32(r.NormFloat64())
		}
		share := func() (rms, most float64) {
			p.All(&Scratch{})
			var size float64
			for i := range p.M {
				for j := range NR {
					want, _, _ := p.at(i, j)
					d := want - float64(p.C[i*p.LDC+j])
					rms, most, size = rms+d*d, max(most, math.Abs(d)), size+want*want
				}
			}
			size = math.Sqrt(size / float64(p.M*NR))
			return math.Sqrt(rms/float64(p.M*NR)) / size, most / size
		}
		restore := SetLevel(AVX512)
		before, beforeMost := share()
		restore()
		eachMatrix(t, func(t *testing.T) {
			rms, most := share()
			t.Logf("k %d: rms %.1e, most %.1e; multiply-adds %.1e, %.1e", k, rms, most, before, beforeMost)
			assert.Less(t, rms, 0.7*before)
		})
	}
}

// TestMatrixCallsAreBounded counts the products of tiles of each call.
func TestMatrixCallsAreBounded(t *testing.T) {
	if cpuHas.level < AVX512 {
		t.Skip("the conversions of level amx need avx512")
	}
	f := cpuHas
	f.level = AMXFloat32
	defer setFeatures(f)()
	run := runMatrix
	defer func() { runMatrix = run }()
	for _, c := range []struct{ m, k, n int }{
		{1, 32, 3}, {16, 1024, 128}, {RowBlock, 768, 96}, {RowBlock, 3072, 24}, {RowBlock, 4096, 400}, {33, 1000, 17},
		{RowBlock, 100000, 3}, {RowBlock, 262144, 2}, {40, 250001, 2},
	} {
		for _, d := range []DType{BFloat16, Float32} {
			at, s := 0, Scratch{}
			runMatrix = func(_ tileKind, a *amd64.AMXArgs) {
				tiles := a.K
				if a.Tail != nil {
					tiles++
				}
				least := blockProducts(d) * tiles // of a block and a panel
				bound := amxCallTiles
				if d == Float32 {
					bound = max(bound, least)
				}
				assert.LessOrEqual(t, least*up(a.M, amxBlock)/amxBlock*a.N, bound, "%v", c)
				if d == Float32 {
					assert.LessOrEqual(t, (a.KB+1)*3*amxSteps*NR, len(s.matrix.parts), "the parts' room")
				}
				at += a.M * a.N
			}
			x := operand{dtype: d, n: c.n}
			x.narrow(&s, c.k)
			x.m = min(c.m, blockRows(d, c.k))
			x.panel = 0 // every panel is the same
			x.w = make([]uint32, x.k*NR)
			x.mul(make([]float32, x.m*c.n*NR), c.n*NR, false)
			assert.Equal(t, x.m*c.n, at, "every row of every panel, once")
		}
	}
}

// TestMatrixUnit says what the processor and the system have of it.
func TestMatrixUnit(t *testing.T) {
	why := hasTiles()
	t.Logf("matrix unit: %v (nil: it can be used); level %v, best %v", why, Active(), cpuHas.level)
	if why == nil && cpuHas.bf16 && cpuHas.vnni {
		require.Equal(t, AMXFloat32, cpuHas.level)
	} else {
		require.Less(t, cpuHas.level, AMX)
	}
	if why != nil && cpuHas.level >= AVX2 {
		assert.Error(t, askForTiles(), "the system's own answer")
	}
	if cpuHas.level >= AVX2 {
		assert.NotZero(t, amd64.XCR0()&7, "the system saves the registers of AVX")
		highest, b, c, d := amd64.CPUID(0, 0)
		t.Logf("highest leaf %#x, made by %c%c%c%c...", highest, b&255, b>>8&255, b>>16&255, b>>24)
		assert.GreaterOrEqual(t, highest, uint32(0xd))
		assert.NotZero(t, c|d)
		_, size, _, _ := amd64.CPUID(0xd, 0)
		assert.GreaterOrEqual(t, size, uint32(512+64+256), "registers that a signal saves")
	}
}
