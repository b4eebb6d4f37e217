package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAdamWHasTheSameBitsAtEveryLevel(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			rnd := rand.New(rand.NewPCG(3, 5))
			for _, n := range append(lengths()[1:], 384, 1000) {
				var got, want [4][]float32
				var fences [4]*fenced
				for i := range got {
					got[i], fences[i] = uniform(rnd, n)
					for j, v := range got[i] {
						if i == 3 { // a second moment is not negative
							got[i][j] = v * v
						}
					}
					want[i] = append([]float32(nil), got[i]...)
				}
				got[1][0], want[1][0] = 0, 0
				s := &AdamWStep{Keep: 0.9999, Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, Root: 0.0447, Eps: 1e-8, Step: 1e-3}
				s.Apply(got[0], got[1], got[2], got[3])
				adamWGeneric(want[0], want[1], want[2], want[3], s)
				for i, name := range []string{"weight", "gradient", "first moment", "second moment"} {
					require.Equal(t, want[i], got[i], "%s of %d", name, n)
					fences[i].check(t)
				}
			}
		})
	}
}

func TestAdamWKeepsWhatIsNotFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			s := &AdamWStep{Keep: 1, Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, Root: 1, Eps: 1e-8, Step: 1e-3}
			w, m, v := []float32{1, 1, 1}, make([]float32, 3), make([]float32, 3)
			s.Apply(w, []float32{nan, inf, 1}, m, v)
			assert.True(t, math.IsNaN(float64(w[0])), "a gradient that is no number spoils its weight: %v", w)
			assert.True(t, math.IsNaN(float64(w[1])), "and so does an infinite one: %v", w)
			assert.InDelta(t, 1-1e-3*0.1/math.Sqrt(0.001), w[2], 1e-6, "and no other") // one rounding of 1
		})
	}
}

func BenchmarkAdamW(b *testing.B) {
	const n = 1 << 15
	var x [4][]float32
	for i := range x {
		x[i] = make([]float32, n)
		for j := range x[i] {
			x[i][j] = float32(j%17) * 0.01
		}
	}
	s := &AdamWStep{Keep: 0.9999, Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, Root: 0.5, Eps: 1e-8, Step: 1e-9}
	for b.Loop() {
		s.Apply(x[0], x[1], x[2], x[3])
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gweights/s")
}
