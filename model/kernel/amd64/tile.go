//go:build amd64 && !noasm

package amd64

import "unsafe"

// TileArgs is what a tile reads; the assembly knows the fields by name. Strides are
// in bytes. NR is the width of a panel. A step is four bytes a column of W and four
// of A, or eight of A where a tile says so.
type TileArgs struct {
	C        unsafe.Pointer // (rows, NR) float32
	LDC      int
	A        unsafe.Pointer // (rows, K) steps, or by columns (K, rows)
	LDA      int
	W        unsafe.Pointer // [K][NR] steps
	Panel    int            // from one panel to the next
	Next     unsafe.Pointer // what is asked for from memory meanwhile
	NextStep int            // bytes from one step to the next
	Kept     unsafe.Pointer // [K][2][2·NR] float32: room for two panels widened; bfloat16 by float32 only, as the next
	Sums     unsafe.Pointer // (rows, 2·NR) float32, tile after tile: where sums begin instead of Bias, or nil
	Bias     unsafe.Pointer // NR starting values a panel: float32, int32 for int8; never nil
	Scale    unsafe.Pointer // rows float32; int8 only, as the next three
	Scaled   int            // bytes of Scale that the tiles so far have used
	WScale   unsafe.Pointer // NR float32
	WBias    unsafe.Pointer // NR float32
	K        int            // steps, ≥ 1
	MR       int            // rows of the first tiles
	Tiles    int            // number of tiles of MR rows, ≥ 1
	Small    int            // number of tiles of MR-1 rows after them
	Add      bool           // add to C instead of writing it
}
