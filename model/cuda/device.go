// Package cuda scores sequences on cards that run CUDA: it turns an [nn.Network] into a list of
// launches of the kernels of package kernel, once for a model, and carries batches through it. It
// knows no driver: a [Device] is a card (package driver) or, in tests, the interpreter of package ptx.
package cuda

import (
	"io"

	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// Ptr is an address in a device's memory; 0 is none.
type Ptr = kernel.Ptr

// Device is a card and its memory. One goroutine uses it at a time.
type Device interface {
	// Alloc takes memory whose address is a multiple of 256. Its content is anything.
	Alloc(bytes int) (Ptr, error)
	Free(Ptr)
	// Write and Read copy to and from the device, behind all launches before them, and are done
	// when they return.
	Write(dst Ptr, src []byte) error
	Read(dst []byte, src Ptr) error
	// Fill is Write of the first bytes of a file.
	Fill(dst Ptr, src io.ReaderAt, bytes int) error
	// TensorMap describes a row-major matrix of bfloat16, ld values from row to row, to the copy
	// engine, in boxes of 64 columns and so many rows, swizzled by 128 bytes, with zeros outside.
	TensorMap(p Ptr, rows, cols, ld, boxRows int) ([128]byte, error)
	// Launch runs a kernel behind those launched before. args are the bytes of its parameter
	// struct (see [kernel.Bytes]), which are read before it returns.
	Launch(k *kernel.Kernel, grid int, args []byte) error
	// Capture records what f launches, without running it.
	Capture(f func() error) (Graph, error)
	// Sync waits for all launches and returns what went wrong with any of them.
	Sync() error
	Limits() Limits
}

// Overlapper is a device that can start kernels that wait for the one before them themselves (see
// [kernel.Kernel].Follows) before that has ended: small batches gain, large ones lose a little.
type Overlapper interface {
	// Overlap says whether those that are launched from now on do.
	Overlap(on bool)
}

// Graph is a recorded list of launches.
type Graph interface {
	Launch() error
	Free()
}

// Limits are what a device has.
type Limits struct {
	Name       string
	SMs        int // multiprocessors
	Capability int // 10·major + minor: 90 for Hopper
	Memory     int // bytes in all
	Free       int // bytes, now
	Rows       int // of a batch at most; 0 for as many as an engine likes
}
