package kernel

import (
	"fmt"
	"slices"
)

// tensorProducts are the kernels of [Product] on tensor cores, bfloat16, N and K
// multiples of 8. Every tile gives the same bits. product_mma adds R if there is one.
var tensorProducts = slices.Concat([]Kernel{
	mma("product_mma", "product_mma"),
	mma("gated_mma", "product_mma"),
}, wgmma("store"), wgmma("residual"), wgmma("gated"), wgmma("heads"), wgmma("heads64"))

func mma(name, module string) Kernel {
	return Kernel{Name: name, Module: module, Threads: 128, Shared: 4*16384 + 128, Blocks: 2, TileM: 128, TileN: 128}
}

// e4m3Products are the same of e4m3, for cards from 8.9 on: N is a multiple of 8.
var e4m3Products = slices.Concat([]Kernel{
	mma("product_mma_e4m3", "product_mma_e4m3"),
	mma("gated_mma_e4m3", "product_mma_e4m3"),
}, e4m3("store"), e4m3("residual"), e4m3("gated"), e4m3("heads"), e4m3("heads64"))

// normedProducts are those of bfloat16 that RMSNorm is a part of: see [Product]. K is a multiple of 128,
// and so is N of residual.
var normedProducts = slices.Concat(tiled("residual", "_normed"), tiled("gated", "_normed"),
	tiled("heads", "_normed"), tiled("heads64", "_normed"))

// tile is a shape that products are cut into.
type tile struct {
	name                        string // columns, and what else it differs by
	rows, cols, cluster, stages int    // stages of the ring
}

// wgmmaTiles are the shapes. In p128x1 two warpgroups take turns at tiles; n are narrow, for few rows.
var wgmmaTiles = []tile{{"256x2", 128, 256, 2, 3}, {"256x1", 128, 256, 1, 3}, {"192x1", 128, 192, 1, 4},
	{"p128x1", 128, 128, 1, 6}, {"128x1", 128, 128, 1, 6}, {"64x1", 128, 64, 1, 8},
	{"n128", 64, 128, 1, 8}, {"n64", 64, 64, 1, 12}, {"n32", 64, 32, 1, 16}}

// has says whether an epilogue has a tile: those of heads hold whole ones, and which others win
// anywhere was measured. Of e4m3 the sums of tiles of 256 columns would take all registers.
func (t tile) has(epilogue string, e4m3 bool) bool {
	switch t.name {
	case "192x1", "p128x1":
		return epilogue == "gated" && !e4m3
	case "n128":
		return epilogue == "heads" && !e4m3
	case "n32":
		return (epilogue == "store" || epilogue == "residual") && !e4m3
	case "256x1", "256x2":
		return !e4m3
	case "n64":
		return epilogue != "heads" && !e4m3
	case "64x1":
		return epilogue != "heads"
	}
	return true
}

// e4m3 returns the products of e4m3 with an epilogue.
func e4m3(epilogue string) []Kernel { return tiled(epilogue, "_e4m3") }

// wgmma returns the products with an epilogue. Those of heads normalise and turn whole
// heads of 128 or 64 values, of which N is a multiple.
func wgmma(epilogue string) []Kernel { return tiled(epilogue, "") }

// tiled returns the products with an epilogue whose names have an ending for what else they differ by.
func tiled(epilogue, ending string) (out []Kernel) {
	module := "wgmma_" + epilogue + ending
	for _, t := range wgmmaTiles {
		if !t.has(epilogue, ending == "_e4m3") {
			continue
		}
		cols, box := t.cols, 64
		if t.name == "p128x1" {
			box = 128
		}
		if epilogue == "gated" {
			cols /= 2
			if t.cols == 256 {
				t.stages++
			}
		}
		// The ring, the results of two warpgroups, 1024 to align, barriers.
		shared, groups := t.stages*(t.rows+t.cols)*128+1024+16*t.stages+48, t.rows/64
		if ending == "_normed" {
			shared += 32 + 2*512 // barriers, and the factors of two tiles' rows
		}
		if groups > 1 {
			shared += groups * box * ((cols + 63) &^ 63) * 2
		}
		out = append(out, Kernel{Name: module + "_" + t.name, Module: module, Threads: 128 + 128*groups,
			Shared: shared, Cluster: t.cluster, Follows: true, TileM: t.rows, TileN: t.cols, Box: box})
	}
	return out
}

// Tiles are the kernels of a product by the shape of their tiles, all of which give the same bits.
func Tiles(name string) (out []*Kernel) {
	for _, t := range wgmmaTiles {
		if k := Table[name+"_"+t.name]; k != nil {
			out = append(out, k)
		}
	}
	return out
}

// tensorAttention are the kernels of [Attend] on tensor cores, by the size of a head,
// without relative positions. Boxes of QMap have 64 rows, of KVMap Box.
var tensorAttention = []Kernel{
	attendMMA(64, 4), attendMMA(96, 3), attendMMA(128, 2), attendMMA(256, 1),
	attendWGMMA(64, 128, 2, 4, 2), attendWGMMA(96, 128, 2, 2, 2), attendWGMMA(128, 128, 2, 2, 2),
	attendWGMMA(256, 64, 1, 2, 2),
	attendWGMMA(64, 128, 2, 4, 1), attendWGMMA(128, 128, 2, 2, 1),
}

func attendMMA(d, blocks int) Kernel {
	// 64 queries, keys and values, a chunk of 16 bytes between rows.
	return Kernel{Name: fmt.Sprintf("attend_mma_%d", d), Module: "attend_mma", Threads: 128,
		Shared: 3 * 64 * (2*d + 16), Blocks: blocks}
}

// attendWGMMA has tasks of 128 queries, or, of one group, halves of them.
func attendWGMMA(d, keys, tasks, stages, groups int) Kernel {
	name, panels := fmt.Sprintf("attend_wgmma_%d", d), (d+63)/64
	// Queries of tasks, stages of keys and values, in rows of whole boxes; 1024 to align, barriers.
	shared := (64*groups*tasks+2*stages*keys)*panels*128 + 1024 + 256
	k := Kernel{Name: name, Module: name, Threads: 128 + 128*groups, Shared: shared, Follows: true, Box: keys}
	if groups == 1 {
		k.Name, k.TileM = name+"_half", TaskQueries/2
	}
	return k
}
