package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// softmaxOracle takes the differences to the maximum in float32, as specified.
func softmaxOracle(s []float32, lo, hi int, scale float32) []float64 {
	y := make([]float64, len(s))
	if lo >= hi {
		return y
	}
	m, sum := s[lo], 0.0
	for _, v := range s[lo:hi] {
		m = max(m, v)
	}
	for i := lo; i < hi; i++ {
		y[i] = math.Exp(float64(scale) * float64(s[i]-m))
		sum += y[i]
	}
	for i := lo; i < hi; i++ {
		y[i] /= sum
	}
	return y
}

func TestSoftmaxMatchesTheOracle(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		worst := 0.0
		for _, n := range lengths()[1:] {
			for k := range 12 {
				lo, hi := r.IntN(n+1), r.IntN(n+1)
				switch k {
				case 0:
					lo, hi = 0, n
				case 1:
					lo, hi = n, n
				case 2:
					lo, hi = n-1, n
				}
				lo, hi = min(lo, hi), max(lo, hi)
				s := newFenced(n, r.IntN(17))
				s.normal(r)
				for i := range s.s {
					s.s[i] *= 10
				}
				want := softmaxOracle(s.s, lo, hi, 0.7)
				Softmax(s.s, lo, hi, 0.7)
				s.check(t)
				for i, v := range s.s {
					if want[i] == 0 {
						require.Equal(t, float32(0), v, "element %d of [%d, %d) of %d", i, lo, hi, n)
						continue
					}
					e := math.Abs(float64(v)-want[i]) / want[i]
					worst = max(worst, e)
					// The exponential 2e-7, the sum and its inverse a few
					// units of 6e-8, the last product one.
					require.LessOrEqual(t, e, 6e-7, "element %d of [%d, %d) of %d: %g, want %g", i, lo, hi, n, v, want[i])
				}
			}
		}
		t.Logf("worst relative error %.2g", worst)
	})
}

// TestSoftmaxExponential measures the exponential alone: beside a maximum whose
// weight takes the whole sum, weights are exponentials.
func TestSoftmaxExponential(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		worst, at := 0.0, 0.0
		const steps = 1 << 18
		s := make([]float32, 16)
		for k := range steps {
			// From 18 on the sum is 1 to the last bit; 87.3 is 126·ln 2.
			x := float32(-18 - (87.3-18)*float64(k)/steps)
			for i := range s {
				s[i] = float32(math.Inf(-1))
			}
			s[k%15], s[15] = x, 0
			Softmax(s, 0, 16, 1)
			e := math.Abs(float64(s[k%15])/math.Exp(float64(x)) - 1)
			if e > worst {
				worst, at = e, float64(x)
			}
		}
		t.Logf("worst relative error of exp %.3g, at %g", worst, at)
		assert.LessOrEqual(t, worst, 2e-7)
		for _, x := range []float32{-87.4, -95, -104, -1e30, -math.MaxFloat32} {
			y := []float32{x, 0}
			Softmax(y, 0, 2, 1)
			assert.Equal(t, []float32{0, 1}, y, "exp(%g) is flushed", x)
		}
		y := []float32{3, 3, 3, 3}
		Softmax(y, 0, 4, 0.3)
		assert.Equal(t, []float32{0.25, 0.25, 0.25, 0.25}, y, "exp(0) is exactly 1")
	})
}

// TestSoftmaxOfBlocks says that the bits of a row depend on its elements in use
// and their indices mod 16 alone.
func TestSoftmaxOfBlocks(t *testing.T) {
	spans := map[string]Span{
		"all": {0, 70, 0, 0}, "causal": {-3, 20, 0, 1}, "window": {-20, 4, 1, 1}, "beyond": {60, 65, 3, 3}, "backwards": {30, 60, -1, -2}, "fixed": {17, 18, 0, 0},
	}
	for name, span := range spans {
		t.Run(name, func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				const rows, n, lds = 40, 70, 75
				r := rand.New(rand.NewPCG(2, 1))
				s := newFenced((rows-1)*lds+n, 5)
				s.normal(r)
				old := append([]float32(nil), s.s...)
				SoftmaxRows(s.s, lds, rows, n, span, 1.3)
				s.check(t)
				for i := range rows {
					lo := min(max(span.Lo+i*span.LoStep, 0), n)
					hi := min(max(span.Hi+i*span.HiStep, 0), n)
					want := append([]float32(nil), old[i*lds:][:n]...)
					Softmax(want, min(lo, hi), hi, 1.3)
					require.Equal(t, bits(want), bits(s.s[i*lds:][:n]), "row %d", i)
					if i < rows-1 {
						require.Equal(t, bits(old[i*lds+n:(i+1)*lds]), bits(s.s[i*lds+n:(i+1)*lds]), "between rows")
					}
					if lo >= hi {
						continue
					}
					// Without the blocks before and the columns after.
					from := lo &^ 15
					part := append([]float32(nil), old[i*lds+from:i*lds+hi]...)
					Softmax(part, lo-from, hi-from, 1.3)
					require.Equal(t, bits(want[from:hi]), bits(part), "row %d", i)
				}
			})
		})
	}
}

func TestSoftmaxOfSpecialValues(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachLevel(t, func(t *testing.T) {
		const n, lo, hi = 70, 5, 66
		s := make([]float32, n)
		r := rand.New(rand.NewPCG(3, 1))
		reset := func() {
			for i := range s {
				s[i] = float32(r.NormFloat64())
			}
		}
		for at := range n {
			for _, v := range []float32{nan, inf} {
				reset()
				s[at] = v
				Softmax(s, lo, hi, 1)
				for i, y := range s {
					switch {
					case i < lo || i >= hi:
						require.Equal(t, float32(0), y)
					case at < lo || at >= hi:
						require.False(t, y != y, "%g at %d is not in use", v, at)
					default:
						require.True(t, y != y, "%g at %d: element %d is %g", v, at, i, y)
					}
				}
			}
			reset()
			s[at] = -inf
			Softmax(s, lo, hi, 1)
			require.Equal(t, float32(0), s[at])
		}
		for i := range s {
			s[i] = -inf
		}
		Softmax(s, lo, hi, 1)
		require.Equal(t, float32(0), s[0])
		require.True(t, s[lo] != s[lo] && s[hi-1] != s[hi-1], "no weight is right where all are excluded")
		for i := range s {
			s[i] = math.MaxFloat32 * float32(1-2*(i%2))
		}
		Softmax(s, 0, 2, 1)
		require.Equal(t, []float32{1, 0, 0}, s[:3], "a difference of -Inf")
	})
}
