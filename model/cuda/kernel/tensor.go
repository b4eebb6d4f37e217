package kernel

import "fmt"

// tensorProducts are the kernels of [Product] on tensor cores, bfloat16, N and K
// multiples of 8. Every tile gives the same bits.
var tensorProducts = append([]Kernel{
	{Name: "product_mma", Module: "mma", Threads: 128, Shared: 4*16384 + 128, Blocks: 2, TileM: 128, TileN: 128},
	{Name: "gated_mma", Module: "mma", Threads: 128, Shared: 4*16384 + 128, Blocks: 2, TileM: 128, TileN: 128},
}, wgmmaProducts()...)

func wgmmaProducts() []Kernel {
	var out []Kernel
	for _, epilogue := range []string{"store", "residual", "gated", "heads"} {
		for _, t := range []struct {
			name                  string
			n, stages, rows, ctas int // columns of a tile, stages of the ring, rows that leave at a time, blocks of a cluster
		}{{"256x1", 256, 3, 64, 1}, {"256x2", 256, 3, 64, 2}, {"128x1", 128, 6, 64, 1}, {"p128x1", 128, 5, 128, 1}, {"64x1", 64, 8, 64, 1}} {
			cols, stages := t.n, t.stages
			if epilogue == "gated" {
				cols /= 2
				if t.rows == 128 || t.n == 256 {
					stages++
				}
			}
			out = append(out, Kernel{
				Name: fmt.Sprintf("wgmma_%s_%s", epilogue, t.name), Module: "wgmma_" + epilogue,
				Threads: 384, Shared: stages*(16384+t.n*128) + 4*t.rows*cols + 1024 + 16*stages + 48,
				Cluster: t.ctas, TileM: 128, TileN: t.n,
			})
		}
	}
	return out
}

// tensorAttention are the kernels of [Attend] on tensor cores, by the size of a head.
var tensorAttention = []Kernel{
	{Name: "attend_mma_64", Module: "attend_mma", Threads: 128},
	{Name: "attend_mma_96", Module: "attend_mma", Threads: 128},
	{Name: "attend_mma_128", Module: "attend_mma", Threads: 128},
	{Name: "attend_mma_256", Module: "attend_mma", Threads: 128},
	{Name: "attend_wgmma_64", Module: "attend_wgmma", Threads: 384, Shared: 5*16384 + 1024 + 96},
	{Name: "attend_wgmma_128", Module: "attend_wgmma", Threads: 384, Shared: 5*32768 + 1024 + 96},
}
