package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fence surrounds the slices that kernels write in tests: a NaN, so that a read
// shows in the result and a write in the fence.
const fence = 0x7fc0dead

// fenced is a slice between fence words.
type fenced struct {
	s   []float32
	all []float32
	at  int
}

// newFenced returns n zeros that begin offset elements into an allocation.
func newFenced(n, offset int) *fenced {
	g := &fenced{all: make([]float32, 32+offset+n+32), at: 32 + offset}
	for i := range g.all {
		g.all[i] = math.Float32frombits(fence)
	}
	g.s = g.all[g.at : g.at+n : g.at+n]
	clear(g.s)
	return g
}

func (g *fenced) normal(r *rand.Rand) {
	for i := range g.s {
		g.s[i] = float32(r.NormFloat64())
	}
}

func (g *fenced) check(t *testing.T) {
	t.Helper()
	for i, v := range g.all {
		if i < g.at || i >= g.at+len(g.s) {
			require.Equal(t, uint32(fence), math.Float32bits(v), "fence word %d of a slice at [%d, %d)", i, g.at, g.at+len(g.s))
		}
	}
}

func bits(x []float32) []uint32 {
	u := make([]uint32, len(x))
	for i, v := range x {
		u[i] = math.Float32bits(v)
	}
	return u
}

func TestAddTo(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		for n := range 132 {
			dst, x := newFenced(n, n%13), newFenced(n, n%5)
			dst.normal(r)
			x.normal(r)
			sum, scaled := make([]float32, n), make([]float64, n)
			for i := range sum {
				sum[i] = dst.s[i] + x.s[i]
				scaled[i] = float64(sum[i]) + 0.1*float64(x.s[i])
			}
			AddTo(dst.s, x.s)
			require.Equal(t, bits(sum), bits(dst.s), "length %d", n)
			AddScaled(dst.s, 0.1, x.s)
			for i := range scaled {
				// One or two roundings of a number below 8.
				require.InDelta(t, scaled[i], dst.s[i], 1e-6)
			}
			dst.check(t)
			x.check(t)
		}
	})
	t.Run("a slice longer than one call is added whole", func(t *testing.T) {
		eachLevel(t, func(t *testing.T) {
			n := 2*callElements + 3
			dst, x := make([]float32, n), make([]float32, n)
			for i := range x {
				x[i] = float32(i)
			}
			AddTo(dst, x)
			require.Equal(t, x, dst)
		})
	})
	assert.Panics(t, func() { AddTo(make([]float32, 3), make([]float32, 4)) })
}

func TestDot(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(2, 1))
		for _, n := range append(lengths(), 384, 4096) {
			a, b := newFenced(n, n%7), newFenced(n, n%3)
			a.normal(r)
			b.normal(r)
			var want, size float64
			for i, v := range a.s {
				want += float64(v) * float64(b.s[i])
				size += math.Abs(float64(v) * float64(b.s[i]))
			}
			// Each lane adds n/64 products, the tree six sums.
			require.InDelta(t, want, Dot(a.s, b.s), (float64(n)/64+7)*0x1p-24*size, "length %d", n)
			require.Equal(t, math.Float32bits(Dot(a.s, b.s)), math.Float32bits(Dot(append([]float32(nil), a.s...), b.s)))
		}
	})
}

// lengths are those at which a kernel takes another path: up to two turns of the
// widest loop and one more.
func lengths() []int {
	var n []int
	for i := range 130 {
		n = append(n, i)
	}
	return append(n, 255, 256, 257)
}

func TestBF16(t *testing.T) {
	t.Run("rounds to nearest even", func(t *testing.T) {
		for _, c := range []struct{ in, out uint32 }{
			{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82},
			{0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0xffc12345, 0xffc1},
			{0x00000001, 0}, {0x00008001, 1}, {0x80012345, 0x8001}, {0, 0}, {0x80000000, 0x8000},
		} {
			eachLevel(t, func(t *testing.T) {
				for _, n := range []int{1, 16, 33} {
					x, y := make([]float32, n), make([]uint16, n)
					for i := range x {
						x[i] = math.Float32frombits(c.in)
					}
					RoundBF16(y, x)
					for i := range y {
						require.Equal(t, uint16(c.out), y[i], "%08x", c.in)
					}
				}
			})
		}
	})
	t.Run("all levels agree to the bit and widening undoes rounding", func(t *testing.T) {
		eachLevel(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 1))
			for n := range 132 {
				x := newFenced(n, n%9)
				for i := range x.s {
					x.s[i] = math.Float32frombits(r.Uint32())
				}
				y, want := make([]uint16, n+1), make([]uint16, n)
				y[n] = 0xdead
				roundBF16(want, x.s)
				RoundBF16(y[:n], x.s)
				require.Equal(t, want, y[:n])
				require.Equal(t, uint16(0xdead), y[n])
				WidenBF16(x.s, want)
				x.check(t)
				RoundBF16(y[:n], x.s)
				require.Equal(t, want, y[:n])
			}
		})
	})
}
