package cpu

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/nn"
)

func TestTheLargestAreThoseOfASort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		p := make([]float32, 1+r.IntN(40))
		for i := range p {
			p[i] = float32(r.IntN(8)) // with many ties
		}
		order := make([]int32, len(p))
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(p[b], p[a]) })
		n := 1 + r.IntN(len(p))
		want := slices.Sorted(slices.Values(order[:n]))
		got := make([]int32, n)
		largest(got, p)
		require.Equal(t, want, got, "%d of %v", n, p)
	}
}

// TestExpertsAreFoundOfWhatIsNoNumber: a model whose activations overflow answers
// NaN, and does not end the program.
func TestExpertsAreFoundOfWhatIsNoNumber(t *testing.T) {
	nan := float32(math.NaN())
	for _, p := range [][]float32{{nan, nan, nan}, {nan, 1, 2}, {1, nan, 2}, {2, 1, nan}} {
		for n := 1; n <= len(p); n++ {
			got := make([]int32, n)
			largest(got, p)
			assert.Len(t, slices.Compact(slices.Clone(got)), n, "each once: %v of %v", got, p)
			assert.True(t, slices.IsSorted(got) && got[0] >= 0 && int(got[n-1]) < len(p), "%v of %v", got, p)
		}
	}
}

func TestEntriesOfAnExpertLieTogether(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, m := range []int{0, 1, 7, 100} {
		x := mixtureOf(9, 3)
		var s routes
		s.reserve(x, m)
		for i := range m {
			of := s.taken[i*4:][:4]
			for j, e := range r.Perm(9)[:3] {
				of[j] = int32(e)
			}
			slices.Sort(of[:3])
			of[3] = 9
			for j := range of {
				s.shares[i*4+j] = float32(i*100 + int(of[j]))
			}
		}
		s.group(x, m)
		require.Zero(t, s.first[0])
		require.EqualValues(t, 4*m, s.first[10])
		for e := range 10 {
			rows := s.rows[s.first[e]:s.first[e+1]]
			assert.True(t, slices.IsSorted(rows), "expert %d: %v", e, rows)
			for k, row := range rows {
				assert.EqualValues(t, int(row)*100+e, s.weights[int(s.first[e])+k])
				at := slices.Index(s.taken[row*4:][:4], int32(e))
				assert.EqualValues(t, int(s.first[e])+k, s.of(x, int(row))[at])
			}
		}
	}
}

// mixtureOf is one without weights, of n experts beside a shared one.
func mixtureOf(n, top int) *mixture {
	router := nn.NewLinear(8, false, n, 1)
	return &mixture{
		Mixture: &nn.Mixture{Router: &router, Top: top, Shared: true, Experts: make([]nn.Expert, n+1)},
		router:  &linear{Linear: &router}, experts: make([]expert, n+1),
	}
}
