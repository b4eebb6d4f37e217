package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func TestWeightGradientsOverBlocksOfTokensAreTheSumOverTokens(t *testing.T) {
	const n = 70
	// Two float32 sums of up to 1101 products of normal numbers, which reach 150.
	const tolerance = 2e-3
	for _, dtype := range []kernel.DType{kernel.Float32, kernel.BFloat16} {
		for _, in := range []int{64, 40} {
			for _, m := range []int{1, tokenBlock, 2*tokenBlock + 77} {
				t.Run(fmt.Sprintf("%v, %d tokens of %d", dtype, m, in), func(t *testing.T) {
					r := rand.New(rand.NewPCG(1, uint64(m)))
					x, dy := random(r, m*in), random(r, m*n)
					xs, dys := rows(x, in, kernel.Stride(in)), rows(dy, n, kernel.Stride(n))
					var first, bias []float32
					for _, workers := range []int{1, 2, 3} {
						w := NewWork(workers)
						l := &linear{Linear: &nn.Linear{In: in, Outs: []int{n}, Bias: true}}
						l.allocTraining(dtype)
						for range 2 { // it accumulates
							l.master.backwardWeight(w, dys, kernel.Stride(n), xs, kernel.Stride(in), m)
						}
						w.Close()
						if first == nil {
							first, bias = l.master.dw, l.master.db
						}
						require.Equal(t, first, l.master.dw, "%d workers have the bits of one", workers)
						require.Equal(t, bias, l.master.db, "%d workers have the bits of one", workers)
					}
					for o := range n {
						want := 0.0
						for j := range m {
							want += 2 * float64(dy[j*n+o])
						}
						require.InDelta(t, want, bias[o], tolerance, "bias %d", o)
					}
					if dtype == kernel.BFloat16 { // what the products see
						x = rounded(x)
						if kernel.HasBF16() {
							dy = rounded(dy)
						}
					}
					for o := range n {
						for i := range in {
							want := 0.0
							for j := range m {
								want += 2 * float64(dy[j*n+o]) * float64(x[j*in+i])
							}
							require.InDelta(t, want, first[o*in+i], tolerance, "row %d, column %d", o, i)
						}
					}
				})
			}
		}
	}
}

// rounded returns the nearest bfloat16 numbers.
func rounded(x []float32) []float32 {
	low, out := make([]uint16, len(x)), make([]float32, len(x))
	kernel.RoundBF16(low, x)
	kernel.WidenBF16(out, low)
	return out
}

func TestPiecesOfRowsCoverEveryRowOnce(t *testing.T) {
	for workers := 1; workers <= 3; workers++ {
		w := NewWork(workers)
		for _, m := range []int{0, 1, 27, 28, 55, 57, 112, 113, 225, 4096} {
			seen := make([]int32, m) // pieces are disjoint: no two workers write one
			w.Rows(m, func(_ *Scratch, lo, hi int) {
				if hi-lo > kernel.RowBlock {
					t.Errorf("a piece of %d rows, want at most %d", hi-lo, kernel.RowBlock)
				}
				for i := lo; i < hi; i++ {
					seen[i]++
				}
			})
			for i, k := range seen {
				require.EqualValues(t, 1, k, "row %d of %d, %d workers", i, m, workers)
			}
		}
		w.Close()
	}
}
