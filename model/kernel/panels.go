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

// DType is the number format in which weights are stored and multiplied.
// Accumulation is in float32 (int32 for Int8) in every case.
type DType uint8

// The number formats of packed weights.
const (
	Float32  DType = iota
	BFloat16       // weights and activations rounded to bfloat16 (nearest even)
	Int8           // weights per output channel, activations per row, both symmetric
)

// String returns the name used on the command line.
func (d DType) String() string {
	switch d {
	case Float32:
		return "float32"
	case BFloat16:
		return "bfloat16"
	case Int8:
		return "int8"
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// ParseDType reads the name of a number format.
func ParseDType(s string) (DType, error) {
	for _, d := range []DType{Float32, BFloat16, Int8} {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("kernel: unknown dtype %q, want float32, bfloat16 or int8", s)
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
			panic(fmt.Sprintf("kernel: NewPanels: int8 weights [%d %d], want at most %d columns", n, k, MaxInt8K))
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

// Bytes returns the memory that the packed weights take.
func (p *Panels) Bytes() int {
	return 4*len(p.F32) + 2*len(p.BF16) + len(p.I8) + 4*len(p.Scale) + 4*len(p.Start)
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

// words returns floats as dwords.
func words(x []float32) []uint32 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&x[0])), len(x))
}

// floats returns dwords as floats.
func floats(x []uint32) []float32 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&x[0])), len(x))
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
		panic(fmt.Sprintf("kernel: Panels.Pack: %d values at row %d of a [%d %d] matrix", len(src), row, p.N, p.K))
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

// packSteps is how many steps of sixteen rows are converted at a time: 16 KB.
const packSteps = 256

// packBF16 converts rows of W, lds apart, to the columns [col, col+rows) of one
// half panel.
func packBF16(panel []uint32, col int, src []float32, lds, rows, k int) {
	var buf [16 * packSteps]uint32
	for k0 := 0; k0 < k; k0 += 2 * packSteps {
		k1 := min(k, k0+2*packSteps)
		for r := range rows {
			bf16Row(buf[r*packSteps:], src[r*lds+k0:r*lds+k1])
		}
		packHalf(panel[k0/2*NR:], col, buf[:], packSteps, rows, steps(BFloat16, k1-k0))
	}
}

// packInt8 converts rows of W to the columns [col, col+rows) of one half panel.
func packInt8(panel []uint32, col int, src []float32, rows, k int, scale []float32, start []int32) {
	var buf [16 * packSteps]uint32
	clear(start)
	var inv [16]float32
	for r := range rows {
		inv[r], scale[r] = quantScale(maxAbs(src[r*k:][:k]))
	}
	for k0 := 0; k0 < k; k0 += 4 * packSteps {
		k1 := min(k, k0+4*packSteps)
		for r := range rows {
			start[r] -= quantZero * quantRow(buf[r*packSteps:], src[r*k+k0:r*k+k1], inv[r], 0)
		}
		packHalf(panel[k0/4*NR:], col, buf[:], packSteps, rows, steps(Int8, k1-k0))
	}
}

// PackRows packs rows of a matrix as panel columns: source row r becomes output
// column row+r. It serves weights, and the keys of attention, where the keys of
// a sequence are the columns of the score matrix.
//
// Shapes: dst is panels of stride panel elements, [k][NR] each; src is (rows, k)
// with row stride lds. Columns outside [row, row+rows) are left as they are.
func PackRows(dst []float32, panel, row int, src []float32, lds, rows, k int) {
	if rows <= 0 || k <= 0 {
		return
	}
	// Slicing checks the bounds without reading an element that another caller may be writing.
	d := words(dst[:(row+rows-1)/NR*panel+k*NR])
	s := words(src[:(rows-1)*lds+k])
	for r := 0; r < rows; {
		j := row + r
		n := min(rows-r, 16-j%16)
		packHalf(d[j/NR*panel:], j%NR, s[r*lds:], lds, n, k)
		r += n
	}
}

// packHalfGeneric stores src[r][i] as dst[i][col+r].
func packHalfGeneric(dst []uint32, col int, src []uint32, lds, rows, k int) {
	for r := range rows {
		d := dst[col+r:]
		for i, v := range src[r*lds:][:k] {
			d[i*NR] = v
		}
	}
}

// PackCols packs rows of a matrix as panel rows: source row r becomes step
// k = step+r of every panel. It serves the values of attention, where the
// tokens are summed over.
//
// Shapes: dst is panels of stride panel elements, [panel/NR][NR] each; src is
// (rows, n) with row stride lds. Columns from n to Pad(n) are set to zero.
func PackCols(dst []float32, panel, step int, src []float32, lds, rows, n int) {
	whole := n / NR
	if rows > 0 && n%NR == 0 && whole > 0 && active.level != Generic {
		// The assembly trusts these lengths.
		_, _ = src[(rows-1)*lds+n-1], dst[(whole-1)*panel+(step+rows)*NR-1]
		for r, m := 0, rowsPerCall(n); r < rows; r += m {
			spreadRowsAsm(dst[(step+r)*NR:], panel, src[r*lds:], lds, min(m, rows-r), whole)
		}
		return
	}
	for r := range rows {
		s := src[r*lds:][:n]
		at := (step + r) * NR
		for p := range whole {
			*(*[NR]float32)(dst[p*panel+at:]) = [NR]float32(s[p*NR:])
		}
		if n%NR != 0 {
			d := dst[whole*panel+at:][:NR]
			clear(d[copy(d, s[whole*NR:]):])
		}
	}
}
