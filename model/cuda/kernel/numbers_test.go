package kernel_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// numbers is a number format of rows.
type numbers struct {
	name  string
	bytes int
	// eps is the error of a value that is rounded once, relative to it.
	eps float64
}

var (
	f32     = numbers{"f32", 4, 0x1p-24}
	bf16    = numbers{"bf16", 2, 0x1p-8}
	formats = []numbers{f32, bf16}
)

func (n numbers) round(v float64) float64 {
	f := float32(v)
	if n == f32 || f != f {
		return float64(f)
	}
	b := math.Float32bits(f)
	return float64(math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff))
}

// matrix is rows of values on a card, with NaN between and behind them.
type matrix struct {
	numbers
	m              *machine
	rows, cols, ld int
	v              [][]float64 // what was put there
	at             kernel.Ptr
}

// spare is how many rows of NaN lie behind a matrix.
const spare = 3

func (m *machine) matrix(n numbers, rows, cols, ld int, value func(r, c int) float64) *matrix {
	x := &matrix{numbers: n, m: m, rows: rows, cols: cols, ld: ld}
	f, h := make([]float32, (rows+spare)*ld), make([]uint16, (rows+spare)*ld)
	for i := range f {
		f[i] = float32(math.NaN())
	}
	for r := range rows {
		row := make([]float64, cols)
		for c := range row {
			row[c] = n.round(value(r, c))
			f[r*ld+c] = float32(row[c])
		}
		x.v = append(x.v, row)
	}
	for i, v := range f {
		h[i] = uint16(math.Float32bits(v) >> 16)
	}
	if n == f32 {
		x.at = put(m, f)
	} else {
		x.at = put(m, h)
	}
	return x
}

// empty is a matrix of NaN, to be written.
func (m *machine) empty(n numbers, rows, cols, ld int) *matrix {
	return m.matrix(n, rows, cols, ld, func(int, int) float64 { return math.NaN() })
}

// random is a matrix of normal deviates.
func (m *machine) random(n numbers, rows, cols, ld int, seed uint64) *matrix {
	r := rand.New(rand.NewPCG(seed, 7))
	return m.matrix(n, rows, cols, ld, func(int, int) float64 { return r.NormFloat64() })
}

// all reads the whole memory of the matrix, rows behind it included.
func (x *matrix) all() []float64 {
	n := (x.rows + spare) * x.ld
	out := make([]float64, n)
	if x.numbers == f32 {
		for i, v := range get[float32](x.m, x.at, n) {
			out[i] = float64(v)
		}
		return out
	}
	for i, v := range get[uint16](x.m, x.at, n) {
		out[i] = float64(math.Float32frombits(uint32(v) << 16))
	}
	return out
}

// row returns where a row begins.
func (x *matrix) row(r int) kernel.Ptr { return x.at + kernel.Ptr(r*x.ld*x.bytes) }

// check compares what a kernel wrote with references: within the rounding of the format
// and rel·(|want| + size). Nothing may have been written elsewhere.
func (x *matrix) check(t *testing.T, rel, size float64, want func(r, c int) float64) {
	t.Helper()
	worst := 0.0
	for i, got := range x.all() {
		r, c := i/x.ld, i%x.ld
		if r >= x.rows || c >= x.cols {
			if got == got {
				t.Fatalf("row %d, column %d, outside of the matrix: written", r, c)
			}
			continue
		}
		w := want(r, c)
		if w != w {
			if got == got {
				t.Fatalf("row %d, column %d: %v, want NaN", r, c, got)
			}
			continue
		}
		limit := x.eps*math.Abs(w) + rel*(math.Abs(w)+size)
		if x.numbers == f32 {
			limit = rel * (math.Abs(w) + size)
		}
		if d := math.Abs(got - w); !(d <= limit) {
			t.Fatalf("row %d, column %d: %v, want %v, error %.2e, at most %.2e", r, c, got, w, d, limit)
		} else if d > 0 {
			worst = max(worst, d/limit)
		}
	}
	t.Logf("largest error: %.2f of what it may be", worst)
}

// same says that two matrices hold the same values in some of their rows.
func same(t *testing.T, a *matrix, ra int, b *matrix, rb, rows int) {
	t.Helper()
	x, y := a.all(), b.all()
	for r := range rows {
		for c := range a.cols {
			p, q := x[(ra+r)*a.ld+c], y[(rb+r)*b.ld+c]
			if !assert.Equal(t, math.Float64bits(p), math.Float64bits(q), "row %d, column %d: %v and %v", ra+r, c, p, q) {
				return
			}
		}
	}
}
