package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
