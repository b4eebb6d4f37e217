package kernel

import (
	"fmt"
	"unsafe"
)

// NR is the number of output columns in a panel.
const NR = 32

// Pad returns n rounded up to whole panels.
func Pad(n int) int { return (n + NR - 1) / NR * NR }

// Stride returns the row stride, in elements, to allocate for rows of n
// elements: whole panels, and never a multiple of 1024, because rows 4096 bytes
// apart fall into the same cache set and a tile reads fourteen of them at once.
func Stride(n int) int {
	s := Pad(n)
	if s%1024 == 0 {
		s += 16
	}
	return s
}

// Panels is a weight matrix [N, K] packed for products: panel p holds the
// output columns [p·NR, (p+1)·NR) as [steps][NR], a step being one float32, two
// bfloat16 or four int8 that follow each other in K. Columns beyond N are zero,
// and so is what fills the last step.
type Panels struct {
	DType DType
	N, K  int

	// F32, BF16 or I8 holds the weights, the others are nil: (Pad(N)/NR, steps, NR, 1, 2 or 4).
	F32  []float32
	BF16 []uint16
	I8   []int8

	Scale []float32 // Int8 only, (Pad(N)): weight = integer · Scale
	Start []int32   // Int8 only, (Pad(N)): −128·Σ of the column's integers, where its sums begin
}

// MaxInt8K is the largest K of int8 weights: beyond it sums may overflow.
const MaxInt8K = 1 << 16

// NewPanels returns the panels of a zero matrix [n, k].
func NewPanels(d DType, n, k int) *Panels {
	p := &Panels{DType: d, N: n, K: k}
	size := Pad(n) * steps(d, k)
	switch d {
	case Float32:
		p.F32 = make([]float32, size)
	case BFloat16:
		p.BF16 = make([]uint16, 2*size)
	case Int8:
		if k > MaxInt8K {
			panic(fmt.Sprintf("kernel: NewPanels: int8 weights [%d %d], want at most %d columns", n,
				k, MaxInt8K))
		}
		p.I8 = make([]int8, 4*size)
		p.Scale = make([]float32, Pad(n))
		p.Start = make([]int32, Pad(n))
	default:
		panic(fmt.Sprintf("kernel: NewPanels: %v, want float32, bfloat16 or int8", d))
	}
	return p
}

// Len returns the number of panels.
func (p *Panels) Len() int { return Pad(p.N) / NR }

// Memory is what the packed weights take.
func (p *Panels) Memory() [][]byte {
	return [][]byte{Bytes(p.F32), Bytes(p.BF16), Bytes(p.I8), Bytes(p.Scale), Bytes(p.Start)}
}

// Bytes is the memory of s.
func Bytes[T float32 | uint16 | int8 | int32](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), uintptr(len(s))*unsafe.Sizeof(*new(T)))
}

// words returns the weights as steps.
func (p *Panels) words() []uint32 {
	size := Pad(p.N) * steps(p.DType, p.K)
	switch {
	case size == 0:
		return nil
	case p.DType == BFloat16:
		return unsafe.Slice((*uint32)(unsafe.Pointer(&p.BF16[:2*size][0])), size)
	case p.DType == Int8:
		return unsafe.Slice((*uint32)(unsafe.Pointer(&p.I8[:4*size][0])), size)
	}
	return words(p.F32[:size])
}

// Pack stores whole rows of W, beginning with output column row.
//
// Shapes: src is (rows, K) without gaps. Calls for disjoint rows may run
// concurrently.
func (p *Panels) Pack(row int, src []float32) {
	rows := 0
	if p.K > 0 {
		rows = len(src) / p.K
	}
	if rows*p.K != len(src) || row < 0 || row+rows > p.N {
		panic(fmt.Sprintf("kernel: Panels.Pack: %d values at row %d of a [%d %d] matrix", len(src),
			row, p.N, p.K))
	}
	if p.DType == Float32 {
		PackRows(p.F32, p.K*NR, row, src, p.K, rows, p.K)
		return
	}
	panel := steps(p.DType, p.K) * NR
	dst := p.words()
	for rows > 0 {
		n := min(rows, 16-row%16)
		d := dst[row/NR*panel:][:panel]
		if p.DType == BFloat16 {
			packBF16(d, row%NR, src, p.K, n, p.K)
		} else {
			packInt8(d, row%NR, src, n, p.K, p.Scale[row:][:n], p.Start[row:][:n])
		}
		row, rows, src = row+n, rows-n, src[n*p.K:]
	}
}
