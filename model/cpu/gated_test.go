package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// TestFusedGateIsTheSameLayer stores one tensor in pieces of every size beside two.
func TestFusedGateIsTheSameLayer(t *testing.T) {
	const in, f = 6, 45
	r := rand.New(rand.NewPCG(1, 2))
	weight, bias := random(r, 2*f*in), random(r, 2*f)
	two := &gated{Gated: &nn.Gated{In: in, F: f, Bias: true}}
	two.alloc(kernel.Float32)
	two.store(0, 0, weight[:f*in])
	two.store(1, 0, bias[:f])
	two.store(2, 0, weight[f*in:])
	two.store(3, 0, bias[f:])
	for _, piece := range []int{1, 7, 44, 45, 46, 64, 90} {
		one := &gated{Gated: &nn.Gated{In: in, F: f, Bias: true, Fused: true}}
		one.alloc(kernel.Float32)
		for row := 0; row < 2*f; row += piece {
			n := min(piece, 2*f-row)
			one.store(0, row, weight[row*in:][:n*in])
			one.store(1, row, bias[row:][:n])
		}
		require.Equal(t, two.w.F32, one.w.F32, "pieces of %d rows", piece)
		require.Equal(t, two.b, one.b, "pieces of %d rows", piece)
		require.Equal(t, []int{2 * f, in}, one.Params([]string{"gate_up"})[0].Shape)
	}
}
