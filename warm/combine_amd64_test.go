//go:build amd64 && !noasm

package warm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAssemblyEqualsTheSpecification(t *testing.T) {
	for i := range vectorLevels {
		l := &vectorLevels[i]
		t.Run(l.name, func(t *testing.T) {
			if !l.ok {
				t.Skip("this processor has no " + l.name)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for _, members := range []int{1, 2, 3, 6, 17} {
				for n := range 2*l.step + 2 {
					columns := make([][]float32, members)
					coefs := make([]float64, members)
					for k := range columns {
						buf := make([]float32, n+k%4) // Every alignment of a float32.
						columns[k] = buf[k%4:]
						for j := range columns[k] {
							columns[k][j] = oddFloat(rng)
						}
						coefs[k] = rng.NormFloat64()
						if n%2 == 0 {
							coefs[k] = 1
						}
					}
					divisor := float64(1 + n%7)
					guarded := make([]float32, n+2)
					guarded[0], guarded[n+1] = 42, 42
					got := guarded[1 : n+1]
					done := l.combine(got, columns, coefs, divisor)
					require.Equal(t, n/l.step*l.step, done)
					combineGeneric(got, columns, coefs, divisor, done)
					want := make([]float32, n)
					combineGeneric(want, columns, coefs, divisor, 0)
					for j := range want {
						if want[j] != want[j] {
							require.True(t, got[j] != got[j], "members %d, n %d, element %d: %v, want NaN", members, n, j, got[j])
							continue
						}
						require.Equal(t, math.Float32bits(want[j]), math.Float32bits(got[j]), "members %d, n %d, element %d", members, n, j)
					}
					require.Equal(t, float32(42), guarded[0])
					require.Equal(t, float32(42), guarded[n+1])
				}
			}
		})
	}
}

// oddFloat draws a float32 of any kind: mostly normal, sometimes −0, subnormal, infinite or NaN.
func oddFloat(rng *rand.Rand) float32 {
	switch rng.IntN(16) {
	case 0:
		return math.Float32frombits(0x80000000)
	case 1:
		return math.Float32frombits(rng.Uint32() & 0x807fffff)
	case 2:
		return float32(math.Inf(1 - 2*rng.IntN(2)))
	case 3:
		return math.Float32frombits(rng.Uint32())
	}
	return float32(rng.NormFloat64() * 0.02)
}
