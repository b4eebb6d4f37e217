package cuda

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// The products of Qwen3-0.6B's and Llama-3.1-8B's shapes take the tiles that were the fastest of an
// H100, or within some hundredths of them.
func TestProductsTakeTheTilesThatWereFastest(t *testing.T) {
	for _, x := range []struct {
		epilogue   string
		m, n, k    int
		best, near string
	}{
		{"heads", 64, 4096, 1024, "n128", ""}, {"heads", 512, 4096, 1024, "128x1", ""}, {"heads", 1024, 4096, 1024, "256x1", ""}, {"heads", 16384, 4096, 1024, "256x2", ""},
		{"residual", 64, 1024, 2048, "n32", ""}, {"residual", 512, 1024, 3072, "n64", ""}, {"residual", 1024, 1024, 2048, "64x1", ""},
		{"residual", 2048, 1024, 3072, "128x1", ""}, {"residual", 16384, 1024, 3072, "256x2", ""},
		{"gated", 64, 6144, 1024, "n64", ""}, {"gated", 512, 6144, 1024, "192x1", ""}, {"gated", 1024, 6144, 1024, "192x1", ""},
		{"gated", 2048, 6144, 1024, "256x1", "256x2"}, {"gated", 16384, 6144, 1024, "p128x1", ""},
		{"heads", 512, 6144, 4096, "128x1", "256x1"}, {"residual", 512, 4096, 14336, "128x1", ""}, {"residual", 256, 4096, 4096, "64x1", ""},
		{"gated", 64, 28672, 4096, "256x1", ""}, {"gated", 512, 28672, 4096, "p128x1", ""}, {"gated", 16384, 28672, 4096, "256x2", ""},
		{"heads", 16384, 6144, 4096, "256x2", ""}, {"residual", 16384, 4096, 4096, "256x2", ""}, {"residual", 16384, 4096, 14336, "256x2", ""}, {"residual", 9216, 4096, 14336, "256x2", ""},
	} {
		var of []variant
		for _, k := range kernel.Tiles("wgmma_" + x.epilogue) {
			of = append(of, variant{kernel: k})
		}
		name := choose(of, x.m, x.n, x.k, 132).kernel.Name
		assert.Contains(t, []string{x.best, x.near}, name[strings.LastIndexByte(name, '_')+1:], fmt.Sprint(x))
	}
}
