// Package cpu runs the programs of package nn on the processor: it keeps the
// weights of a network's layers, one kind a file, and executes its programs with
// the operations of package kernel. It knows neither architectures nor files.
//
// # Scoring
//
// An [Engine] scores batches of [Sequence] with a [Model] on a fixed team of workers. Sequences are
// packed one behind the other without padding. Equal sequences are scored once, and a prefix that
// several causal sequences share is computed once (see plan), unless their lengths give them other
// rotations. What is left is divided into chunks of whole sequences, and every worker carries a
// chunk through all layers alone; only what cannot be divided evenly is computed by the whole team.
// A program is cut at attention into lists of steps that run a block of rows at a time (see
// schedule), so that what one step leaves is in cache for the next. In the last layer only the
// scored tokens pass through attention and the feed-forward network.
//
// # Training
//
// A [Training] runs the same programs over a packed batch with the whole team,
// keeps what the backward pass needs and walks the list in reverse (see tape); the
// backward of an operation stands beside its forward. Its scores have the bits of
// the engine. A [Language] is one with an output layer over the vocabulary, a
// [LoRA] learns a low-rank change.
//
// # Decoding
//
// A [Decoder] continues many texts at a time, each one row of a step's products,
// with the scoring lists and a cache of keys and values.
//
// # Conventions
//
// Activations are row-major []float32, a row a token, with the stride that
// kernel.Stride gives for their width. No sum is divided among workers, or it is
// divided into blocks of a fixed size whose sums are added in order: bits never
// depend on the number of workers. A forward step allocates nothing: the
// scratch of one worker is never shared by two at a time. A layer that can learn
// has its backward pass in x_backward.go beside x.go; the gradient of x is dx.
package cpu
