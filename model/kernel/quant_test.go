package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestQuantRowIsItsSpecification: bytes, fill and sum, of any length, with ties and NaN.
func TestQuantRowIsItsSpecification(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 1))
		for n := 1; n <= 140; n++ {
			x := newFenced(n, n%9)
			for i := range x.s {
				x.s[i] = float32(r.IntN(509)-254) / 2 // every other one is a tie
			}
			if n%3 == 0 {
				x.s[r.IntN(n)] = float32(math.NaN())
			}
			for _, zero := range []int32{0, quantZero} {
				got, want := make([]uint8, n+40), make([]uint8, n+40)
				for i := range got {
					got[i], want[i] = 0x55, 0x55
				}
				sum := quantRowGeneric(want, x.s, 1, zero)
				require.Equal(t, sum, quantRow(got, x.s, 1, zero), "%d values", n)
				require.Equal(t, want, got, "%d values", n)
			}
			x.check(t)
		}
	})
}
