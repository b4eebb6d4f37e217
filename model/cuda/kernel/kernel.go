package kernel

import "slices"

// Kernel is an entry of a module with what a launch must give it.
type Kernel struct {
	Name   string // of the entry
	Module string // of the PTX that holds it: see [PTX]

	Threads int // of a block
	Shared  int // dynamic shared memory of a block in bytes
	Cluster int // blocks of a cluster, which the grid is a multiple of
	// Blocks is how many blocks a multiprocessor is to have: with fewer it idles, with
	// more nothing is gained. Any grid gives the same bits.
	Blocks int
	// Follows says that the kernel itself waits for the one before it (griddepcontrol.wait),
	// so that it may start before that has ended.
	Follows bool
	// TileM and TileN are the rows and columns that a block of a product computes at a
	// time, TileM of attention the queries; 0 for other kernels, and for whole tasks.
	TileM, TileN int
	// Box is the rows of boxes of what a wgmma product writes and adds, and of the keys and
	// values of wgmma attention; 0 for other kernels.
	Box int
}

// Table holds every kernel by its name.
var Table = table(rows, widening, quantizing, squaring, products, attention, mixtures, tensorProducts,
	e4m3Products, normedProducts, tensorAttention)

// hopper holds the kernels that are others from Hopper on, where all of rows follow.
var hopper = table(following(rows), following(widening), following(quantizing))

// following returns kernels of the module of Hopper.
func following(of []Kernel) []Kernel {
	out := slices.Clone(of)
	for i := range out {
		out[i].Module, out[i].Follows = out[i].Module+"_90", true
	}
	return out
}

// For returns the kernel of a name for cards of a capability, 90 for Hopper; nil when there is none.
func For(name string, capability int) *Kernel {
	if k := hopper[name]; k != nil && capability >= 90 {
		return k
	}
	return Table[name]
}

func table(lists ...[]Kernel) map[string]*Kernel {
	t := map[string]*Kernel{}
	for _, l := range lists {
		for i := range l {
			k := &l[i]
			k.Cluster = max(k.Cluster, 1)
			k.Blocks = max(k.Blocks, 1)
			t[k.Name] = k
		}
	}
	return t
}

// both returns a kernel for each number format.
func both(k Kernel, names ...string) []Kernel {
	var out []Kernel
	for _, n := range names {
		for _, t := range []string{"_bf16", "_f32"} {
			k.Name = n + t
			out = append(out, k)
		}
	}
	return out
}

// rows are the kernels of [Rows], and score, of [Score].
var rows = both(Kernel{Module: "rows", Threads: 128, Blocks: 8}, "lookup", "scale", "activate", "add",
	"rmsnorm", "layernorm", "affine", "rotate", "neighbours", "mean", "score")

// widening copies rows of bfloat16 as float32, which score heads with layers of their own read.
var widening = []Kernel{{Name: "widen_f32", Module: "rows", Threads: 128, Blocks: 7}}

// quantizing makes e4m3 of rows, of [Quantize], for cards from 8.9 on.
var quantizing = []Kernel{{Name: "quantize_bf16", Module: "quantize", Threads: 128, Blocks: 7}}

// squaring makes sums of squares as normed products read them (see [Product]), for Hopper.
var squaring = []Kernel{{Name: "squares_f32", Module: "squares", Threads: 128, Blocks: 7, Follows: true}}

// products are those of [Product] without tensor cores: any shape, on any card.
var products = []Kernel{
	{Name: "product_f32", Module: "simt", Threads: 128, Blocks: 3, TileM: 64, TileN: 64},
	{Name: "gated_f32", Module: "simt", Threads: 128, Blocks: 3, TileM: 64, TileN: 64},
	{Name: "product_bf16_simt", Module: "simt", Threads: 128, Blocks: 3, TileM: 64, TileN: 64},
	{Name: "gated_bf16_simt", Module: "simt", Threads: 128, Blocks: 3, TileM: 64, TileN: 64},
}

// attention are the kernels of [Attend] without tensor cores: any head up to 512 values.
var attention = []Kernel{
	{Name: "attend_f32_simt", Module: "attend", Threads: 128, Blocks: 3, TileM: 32},
	{Name: "attend_bf16_simt", Module: "attend", Threads: 128, Blocks: 3, TileM: 32},
}

// mixtures are those of [Route], choose before sort, and of [Combine]. Between them
// lookup gathers the rows, and products multiply those of each expert.
var mixtures = append([]Kernel{
	{Name: "choose", Module: "mixture", Threads: 128, Blocks: 8},
	{Name: "sort", Module: "mixture", Threads: 256, Blocks: 4},
}, both(Kernel{Module: "mixture", Threads: 128, Blocks: 8}, "combine")...)
