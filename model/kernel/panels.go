package kernel

import "fmt"

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
// output columns [p·NR, (p+1)·NR) as [K][NR]. Columns beyond N are zero.
type Panels struct {
	DType DType
	N, K  int

	F32 []float32 // (Pad(N)/NR, K, NR)
}

// NewPanels returns the panels of a zero matrix [n, k].
func NewPanels(d DType, n, k int) *Panels {
	p := &Panels{DType: d, N: n, K: k}
	switch d {
	case Float32:
		p.F32 = make([]float32, Pad(n)*k)
	default:
		panic(fmt.Sprintf("kernel: NewPanels: dtype %v, want float32", d))
	}
	return p
}

// Len returns the number of panels.
func (p *Panels) Len() int { return Pad(p.N) / NR }

// Bytes returns the memory that the packed weights take.
func (p *Panels) Bytes() int { return 4 * len(p.F32) }

// Pack stores whole rows of W, beginning with output column row.
//
// Shapes: src is (rows, K) without gaps. Calls for disjoint rows may run
// concurrently.
func (p *Panels) Pack(row int, src []float32) {
	rows := len(src) / p.K
	if rows*p.K != len(src) || row < 0 || row+rows > p.N {
		panic(fmt.Sprintf("kernel: Panels.Pack: %d values at row %d of a [%d %d] matrix", len(src), row, p.N, p.K))
	}
	PackRows(p.F32, p.K*NR, row, src, p.K, rows, p.K)
}

// PackRows packs rows of a matrix as panel columns: source row r becomes output
// column row+r. It serves weights, and the keys of attention, where the keys of
// a sequence are the columns of the score matrix.
//
// Shapes: dst is panels of stride panel elements, [k][NR] each; src is (rows, k)
// with row stride lds. Columns outside [row, row+rows) are left as they are.
func PackRows(dst []float32, panel, row int, src []float32, lds, rows, k int) {
	for r := range rows {
		j := row + r
		d := dst[j/NR*panel:][:(k-1)*NR+j%NR+1]
		s := src[r*lds:][:k]
		for i, v := range s {
			d[i*NR+j%NR] = v
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
	for r := range rows {
		s := src[r*lds:][:n]
		for p := 0; p*NR < n; p++ {
			d := dst[p*panel+(step+r)*NR:][:NR]
			clear(d[copy(d, s[p*NR:]):])
		}
	}
}
