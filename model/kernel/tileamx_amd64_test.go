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

// eachMatrix runs f at level AMX: on the processor's matrix unit, where it has one, and
// by the interpreter.
func eachMatrix(t *testing.T, f func(t *testing.T)) {
	if cpuHas.level >= AMX {
		t.Run("processor", func(t *testing.T) {
			defer SetLevel(AMX)()
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

// TestMatrixCallsAreBounded counts the products of tiles of each call.
func TestMatrixCallsAreBounded(t *testing.T) {
	if cpuHas.level < AVX512 {
		t.Skip("the conversions of level amx need avx512")
	}
	f := cpuHas
	f.level = AMX
	defer setFeatures(f)()
	run := runMatrix
	defer func() { runMatrix = run }()
	for _, c := range []struct{ m, k, n int }{
		{1, 32, 3}, {16, 1024, 128}, {RowBlock, 768, 96}, {RowBlock, 3072, 24}, {RowBlock, 4096, 400}, {33, 1000, 17},
		{RowBlock, 100000, 3}, {RowBlock, 262144, 2}, {40, 250001, 2},
	} {
		at := 0
		runMatrix = func(_ tileKind, a *amd64.AMXArgs) {
			tiles := a.K
			if a.Tail != nil {
				tiles++
			}
			assert.LessOrEqual(t, 4*tiles*up(a.M, amxBlock)/amxBlock*a.N, amxCallTiles, "%v", c)
			at += a.M * a.N
		}
		x := operand{dtype: BFloat16, m: c.m, n: c.n}
		x.narrow(&Scratch{}, c.k)
		x.panel = 0 // every panel is the same
		x.w = make([]uint32, x.k*NR)
		x.mul(make([]float32, c.m*c.n*NR), c.n*NR, false)
		assert.Equal(t, c.m*c.n, at, "every row of every panel, once")
	}
}

// TestMatrixUnit says what the processor and the system have of it.
func TestMatrixUnit(t *testing.T) {
	why := hasTiles()
	t.Logf("matrix unit: %v (nil: it can be used); level %v, best %v", why, Active(), cpuHas.level)
	if why == nil && cpuHas.bf16 && cpuHas.vnni {
		require.Equal(t, AMX, cpuHas.level)
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
