package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// rowCase is one shape of every row operation; out is what they wrote.
type rowCase struct {
	rows, cols, ld, offset int
	span                   Span
	seed                   uint64
	scale                  float32
	out                    map[string]*fenced
}

// run computes all operations at the active level.
func (c *rowCase) run() {
	c.out = map[string]*fenced{}
	r := rand.New(rand.NewPCG(c.seed, 1))
	block := func(name string) *fenced {
		f := newFenced((c.rows-1)*c.ld+c.cols, c.offset)
		f.normal(r)
		for i := range f.s {
			f.s[i] *= c.scale
		}
		c.out[name] = f
		return f
	}
	w, b := block("w"), block("b")
	for _, e := range []Epilogue{GELU, GELUTanh, ReLU} {
		x := block([]string{GELU: "GELU", GELUTanh: "GELUTanh", ReLU: "ReLU"}[e])
		Activate(x.s, c.ld, c.rows, c.cols, e)
	}
	SoftCap(block("SoftCap").s, c.ld, c.rows, c.cols, 5)
	dst, gate, up := block("SiLUMul"), block("gate"), block("up")
	Gate(dst.s, c.ld, gate.s, c.ld, up.s, c.ld, c.rows, c.cols, SiLUMul)
	Gate(gate.s, c.ld, gate.s, c.ld, up.s, c.ld, c.rows, c.cols, GELUTanhMul)
	SoftmaxRows(block("Softmax").s, c.ld, c.rows, c.cols, c.span, 0.5)
	x := block("x")
	RMSNormRows(block("RMSNorm").s, c.ld, x.s, c.ld, c.rows, w.s[:c.cols], 1e-6)
	LayerNormRows(block("LayerNorm").s, c.ld, x.s, c.ld, c.rows, w.s[:c.cols], b.s[:c.cols], 1e-3)
	RotateRows(x.s, c.ld, c.rows, 1, c.cols, w.s, b.s, c.ld, c.cols/2)
	AddTo(w.s, b.s)
	AddScaled(b.s, 0.3, x.s)
	c.out["Dot"] = newFenced(1, 0)
	c.out["Dot"].s[0] = Dot(up.s, w.s)
}

// FuzzRows compares the levels with the specification in plain Go over shapes.
func FuzzRows(f *testing.F) {
	f.Add(uint8(1), uint16(1), uint8(0), uint8(0), int8(0), int8(1), int8(0), int8(0), uint64(1))
	f.Add(uint8(7), uint16(33), uint8(3), uint8(1), int8(-5), int8(20), int8(1), int8(2), uint64(2))
	f.Add(uint8(9), uint16(64), uint8(16), uint8(7), int8(3), int8(64), int8(-1), int8(-1), uint64(3))
	f.Add(uint8(20), uint16(130), uint8(1), uint8(5), int8(0), int8(111), int8(0), int8(1), uint64(4))
	f.Add(uint8(3), uint16(511), uint8(0), uint8(2), int8(17), int8(127), int8(15), int8(17), uint64(5))
	f.Fuzz(func(t *testing.T, rows uint8, cols uint16, pad, offset uint8, lo, hi, loStep, hiStep int8, seed uint64) {
		c := rowCase{
			rows: 1 + int(rows)%24, cols: 1 + int(cols)%600, offset: int(offset) % 32, seed: seed, scale: float32(math.Exp2(float64(seed%7)) / 16),
			span: Span{int(lo), int(hi), int(loStep), int(hiStep)},
		}
		c.ld = c.cols + int(pad)%40
		want, got := c, c
		restore := SetLevel(Generic)
		want.run()
		restore()
		for _, l := range Available()[1:] {
			restore := SetLevel(l)
			got.run()
			restore()
			for name, w := range want.out {
				g := got.out[name]
				g.check(t)
				size := float64(1) // of the numbers that a result is the sum of
				for _, v := range w.s {
					size = max(size, math.Abs(float64(v)))
				}
				if name == "Dot" {
					size = float64(len(want.out["up"].s)) * 64
				}
				for i, v := range w.s {
					if name == "Softmax" && v == 0 {
						require.Equal(t, v, g.s[i], "%s at %d", name, i)
					}
					// Two results within 1e-6 of the same sum each.
					require.InDelta(t, v, g.s[i], 2e-6*size, "%v: %s at %d of %+v", l, name, i, c)
				}
			}
		}
	})
}

func TestRowsAllocateNothing(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		const rows, cols = 4, 70
		x, y, w, h := make([]float32, rows*cols), make([]float32, rows*cols), make([]float32, cols), make([]uint16, cols)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			Activate(x, cols, rows, cols, GELU)
			Gate(x, cols, x, cols, y, cols, rows, cols, SiLUMul)
			Activate(x, cols, rows, cols, Tanh)
			SoftmaxRows(x, cols, rows, cols, Span{Hi: cols}, 1)
			Softmax(x, 3, cols, 1)
			RMSNormRows(y, cols, x, cols, rows, w, 1e-6)
			LayerNormRows(y, cols, x, cols, rows, w, nil, 1e-6)
			RotateRows(x, rows*cols, 1, rows, cols, w, w, 30, 30)
			AddTo(x, y)
			AddScaled(x, 0.5, y)
			Dot(x, y)
			RoundBF16(h, w)
			WidenBF16(w, h)
		}))
	})
}

// TestRowsLongerThanOneCall says that the bounds on a call change nothing.
func TestRowsLongerThanOneCall(t *testing.T) {
	const cols = 1000
	rows := 2*rowsPerCall(cols) + 3
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 9))
		x := newFenced(rows*cols, 1)
		x.normal(r)
		w := newFenced(cols, 1)
		w.normal(r)
		for name, op := range map[string]func(x []float32, row, rows int){
			"softmax": func(x []float32, row, rows int) {
				SoftmaxRows(x, cols, rows, cols, Span{3 * row, 5 + 7*row, 3, 7}, 1)
			},
			"RMSNorm":   func(x []float32, _, rows int) { RMSNormRows(x, cols, x, cols, rows, w.s, 1e-6) },
			"LayerNorm": func(x []float32, _, rows int) { LayerNormRows(x, cols, x, cols, rows, w.s, nil, 1e-6) },
			"Activate":  func(x []float32, _, rows int) { Activate(x, cols, rows, cols, GELUTanh) },
			"SoftCap":   func(x []float32, _, rows int) { SoftCap(x, cols, rows, cols, 2) },
			"Gate":      func(x []float32, _, rows int) { Gate(x, cols, x, cols, x, cols, rows, cols, SiLUMul) },
			"Rotate": func(y []float32, row, rows int) {
				RotateRows(y, cols, rows, 2, cols/2, x.s[row*cols:], x.s[row*cols+300:], cols, 200)
			},
		} {
			t.Run(name, func(t *testing.T) {
				got := append([]float32(nil), x.s...)
				op(got, 0, rows)
				want := append([]float32(nil), x.s...)
				for _, at := range []int{0, 1, rowsPerCall(cols) - 1, rowsPerCall(cols), 2 * rowsPerCall(cols), rows - 1} {
					op(want[at*cols:][:cols], at, 1)
					require.Equal(t, bits(want[at*cols:][:cols]), bits(got[at*cols:][:cols]), "row %d", at)
				}
			})
		}
	})
}
