package kernel

import (
	"fmt"
	"slices"
	"strings"
)

// tensorProducts are the kernels of [Product] on tensor cores, bfloat16, N and K
// multiples of 8. Every tile gives the same bits. product_mma adds R if there is one.
var tensorProducts = slices.Concat([]Kernel{
	{Name: "product_mma", Module: "product_mma", Threads: 128, Shared: 4*16384 + 128, Blocks: 2, TileM: 128, TileN: 128},
	{Name: "gated_mma", Module: "product_mma", Threads: 128, Shared: 4*16384 + 128, Blocks: 2, TileM: 128, TileN: 128},
}, wgmma("store"), wgmma("residual"), wgmma("gated"), wgmma("heads"), wgmma("heads64"))

// e4m3Products are the same of e4m3, for cards from 8.9 on: N is a multiple of 8.
var e4m3Products = slices.Concat([]Kernel{
	{Name: "product_mma_e4m3", Module: "product_mma_e4m3", Threads: 128, Shared: 4*16384 + 128, Blocks: 2, TileM: 128, TileN: 128},
	{Name: "gated_mma_e4m3", Module: "product_mma_e4m3", Threads: 128, Shared: 4*16384 + 128, Blocks: 2, TileM: 128, TileN: 128},
}, e4m3("store"), e4m3("residual"), e4m3("gated"), e4m3("heads"), e4m3("heads64"))

// e4m3 returns those products of e4m3 that there are of an epilogue: others have no registers left.
func e4m3(epilogue string) (out []Kernel) {
	for _, k := range wgmma(epilogue) {
		if tile, ok := strings.CutPrefix(k.Name, k.Module); ok && (tile == "_128x1" || tile == "_64x1") {
			k.Module += "_e4m3"
			k.Name = k.Module + tile
			out = append(out, k)
		}
	}
	return out
}

// wgmma returns the products with an epilogue. Those of heads normalise and turn whole
// heads of 128 or 64 values, of which N is a multiple.
func wgmma(epilogue string) []Kernel {
	var out []Kernel
	for _, t := range []struct {
		name                 string
		n, stages, box, ctas int // columns of a tile, stages of the ring, rows of a box, blocks of a cluster
	}{{"256x1", 256, 3, 64, 1}, {"256x2", 256, 3, 64, 2}, {"128x1", 128, 6, 64, 1}, {"p128x1", 128, 5, 128, 1}, {"64x1", 64, 8, 64, 1}} {
		cols := t.n
		if epilogue == "heads" && t.n == 64 {
			continue // a tile holds whole heads
		}
		if epilogue == "gated" {
			cols = max(64, t.n/2)
			if t.box == 128 || t.n == 256 {
				t.stages++
			}
		}
		out = append(out, Kernel{
			Name: fmt.Sprintf("wgmma_%s_%s", epilogue, t.name), Module: "wgmma_" + epilogue,
			// The ring, the results of two warpgroups, 1024 to align, barriers.
			Threads: 384, Shared: t.stages*(128+t.n)*128 + 2*t.box*cols*2 + 1024 + 16*t.stages + 48,
			Cluster: t.ctas, Follows: true, TileM: 128, TileN: t.n, Box: t.box,
		})
	}
	return out
}

// tensorAttention are the kernels of [Attend] on tensor cores, by the size of a head,
// without relative positions. Boxes of QMap have 64 rows, of KVMap Box.
var tensorAttention = []Kernel{
	attendMMA(64, 4), attendMMA(96, 3), attendMMA(128, 2), attendMMA(256, 1),
	attendWGMMA(64, 128, 2, 4), attendWGMMA(96, 128, 2, 2), attendWGMMA(128, 128, 2, 2), attendWGMMA(256, 64, 1, 2),
}

func attendMMA(d, blocks int) Kernel {
	// 64 queries, keys and values, a chunk of 16 bytes between rows.
	return Kernel{Name: fmt.Sprintf("attend_mma_%d", d), Module: "attend_mma", Threads: 128, Shared: 3 * 64 * (2*d + 16), Blocks: blocks}
}

func attendWGMMA(d, keys, tasks, stages int) Kernel {
	name, panels := fmt.Sprintf("attend_wgmma_%d", d), (d+63)/64
	// 128 queries of each task, stages of keys and values, in rows of whole boxes; 1024 to align, barriers.
	return Kernel{Name: name, Module: name, Threads: 384, Shared: (128*tasks+2*stages*keys)*panels*128 + 1024 + 256,
		Follows: true, Box: keys}
}
