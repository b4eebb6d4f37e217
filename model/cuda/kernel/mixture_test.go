package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// A mixture is what a test routes.
type mixture struct {
	rows, experts, chosen, top int
	normalized                 bool
}

func (x mixture) taken() int { return x.top + x.experts - x.chosen }

// A routed batch is what choose and sort have written.
type routed struct {
	place, row, expert []int32
	weight             []float32
	counts, offsets    []int32
}

func (x mixture) run(m *machine, logits []float32, grid int) routed {
	n := x.rows * x.taken()
	const counts = 3
	header := make([]int32, counts+2*x.experts+1)
	header[1] = int32(x.rows)
	a := kernel.Route{Logits: put(m, logits), Place: put(m, make([]int32, n)), Weight: put(m, make([]float32, n)), Row: put(m, make([]int32, n)),
		Expert: put(m, make([]int32, n)), Header: put(m, header), At: 1, Experts: int32(x.experts), Chosen: int32(x.chosen), Top: int32(x.top),
		Counts: counts, Offsets: int32(counts + x.experts)}
	if x.normalized {
		a.Normalized = 1
	}
	launch(m, "choose", grid, a)
	launch(m, "sort", grid, a)
	h := get[int32](m, a.Header, len(header))
	require.EqualValues(m.t, x.rows, h[1])
	return routed{get[int32](m, a.Place, n), get[int32](m, a.Row, n), get[int32](m, a.Expert, n), get[float32](m, a.Weight, n),
		h[counts:][:x.experts], h[counts+x.experts:]}
}

// want is the experts of a row, ascending, with their weights.
func (x mixture) want(logits []float32) (experts []int32, weights []float64) {
	order := make([]int32, x.chosen)
	total, share := 0.0, 0.0
	for e := range order {
		order[e] = int32(e)
		total += math.Exp(float64(logits[e]))
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		switch {
		case logits[a] > logits[b]:
			return -1
		case logits[a] < logits[b]:
			return 1
		}
		return 0
	})
	experts = slices.Sorted(slices.Values(order[:x.top]))
	for _, e := range experts {
		w := math.Exp(float64(logits[e])) / total
		weights = append(weights, w)
		share += w
	}
	for i := range weights {
		if x.normalized {
			weights[i] /= share
		}
	}
	for e := x.chosen; e < x.experts; e++ {
		experts, weights = append(experts, int32(e)), append(weights, 1/(1+math.Exp(-float64(logits[e]))))
	}
	return experts, weights
}

func TestRowsTakeTheirExperts(t *testing.T) {
	for _, x := range []mixture{
		{1, 1, 1, 1, false}, {7, 8, 8, 2, true}, {30, 61, 60, 4, false}, {5, 129, 128, 8, true}, {3, 4, 4, 4, false}, {300, 3, 3, 1, true},
	} {
		t.Run(fmt.Sprintf("%d rows, %d of %d", x.rows, x.top, x.experts), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			logits := make([]float32, x.rows*x.experts)
			for i := range logits {
				logits[i] = float32(math.Round(r.NormFloat64()*8) / 4) // with equal ones
			}
			m := newMachine(t)
			got, n := x.run(m, logits, 3), x.taken()
			next := int32(0) // row of the gathered matrix
			for e := range x.experts {
				assert.Equal(t, next, got.offsets[e], "offset of expert %d", e)
				for i, of := range got.expert {
					if of == int32(e) {
						require.Equal(t, next, got.place[i], "entry %d", i)
						require.EqualValues(t, i/n, got.row[next], "row %d of the gathered matrix", next)
						next++
					}
				}
				assert.Equal(t, next-got.offsets[e], got.counts[e], "rows of expert %d", e)
			}
			assert.EqualValues(t, []int32{next, int32(x.rows * n)}, []int32{got.offsets[x.experts], next})
			for r := range x.rows {
				experts, weights := x.want(logits[r*x.experts:][:x.experts])
				require.Equal(t, experts, got.expert[r*n:][:n], "row %d", r)
				for j, w := range weights {
					require.InDelta(t, w, got.weight[r*n+j], 1e-6*w, "row %d, expert %d", r, experts[j])
				}
			}
			one := x // alone
			one.rows = 1
			alone := one.run(m, logits[(x.rows-1)*x.experts:], 1)
			assert.Equal(t, got.expert[(x.rows-1)*n:], alone.expert)
			assert.Equal(t, got.weight[(x.rows-1)*n:], alone.weight)
		})
	}
}

func TestARowOfNaNTakesSomeExperts(t *testing.T) {
	x := mixture{2, 5, 5, 2, true}
	nan := float32(math.NaN())
	got := x.run(newMachine(t), []float32{1, 2, nan, 3, 4, 1, 2, 3, 4, 0}, 1)
	assert.Equal(t, []int32{0, 1, 2, 3}, got.expert)
	assert.True(t, got.weight[0] != got.weight[0] && got.weight[1] != got.weight[1], "weights of a row with NaN are NaN")
	assert.InDelta(t, 1, got.weight[2]+got.weight[3], 1e-6)
}

func TestExpertsAreCombined(t *testing.T) {
	for _, n := range formats {
		for _, s := range []struct{ rows, cols, taken, ld int }{{1, 1, 1, 1}, {3, 50, 3, 51}, {2, 1032, 2, 1032}} {
			for _, in := range []string{"in place", "apart"} {
				t.Run(fmt.Sprintf("%s %dx%d %s", n.name, s.rows, s.cols, in), func(t *testing.T) {
					m := newMachine(t)
					entries := s.rows * s.taken
					x, z, w := m.random(n, entries, s.cols, s.ld, 1), m.random(n, s.rows, s.cols, s.ld, 2), m.random(f32, 1, entries, entries, 3)
					y := z
					if in == "apart" {
						y = m.empty(n, s.rows, s.cols, s.ld+1)
					}
					place := make([]int32, entries)
					for i := range place {
						place[i] = int32(entries - 1 - i)
					}
					launch(m, "combine_"+n.name, 2, kernel.Combine{Y: y.at, LDY: int32(y.ld), Z: z.at, LDZ: int32(z.ld), X: x.at, LDX: int32(x.ld),
						Place: put(m, place), Weight: w.at, Header: put(m, []int32{int32(s.rows)}), N: int32(s.cols), Taken: int32(s.taken)})
					y.check(t, 1e-6, 1, func(r, c int) float64 {
						sum := z.v[r][c]
						for j := range s.taken {
							sum += w.v[0][r*s.taken+j] * x.v[place[r*s.taken+j]][c]
						}
						return sum
					})
				})
			}
		}
	}
}
