// Package kernel is the engine's arithmetic: matrix products against packed
// weights, and the row operations of a transformer (norms, softmax, rotary
// embedding, activations). It works on slices and plain integers and knows
// nothing of layers, models or files.
//
// # Conventions
//
// Matrices are row-major []float32 with an explicit row stride. A weight W of a
// linear layer is [N, K] (out, in), as checkpoints store it; y = x·Wᵀ + b.
// Weights are packed once into [Panels], groups of [NR] output columns that one
// tile of the product reads from front to back.
//
// Buffers that a product writes have a row stride of at least [Pad](N), and a
// product writes every column of each panel: the columns from N to Pad(N) become
// zero (plus bias, which is zero there). [Stride] gives the stride to allocate.
//
// # Determinism
//
// Every output element is one sum, taken in ascending order of k by one
// accumulator, whatever the tile it falls into. The result for a row therefore
// does not depend, not by one bit, on the number of rows, on the rows beside it
// or on how the work is split. Softmax sums over sixteen lanes, lane j mod 16 for
// element j, norms and dot products over sixty-four, then in a fixed tree.
// Bits differ between number formats, and for float32 between CPU levels, never
// within one. bfloat16 products have the same bits at every level where no
// denormals occur, int8 products always.
//
// Every operation has a version in plain Go (x_generic.go) that specifies it.
package kernel
