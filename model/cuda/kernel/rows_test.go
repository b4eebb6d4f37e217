package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// A rowCase is a kernel on whole rows with its reference in float64.
type rowCase struct {
	name      string
	rel, size float64 // see matrix.check
	set       func(a *kernel.Rows, f *rowInputs)
	want      func(f *rowInputs, r, c int) float64
}

// rowInputs are what row kernels read.
type rowInputs struct {
	x, z, w, b *matrix
	index      []int32
	mean, rms  []float64 // of the rows of x
	rstd       []float64
}

const rowEps = 1e-5

var rowCases = []rowCase{
	{"lookup", 0, 0, nil, func(f *rowInputs, r, c int) float64 { return f.x.v[f.index[r]][c] }},
	{"lookup", 1e-7, 0, func(a *kernel.Rows, f *rowInputs) { a.Z, a.LDZ = f.z.at, int32(f.z.ld) },
		func(f *rowInputs, r, c int) float64 { return f.x.v[f.index[r]][c] + f.z.v[r][c] }},
	{"scale", 1e-7, 0, func(a *kernel.Rows, _ *rowInputs) { a.Factor = 0.3 },
		func(f *rowInputs, r, c int) float64 { return float64(float32(0.3)) * f.x.v[r][c] }},
	{"add", 1e-7, 0, func(a *kernel.Rows, f *rowInputs) { a.Z, a.LDZ = f.z.at, int32(f.z.ld) },
		func(f *rowInputs, r, c int) float64 { return f.x.v[r][c] + f.z.v[r][c] }},
	{"affine", 1e-7, 3, nil, func(f *rowInputs, r, c int) float64 { return f.x.v[r][c]*f.w.v[0][c] + f.b.v[0][c] }},
	{"rmsnorm", 3e-7, 0, nil, func(f *rowInputs, r, c int) float64 { return f.x.v[r][c] * f.rms[r] * f.w.v[0][c] }},
	{"layernorm", 4e-7, 3, nil, func(f *rowInputs, r, c int) float64 {
		return (f.x.v[r][c]-f.mean[r])*f.rstd[r]*f.w.v[0][c] + f.b.v[0][c]
	}},
	{"layernorm", 4e-7, 3, func(a *kernel.Rows, _ *rowInputs) { a.B = 0 }, func(f *rowInputs, r, c int) float64 {
		return (f.x.v[r][c] - f.mean[r]) * f.rstd[r] * f.w.v[0][c]
	}},
}

func inputs(m *machine, n numbers, rows, cols, ld int) *rowInputs {
	f := &rowInputs{x: m.random(n, rows, cols, ld, 1), z: m.random(n, rows, cols, ld, 2),
		w: m.random(f32, 1, cols, cols, 3), b: m.random(f32, 1, cols, cols, 4)}
	for r := range rows {
		f.index = append(f.index, int32((r*5+3)%rows))
		mean, squares, variance := 0.0, 0.0, 0.0
		for _, v := range f.x.v[r] {
			mean += v / float64(cols)
			squares += v * v / float64(cols)
		}
		for _, v := range f.x.v[r] {
			variance += (v - mean) * (v - mean) / float64(cols)
		}
		f.mean, f.rms = append(f.mean, mean), append(f.rms, 1/math.Sqrt(squares+rowEps))
		f.rstd = append(f.rstd, 1/math.Sqrt(variance+rowEps))
	}
	return f
}

func TestRowKernelsComputeWhatFloat64Does(t *testing.T) {
	for _, n := range formats {
		for i, k := range rowCases {
			for _, s := range []struct{ rows, cols, ld int }{{1, 1, 1}, {3, 7, 9}, {5, 40, 48}, {2, 1100, 1100}, {2, 1037, 1040}, {3, 64, 65}} {
				t.Run(fmt.Sprintf("%s %d %s %dx%d of %d", k.name, i, n.name, s.rows, s.cols, s.ld), func(t *testing.T) {
					m := newMachine(t)
					f, y := inputs(m, n, s.rows, s.cols, s.ld), m.empty(n, s.rows, s.cols, s.ld)
					a := kernel.Rows{Y: y.at, LDY: int32(y.ld), X: f.x.at, LDX: int32(f.x.ld), W: f.w.at, B: f.b.at, Eps: rowEps,
						Index: put(m, f.index), Header: put(m, []int32{-1, int32(s.rows)}), At: 1, N: int32(s.cols)}
					if k.set != nil {
						k.set(&a, f)
					}
					launch(m, k.name+"_"+n.name, 2, a)
					y.check(t, k.rel, k.size, func(r, c int) float64 { return k.want(f, r, c) })
				})
			}
		}
	}
}

// A row's values do not depend on the grid, on the rows beside it, on where it lies or
// on how it is read.
func TestARowHasTheSameBitsInAnyBatch(t *testing.T) {
	for _, n := range formats {
		for i, k := range rowCases {
			t.Run(fmt.Sprintf("%s %d %s", k.name, i, n.name), func(t *testing.T) {
				const rows, cols = 5, 1096
				m := newMachine(t)
				f := inputs(m, n, rows, cols, cols)
				run := func(x, z *matrix, first, rows, grid int) *matrix {
					y := m.empty(n, rows, cols, x.ld)
					index := f.index[first:]
					if k.name == "lookup" {
						index = append([]int32{}, index...)
						for i := range index {
							index[i] -= int32(first)
						}
					}
					a := kernel.Rows{Y: y.at, LDY: int32(y.ld), X: x.row(first), LDX: int32(x.ld), W: f.w.at, B: f.b.at, Eps: rowEps,
						Index: put(m, index), Header: put(m, []int32{int32(rows)}), N: cols}
					g := *f
					g.z = &matrix{at: z.row(first), ld: z.ld}
					if k.set != nil {
						k.set(&a, &g)
					}
					launch(m, k.name+"_"+n.name, grid, a)
					return y
				}
				all := run(f.x, f.z, 0, rows, 2)
				same(t, all, 0, run(f.x, f.z, 0, rows, 7), 0, rows)
				same(t, all, 3, run(f.x, f.z, 3, 1, 1), 0, 1)
				copied := func(x *matrix) *matrix {
					return m.matrix(n, rows, cols, cols+1, func(r, c int) float64 { return x.v[r][c] })
				}
				same(t, all, 0, run(copied(f.x), copied(f.z), 0, rows, 2), 0, rows)
			})
		}
	}
}

func TestActivationsAreThoseOfTheReferences(t *testing.T) {
	functions := map[nn.Activation]func(x float64) float64{
		nn.None: func(x float64) float64 { return x },
		nn.GELU: func(x float64) float64 { return x * 0.5 * math.Erfc(-x/math.Sqrt2) },
		nn.GELUTanh: func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		},
		nn.ReLU:      func(x float64) float64 { return max(x, 0) },
		nn.SiLU:      func(x float64) float64 { return x / (1 + math.Exp(-x)) },
		nn.Tanh:      math.Tanh,
		nn.LeakyReLU: func(x float64) float64 { return max(x, float64(float32(0.01))*x) },
		nn.SELU: func(x float64) float64 {
			if x > 0 {
				return 1.0507009873554804934193349852946 * x
			}
			return 1.0507009873554804934193349852946 * 1.6732632423543772848170429916717 * math.Expm1(x)
		},
	}
	const n = 4000
	m := newMachine(t)
	r := rand.New(rand.NewPCG(1, 1))
	x := m.matrix(f32, 1, n, n, func(_, c int) float64 {
		if c < n/2 {
			return float64(c)/n*40 - 10
		}
		return r.NormFloat64() * math.Exp2(float64(r.IntN(20)-14))
	})
	for act, f := range functions {
		t.Run(fmt.Sprint("activation ", act), func(t *testing.T) {
			y := m.empty(f32, 1, n, n)
			launch(m, "activate_f32", 1, kernel.Rows{Y: y.at, LDY: n, X: x.at, LDX: n, N: n, Act: int32(act), Header: put(m, []int32{1})})
			got, worst, relative := y.all(), 0.0, 0.0
			for c, v := range x.v[0] {
				w := f(v)
				d := math.Abs(got[c] - w)
				if limit := 2.4e-7*math.Abs(w) + 1e-7; !(d <= limit) {
					t.Fatalf("%v: %v, want %v", v, got[c], w)
				}
				worst = max(worst, d)
				if w != 0 && math.Abs(w) > 1e-30 {
					relative = max(relative, d/math.Abs(w))
				}
			}
			t.Logf("largest error %.2e, relative %.2e", worst, relative)
		})
	}
	t.Run("what is no number or infinite", func(t *testing.T) {
		inf := math.Inf(1)
		x := m.matrix(f32, 1, 3, 3, func(_, c int) float64 { return []float64{math.NaN(), inf, -inf}[c] })
		for act, want := range map[nn.Activation][2]float64{nn.GELU: {inf, math.NaN()}, nn.GELUTanh: {inf, math.NaN()},
			nn.ReLU: {inf, 0}, nn.SiLU: {inf, math.NaN()}, nn.Tanh: {1, -1}} {
			y := m.empty(f32, 1, 3, 3)
			launch(m, "activate_f32", 1, kernel.Rows{Y: y.at, LDY: 3, X: x.at, LDX: 3, N: 3, Act: int32(act), Header: put(m, []int32{1})})
			got := y.all()
			for i, w := range []float64{math.NaN(), want[0], want[1]} {
				if got[i] != w && !(got[i] != got[i] && w != w) {
					t.Errorf("activation %d of %v: %v, want %v", act, x.v[0][i], got[i], w)
				}
			}
		}
	})
}
