package bestofn

import (
	"math"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/assert"
)

// subsets calls f with every subset of size n of 0..s−1.
func subsets(s, n int, f func(members []int)) {
	for mask := range 1 << s {
		if bits.OnesCount(uint(mask)) != n {
			continue
		}
		var in []int
		for i := range s {
			if mask>>i&1 == 1 {
				in = append(in, i)
			}
		}
		f(in)
	}
}

func TestSelectionIsTheMeanOverAllSubsets(t *testing.T) {
	values := []float64{0.3, -1, 2.5, 0.7, 0.1, -0.4, 1.1, 0.9}
	for name, rewards := range map[string][]float64{
		"without ties":     {0.5, -2, 1, 0.25, 3, -1, 0, 0.75},
		"with ties":        {1, 1, 0, 2, 2, 2, -1, 0},
		"of equal rewards": {1, 1, 1, 1, 1, 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; n <= len(rewards); n++ {
				sum, count := 0.0, 0
				subsets(len(rewards), n, func(in []int) {
					best := math.Inf(-1)
					for _, i := range in {
						best = max(best, rewards[i])
					}
					mean, ties := 0.0, 0
					for _, i := range in {
						if rewards[i] == best {
							mean += values[i]
							ties++
						}
					}
					sum += mean / float64(ties)
					count++
				})
				p := selection(rewards, n)
				assert.InDelta(t, sum/float64(count), expected(p, values), 1e-12, "best of %d", n)
				total := 0.0
				for _, q := range p {
					total += q
				}
				assert.InDelta(t, 1, total, 1e-12)
			}
		})
	}
}

func TestSelectionOfOneIsTheMeanAndOfAllTheBest(t *testing.T) {
	rewards := []float64{3, 1, 2}
	assert.InDeltaSlice(t, []float64{1. / 3, 1. / 3, 1. / 3}, selection(rewards, 1), 1e-15)
	assert.Equal(t, []float64{1, 0, 0}, selection(rewards, 3))
}

func TestRewardsThatAreNoNumbersAreTied(t *testing.T) {
	nan := math.NaN()
	assert.Equal(t, []float64{0, 0.25, 0, 0.75}, selection([]float64{nan, 1, nan, 2}, 3))
}

func TestBestOfKL(t *testing.T) {
	assert.Zero(t, bestOfKL(1))
	assert.InDelta(t, math.Log(256)-255./256, bestOfKL(256), 1e-15)
}
