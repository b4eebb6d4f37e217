package cuda_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	numbers "github.com/warmserve/warmserve/model/kernel"
)

// counter is a device that counts launches by their kernels.
type counter struct {
	cuda.Device
	of map[string]int
}

func (c *counter) Launch(k *kernel.Kernel, grid int, args []byte) error {
	c.of[k.Name]++
	return c.Device.Launch(k, grid, args)
}

// Capture counts what a graph has: cards are told it again where a kernel had to be loaded first.
func (c *counter) Capture(f func() error) (cuda.Graph, error) {
	return c.Device.Capture(func() error {
		clear(c.of)
		return f()
	})
}

// count is how many launches there were of kernels whose names begin so.
func (c *counter) count(name string) (n int) {
	for k, of := range c.of {
		if strings.HasPrefix(k, name) {
			n += of
		}
	}
	return n
}

// Where it is asked for, the norms of blocks are in the products of heads and gates, but for the sums of
// squares of what no product made, embeddings. The last block's heads, of which not all rows are wanted,
// have norms of rows, as the head has. Widths of which 128 is no divisor stay as they are.
func TestProductsNormaliseTheirRows(t *testing.T) {
	t.Setenv(cuda.FoldVariable, "1")
	for _, x := range []struct {
		hidden, squares, products, norms int
	}{{256, 1, 3, 4}, {136, 0, 0, 7}} {
		dir := other(t, "qwen3", map[string]any{"hidden_size": x.hidden, "head_dim": 128, "num_attention_heads": 2,
			"num_key_value_heads": 1, "intermediate_size": 72, "max_position_embeddings": 512})
		c := &counter{cudatest.NewDevice(t, 90), map[string]int{}}
		e := cudatest.NewEngine(c)
		m := open(t, dir, e, numbers.BFloat16)
		r := rand.New(rand.NewPCG(1, 2))
		seqs := []model.Sequence{last(m, ids(r, m, 9)), last(m, ids(r, m, 3))}
		alone := score(t, e, m, seqs[0])
		assert.Equal(t, x.squares, c.count("squares_f32"), "%d columns: sums of squares", x.hidden)
		assert.Equal(t, x.products, c.count("wgmma_heads_normed")+c.count("wgmma_gated_normed"),
			"%d columns: products that divide", x.hidden)
		assert.Equal(t, x.norms, c.count("rmsnorm"), "%d columns: norms of rows", x.hidden)

		host := model.NewEngine(1)
		defer host.Close()
		want := score(t, host, open(t, dir, host, numbers.Float32), seqs...)
		got := score(t, e, m, seqs...)
		assert.Equal(t, alone[0], got[0], "%d columns: among others", x.hidden)
		for i := range got {
			off := math.Abs(float64(got[i]-want[i])) / max(1, math.Abs(float64(want[i])))
			assert.LessOrEqual(t, off, 0.1, "%v, want %v", got, want)
		}
	}
}
