package driver

import (
	"fmt"
	"unsafe"

	"github.com/warmserve/warmserve/model/cuda"
)

// Arguments of cuTensorMapEncodeTiled.
const (
	mapBFloat16 = 9
	mapSwizzle  = 3 // by 128 bytes
	mapPromote  = 3 // to 256 bytes of L2
	mapColumns  = 64
	mapBytes    = 128
	mapAlign    = 64
)

// TensorMap describes a row-major matrix of bfloat16 for the copy engine: boxes of 64
// columns and boxRows rows, swizzled by 128 bytes, with zeros outside of the matrix. ld is
// the number of values between rows.
func (c *Card) TensorMap(p cuda.Ptr, rows, cols, ld, boxRows int) ([mapBytes]byte, error) {
	var out [mapBytes]byte
	buffer := make([]byte, mapBytes+mapAlign)
	at := -uintptr(unsafe.Pointer(&buffer[0])) % mapAlign
	m := buffer[at : at+mapBytes]
	dims := [2]uint64{uint64(cols), uint64(rows)}
	strides := [1]uint64{2 * uint64(ld)}
	box := [2]uint32{mapColumns, uint32(boxRows)}
	steps := [2]uint32{1, 1}
	what := fmt.Sprintf("cuTensorMapEncodeTiled of %d rows of %d values, %d apart, in boxes of %d rows",
		rows, cols, ld, boxRows)
	err := c.call(what, c.lib.tensorMap, uintptr(unsafe.Pointer(&m[0])), mapBFloat16,
		uintptr(len(dims)), uintptr(p),
		uintptr(unsafe.Pointer(&dims[0])), uintptr(unsafe.Pointer(&strides[0])),
		uintptr(unsafe.Pointer(&box[0])), uintptr(unsafe.Pointer(&steps[0])), 0, mapSwizzle, mapPromote, 0)
	copy(out[:], m)
	return out, err
}
