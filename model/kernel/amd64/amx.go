//go:build amd64 && !noasm

package amd64

import "unsafe"

// AMXArgs is what a tile of the matrix unit reads; the assembly knows the fields by
// name. Strides and offsets are in bytes. NR is the width of a panel. A step is four
// bytes a column of W and of A, and sixteen steps are a tile; of float32 thirty-two,
// whose three parts are three tiles.
type AMXArgs struct {
	C      unsafe.Pointer // (M, N·NR) float32
	LDC    int
	A      unsafe.Pointer // (M up to whole sixteens, K tiles, one more with a tail)
	LDA    int            // of float32 from sixteen rows to the next, whose tiles are one behind the other
	W      unsafe.Pointer // N panels of [K][16][NR] steps, of float32 [K][32][NR]
	Panel  int            // from one panel to the next
	Tail   unsafe.Pointer // nil, or one more tile of steps for each panel
	Start  unsafe.Pointer // starting values: float32, int32 for int8; never nil
	Scale  unsafe.Pointer // M float32; int8 only, as the next two
	WScale unsafe.Pointer // (N·NR) float32
	WBias  unsafe.Pointer // (N·NR) float32, or NR that all panels share
	Sums   unsafe.Pointer // (M up to whole sixteens, NR): room, at a cache line
	Parts  unsafe.Pointer // float32 only, (KB, one more with a tail; 3·16·NR) dwords: room, at a cache line
	K      int            // whole tiles of steps
	KB     int            // of those, how many all rows pass by at a time, ≥ 1
	M, N   int            // rows and panels, ≥ 1; N is 0 afterwards

	// From one panel to the next.
	StartStep, BiasStep, TailStep int

	// Where the function is, zero at its beginning but for Row, AtK and Steps, which it
	// sets. They are offsets, since a pointer past the last panel would point to another
	// object, which the garbage collector follows.
	AtW, AtStart, AtBias, AtTail, AtC int
	Row, AtK, Steps                   int

	Add bool // add to C instead of writing it
}
