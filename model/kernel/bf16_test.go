package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

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
				roundBF16Generic(want, x.s)
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
