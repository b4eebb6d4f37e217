// Package kernel holds the kernels of the CUDA engine: their sources in CUDA C++
// (src), the PTX that clang makes of them (ptx, embedded), and Go mirrors of their
// parameters. It knows no driver and no network.
//
// [Table] names every kernel with what a launch must give it; [PTX] returns the text of
// a module. All kernels take one struct of args.go by value and read how many rows a
// batch has from a header in device memory, so that one launch with a fixed grid serves
// every batch.
//
// Names end in the numbers they work on: bf16 for bfloat16 rows and weights with float32
// sums, norms and biases, f32 for float32 everywhere. What a kernel makes of a row never
// depends on other rows, nor on how many there are: sums have a fixed order.
//
// build.sh makes the PTX with clang++-19; a test holds both together.
package kernel
