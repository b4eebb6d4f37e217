package kernel_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Lengths around those of a warp, a block of keys and a task, between rows of NaN; two
// sequences go on from the third.
var tensorSequences = []sequence{{row: 2, n: 5}, {row: 9, n: 170}, {row: 181, n: 128}, {prefix: 181, shared: 128, row: 311, n: 42},
	{row: 355, n: 1}, {row: 358, n: 63}, {prefix: 181, shared: 128, row: 424, n: 130}}

func TestTensorAttention(t *testing.T) {
	kinds := []nn.Attention{{Causal: true}, {Causal: true, Window: 20}, {Causal: true, Window: 140, SoftCap: 3}, {}, {Reach: 30}, {Reach: 150, SoftCap: 3}}
	for name, runs := range map[string][]int{ // which of the kinds: a card runs all, the interpreter each kind with some head size
		"attend_wgmma_64": {1, 5}, "attend_wgmma_96": {3}, "attend_wgmma_128": {0, 4}, "attend_wgmma_256": {2},
		"attend_mma_64": {3, 5}, "attend_mma_96": {1}, "attend_mma_128": {0, 4}, "attend_mma_256": {2},
	} {
		if cudatest.OnCard() {
			runs = []int{0, 1, 2, 3, 4, 5}
		}
		for _, i := range runs {
			a := kinds[i]
			fmt.Sscan(name[strings.LastIndexByte(name, '_')+1:], &a.D)
			a.H, a.K, a.Scale = 3, 1, float32(1.3/math.Sqrt(float64(a.D)))
			t.Run(fmt.Sprintf("%s causal %t window %d reach %d soft cap %v", name, a.Causal, a.Window, a.Reach, a.SoftCap), func(t *testing.T) {
				x := newAttention(hopper(t, uint64(i)), bf16, a, tensorSequences, true)
				tasks := tasksOf(tensorSequences)
				slices.Reverse(tasks)
				all := x.run(name, tasks, 1+i%3)
				x.check(t, all, tensorSequences)
				if half := name + "_half"; kernel.Table[half] != nil {
					halves := x.run(half, tasks, 1+i%5)
					for _, s := range tensorSequences {
						same(t, all, s.row, halves, s.row, s.n)
					}
				}

				// The same tokens in one piece, elsewhere and alone.
				y, from := *x, tensorSequences[3]
				s := sequence{row: 3, n: from.shared + from.n}
				y.qkv = x.m.matrix(bf16, s.row+s.n, x.qkv.cols, x.qkv.cols, func(r, c int) float64 {
					if r < s.row {
						return math.NaN()
					}
					return x.qkv.v[from.at(r-s.row)][c]
				})
				whole := y.run(name, s.tasks(), 2)
				same(t, all, from.row, whole, s.row+from.shared, from.n)
				if a.Causal {
					same(t, all, from.prefix, whole, s.row, from.shared)
				}
				some := y.run(name, []kernel.Task{s.task(s.n-1, 1), s.task(100, 37)}, 2)
				same(t, whole, s.row+s.n-1, some, s.row+s.n-1, 1)
				same(t, whole, s.row+100, some, s.row+100, 37)
			})
		}
	}
}
