package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/warmserve/warmserve/model/cuda/kernel"
)

func TestHeadsAreNormalisedOneByOne(t *testing.T) {
	for _, n := range formats {
		for _, s := range []struct{ heads, d, ld int }{{3, 8, 40}, {2, 20, 50}, {3, 20, 64}, {5, 64, 400}, {1, 300, 301}} {
			t.Run(fmt.Sprintf("%s %d heads of %d", n.name, s.heads, s.d), func(t *testing.T) {
				const rows = 3
				m := newMachine(t)
				x, w := m.random(n, rows, s.heads*s.d, s.ld, 1), m.random(f32, 1, s.d, s.d, 2)
				launch(m, "rmsnorm_"+n.name, 2, kernel.Rows{Y: x.at, LDY: int32(s.ld), X: x.at, LDX: int32(s.ld), W: w.at, Eps: rowEps,
					Header: put(m, []int32{rows}), N: int32(s.d), Heads: int32(s.heads)})
				x.check(t, 3e-7, 0, func(r, c int) float64 {
					sum := 0.0
					for _, v := range x.v[r][c/s.d*s.d:][:s.d] {
						sum += v * v
					}
					return x.v[r][c] / math.Sqrt(sum/float64(s.d)+rowEps) * w.v[0][c%s.d]
				})
			})
		}
	}
}

func TestHeadsAreTurned(t *testing.T) {
	for _, n := range formats {
		for _, s := range []struct{ heads, d, pairs, ld int }{{3, 8, 4, 30}, {2, 20, 3, 41}, {5, 64, 32, 400}, {2, 7, 3, 14}, {2, 40, 20, 80}, {2, 24, 8, 48}} {
			for _, in := range []string{"in place", "apart"} {
				t.Run(fmt.Sprintf("%s %d heads of %d, %d pairs, %s", n.name, s.heads, s.d, s.pairs, in), func(t *testing.T) {
					const rows = 3
					m := newMachine(t)
					x, turn := m.random(n, rows, s.heads*s.d, s.ld, 1), m.random(f32, 9, 2*s.pairs, 2*s.pairs, 2)
					y := x
					if in == "apart" {
						y = m.empty(n, rows, s.heads*s.d, s.ld+1)
					}
					index := []int32{8, 0, 5}
					launch(m, "rotate_"+n.name, 2, kernel.Rows{Y: y.at, LDY: int32(y.ld), X: x.at, LDX: int32(s.ld), Turn: turn.at,
						Index: put(m, index), Header: put(m, []int32{rows}), N: int32(s.d), Heads: int32(s.heads), Pairs: int32(s.pairs)})
					y.check(t, 1e-7, 6, func(r, c int) float64 {
						i, v := c%s.d, x.v[r]
						if i >= 2*s.pairs {
							return v[c]
						}
						at := turn.v[index[r]][i%s.pairs*2:]
						if i < s.pairs {
							return v[c]*at[0] - v[c+s.pairs]*at[1]
						}
						return v[c]*at[0] + v[c-s.pairs]*at[1]
					})
				})
			}
		}
	}
}

// Rows 0 to 2 are a sequence, and rows 4 to 8; row 3 holds NaN.
var (
	firsts = []int32{0, 0, 0, 3, 4, 4, 4, 4, 4}
	behind = []int32{3, 3, 3, 4, 9, 9, 9, 9, 9}
)

func twoSequences(m *machine, n numbers, cols, ld int) *matrix {
	return m.matrix(n, len(firsts), cols, ld, func(r, c int) float64 {
		if r == 3 {
			return math.NaN()
		}
		return math.Sin(float64(r*cols + c))
	})
}

func TestNeighboursAreOfTheSameSequence(t *testing.T) {
	for _, n := range formats {
		const cols, tokens, rows = 50, 3, 3
		m := newMachine(t)
		x := twoSequences(m, n, cols, cols+1)
		for _, first := range []int{0, 4} {
			y := m.empty(n, rows, cols*tokens, cols*tokens)
			index, until := make([]int32, rows), make([]int32, rows)
			for i := range index { // the batch begins with the sequence
				index[i], until[i] = firsts[first]-int32(first), behind[first]-int32(first)
			}
			launch(m, "neighbours_"+n.name, 2, kernel.Rows{Y: y.at, LDY: int32(y.ld), X: x.row(first), LDX: int32(x.ld),
				Index: put(m, index), Until: put(m, until), Header: put(m, []int32{rows}), N: cols, Kernel: tokens})
			y.check(t, 0, 0, func(r, c int) float64 {
				if from := first + r + c%tokens - tokens/2; from >= int(firsts[first]) && from < int(behind[first]) {
					return x.v[from][c/tokens]
				}
				return 0
			})
		}
	}
}

func TestMeansAreOfASequence(t *testing.T) {
	for _, n := range formats {
		const cols = 1030
		m := newMachine(t)
		x, y := twoSequences(m, n, cols, cols+2), m.empty(n, 2, cols, cols)
		launch(m, "mean_"+n.name, 1, kernel.Rows{Y: y.at, LDY: cols, X: x.at, LDX: int32(x.ld), N: cols,
			Index: put(m, []int32{4, 0}), Until: put(m, []int32{9, 3}), Header: put(m, []int32{2})})
		y.check(t, 3e-7, 1, func(r, c int) float64 {
			sum, rows := 0.0, [][]float64{x.v[4], x.v[5], x.v[6], x.v[7], x.v[8]}
			if r == 1 {
				rows = x.v[:3]
			}
			for _, v := range rows {
				sum += v[c]
			}
			return sum / float64(len(rows))
		})
	}
}

func TestScoresAreFloat32(t *testing.T) {
	for _, n := range formats {
		for _, s := range []struct{ rows, c, outputs, ld int }{{1, 1, 1, 1}, {9, 40, 1, 40}, {6, 300, 7, 304}, {3, 1027, 2, 1029}} {
			t.Run(fmt.Sprintf("%s %dx%d to %d", n.name, s.rows, s.c, s.outputs), func(t *testing.T) {
				m := newMachine(t)
				x, w, b := m.random(n, s.rows, s.c, s.ld, 1), m.random(f32, s.outputs, s.c, s.c, 2), m.random(f32, 1, s.outputs, s.outputs, 3)
				a := kernel.Score{X: x.at, LDX: int32(s.ld), W: w.at, B: b.at, C: int32(s.c), N: int32(s.outputs), Header: put(m, []int32{int32(s.rows)})}
				run := func(grid int, a kernel.Score) *matrix {
					y := m.empty(f32, s.rows, s.outputs, s.outputs)
					a.Y = y.at
					launch(m, "score_"+n.name, grid, a)
					return y
				}
				y := run(2, a)
				y.check(t, 1e-6, math.Sqrt(float64(s.c)), func(r, c int) float64 {
					sum := b.v[0][c]
					for i, v := range x.v[r] {
						sum += v * w.v[c][i]
					}
					return sum
				})
				last := a
				last.X, last.Header = x.row(s.rows-1), put(m, []int32{1})
				same(t, y, s.rows-1, run(1, last), 0, 1)
			})
		}
	}
}
