package ptx_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
)

// squared gives a product the sums of squares of A's rows, which the kernel ahead leaves, or room for those
// of its results, and returns by what each row's products are multiplied.
func squared(mc *ptx.Machine, p *kernel.Product, epi string, a []uint16, m int) func(row int) float64 {
	if epi == "residual" {
		p.Scales = put(mc, make([]float32, m*int(p.N)/32))
		return func(int) float64 { return 1 }
	}
	k := int(p.K)
	sums := make([]float32, m*k/32)
	for i, v := range a[:m*k] {
		sums[i/32] += float32(bf(v) * bf(v))
	}
	p.Scales, p.Floor = put(mc, sums), 0.5
	mc.Launched(uint64(p.Scales), 4*len(sums))
	return func(row int) float64 {
		s := 0.0
		for _, v := range a[row*k:][:k] {
			s += bf(v) * bf(v)
		}
		return 1 / math.Sqrt(s/float64(k)+0.5)
	}
}

// left says whether the sums of squares of results are what was left.
func left(mc *ptx.Machine, p kernel.Product, results []uint16, m int) error {
	parts := int(p.N) / 32
	for i, got := range ptx.Take[float32](mc, uint64(p.Scales), m*parts) {
		want := 0.0
		for _, v := range results[i/parts*int(p.LDC)+i%parts*32:][:32] {
			want += bf(v) * bf(v)
		}
		if !(math.Abs(float64(got)-want) <= 1e-5*want) {
			return fmt.Errorf("row %d: %v is left for the columns from %d on, want %v", i/parts, got, i%parts*32, want)
		}
	}
	return nil
}

var normedPlants = []plant{
	{bug: "a wait for a barrier is missing", trial: "wgmma_gated_normed_n64", find: wait, each: true},
	{bug: "a wait for a barrier is missing", trial: "wgmma_gated_normed_p128x1", find: wait, each: true},
	{bug: "kernels that overlap do not wait for each other", trial: "wgmma_gated_normed_n64", find: `griddepcontrol\.wait;`, each: true,
		not: map[int]string{0: "of parts of the rows, which this is none of"}},
	{bug: "kernels that overlap do not wait for each other", trial: "wgmma_residual_normed_128x1", find: `griddepcontrol\.wait;`, each: true,
		not: map[int]string{0: "of parts of the rows, which this is none of"}},
	{bug: "the factors of another row", trial: "wgmma_gated_normed_n64", find: `(ld\.shared\.f32 %f\d+, \[%r\d+)\];`, put: "${1}+4];", each: true},
	{bug: "the factors of another row", trial: "wgmma_heads_normed_128x1", find: `(ld\.shared\.f32 %f\d+, \[%r\d+)\];`, put: "${1}+4];", each: true},
	{bug: "sums of some columns alone", trial: "wgmma_residual_normed_n32", find: `(shfl\.sync\.bfly\.b32\s+%r\d+, %r\d+), %r\d+, `, put: "${1}, 4, ", each: true},
}

// TestPlantedBugsOfNormsAreFound is TestPlantedBugsAreFound of products that RMSNorm is a part of.
func TestPlantedBugsOfNormsAreFound(t *testing.T) { find(t, normedPlants) }
