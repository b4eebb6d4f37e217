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
// # Learning
//
// A layer that can learn ([Trainable]) has its backward pass in a file of its own,
// x_backward.go beside x.go. Backward takes the gradient of the output and what the
// forward pass read, writes the gradient of the input and accumulates those of the
// weights. The gradient of x is called dx. [Work] divides a step among workers such
// that every sum has one order.
//
// A forward step allocates nothing: the caller owns all memory, and the scratch
// of one worker ([Scratch]) is never shared by two at a time.
package nn
