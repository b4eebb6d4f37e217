// Package nn holds the layers of the transformers that warmserve runs, one a
// file. A layer owns its weights, names them as the checkpoint does (see
// [Params]) and computes rows of a packed batch with the operations of package
// kernel. It knows nothing of models, files or requests.
//
// # Conventions
//
// Dims: T tokens, C hidden size, F intermediate size, H heads, K key/value
// heads, D head size, V vocabulary. Activations are row-major []float32, a row
// a token, with the stride that kernel.Stride gives for their width. Weights are
// [out, in] as checkpoints store them.
//
// A forward step allocates nothing: the caller owns all memory, and the scratch
// of one worker ([Scratch]) is never shared by two at a time.
package nn
