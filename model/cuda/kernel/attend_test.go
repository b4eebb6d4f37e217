package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// A sequence is where the tokens of one lie.
type sequence struct {
	prefix, shared int // the first row of a shared prefix, and its length
	row, n         int // the first row of the tokens behind it, and how many
}

// at returns the row of a position.
func (s sequence) at(pos int) int {
	if pos < s.shared {
		return s.prefix + pos
	}
	return s.row + pos - s.shared
}

// tasks of all tokens that are the sequence's own.
func (s sequence) tasks() []kernel.Task {
	var out []kernel.Task
	for i := 0; i < s.n; i += kernel.TaskQueries {
		out = append(out, s.task(i, min(kernel.TaskQueries, s.n-i)))
	}
	return out
}

// task of n tokens from the i-th own one on.
func (s sequence) task(i, n int) kernel.Task {
	return kernel.Task{Row: int32(s.row + i), N: int32(n), At: int32(s.shared + i), Prefix: int32(s.prefix),
		Shared: int32(s.shared), Own: int32(s.row), Keys: int32(s.shared + s.n)}
}

// An attention is what a test computes, with all heads of a token in one row.
type attention struct {
	nn.Attention
	m        *machine
	qkv      *matrix
	pk, pq   *matrix // (H·rows, D): projected rows of distances
	bucket   []int32
	distance int // most
	// tensor says that it is for tensor cores: rows begin at multiples of 16 bytes, and
	// shares are rounded.
	tensor bool
}

// spare is how many values more than its columns a row of a matrix has.
func (a *attention) spare() int {
	if a.tensor {
		return 8
	}
	return 1
}

// newAttention has random tokens where the sequences are, and NaN between them.
func newAttention(m *machine, n numbers, a nn.Attention, sequences []sequence, tensor bool) *attention {
	out, rows, real := &attention{Attention: a, m: m, tensor: tensor}, 0, map[int]bool{}
	for _, s := range sequences {
		for p := range s.shared + s.n {
			real[s.at(p)] = true
			rows = max(rows, s.at(p)+1)
		}
	}
	cols := (a.H + 2*a.K) * a.D
	v := m.random(n, rows, cols, cols, 5).v
	out.qkv = m.matrix(n, rows, cols, cols+a.D%3*out.spare(), func(r, c int) float64 {
		if !real[r] {
			return math.NaN()
		}
		return v[r][c]
	})
	if r := a.Relative; r != nil {
		out.distance = rows
		for d := -(rows - 1); d < rows; d++ {
			out.bucket = append(out.bucket, int32(r.Row(d)))
		}
		out.pk, out.pq = m.random(n, a.H*2*r.Span, a.D, a.D, 6), m.random(n, a.K*2*r.Span, a.D, a.D, 7)
	}
	return out
}

// run computes tasks with a kernel, into a matrix of NaN.
func (a *attention) run(name string, tasks []kernel.Task, grid int) *matrix {
	o := a.m.empty(a.qkv.numbers, a.qkv.rows, a.H*a.D, a.H*a.D+a.spare())
	col := func(c int) kernel.Ptr { return a.qkv.at + kernel.Ptr(c*a.qkv.bytes) }
	args := kernel.Attend{Q: a.qkv.at, K: col(a.H * a.D), V: col((a.H + a.K) * a.D), O: o.at, LDQ: int32(a.qkv.ld), LDKV: int32(a.qkv.ld),
		LDO: int32(o.ld), Tasks: put(a.m, tasks), Header: put(a.m, []int32{int32(len(tasks))}), Heads: int32(a.H), KVHeads: int32(a.K),
		KCol: int32(a.H * a.D), VCol: int32((a.H + a.K) * a.D), D: int32(a.D), Window: int32(a.Window), Reach: int32(a.Reach), Scale: a.Scale, SoftCap: a.SoftCap}
	if a.Causal {
		args.Causal = 1
	}
	if a.tensor {
		args.QMap, args.KVMap = a.qkv.tensorMap(64, spare), a.qkv.tensorMap(max(1, kernel.Table[name].Box), spare)
	}
	if r := a.Relative; r != nil {
		args.Bucket, args.Rows, args.Most = put(a.m, a.bucket), int32(2*r.Span), int32(a.distance)
		if r.Key != nil {
			args.PK = a.pk.at
		}
		if r.Query != nil {
			args.PQ = a.pq.at
		}
	}
	launch(a.m, name, grid, args)
	return o
}

func dot(x, y []float64) float64 {
	s := 0.0
	for i, v := range x {
		s += v * y[i]
	}
	return s
}

// want is what a token's heads have in float64.
func (a *attention) want(s sequence, pos int) []float64 {
	out := make([]float64, a.H*a.D)
	for h := range a.H {
		kv := h / (a.H / a.K)
		q, total := a.qkv.v[s.at(pos)][h*a.D:][:a.D], 0.0
		for j := range s.shared + s.n {
			if a.Causal && j > pos || a.Window > 0 && j <= pos-a.Window || a.Reach > 0 && (j < pos-a.Reach || j > pos+a.Reach) {
				continue
			}
			row := a.qkv.v[s.at(j)]
			k, v := row[(a.H+kv)*a.D:][:a.D], row[(a.H+a.K+kv)*a.D:][:a.D]
			score := dot(q, k)
			if r := a.Relative; r != nil {
				at := r.Row(pos - j)
				if r.Key != nil {
					score += dot(q, a.pk.v[h*2*r.Span+at])
				}
				if r.Query != nil {
					score += dot(k, a.pq.v[kv*2*r.Span+at])
				}
			}
			score *= float64(a.Scale)
			if a.SoftCap > 0 {
				score = float64(a.SoftCap) * math.Tanh(score/float64(a.SoftCap))
			}
			w := math.Exp(score)
			total += w
			for i, x := range v {
				out[h*a.D+i] += w * x
			}
		}
		for i := range a.D {
			out[h*a.D+i] /= total
		}
	}
	return out
}

// check compares a result with float64: rows of no sequence are left alone.
func (a *attention) check(t *testing.T, o *matrix, sequences []sequence) {
	t.Helper()
	want := map[int][]float64{}
	for _, s := range sequences {
		for i := range s.n {
			want[s.row+i] = a.want(s, s.shared+i)
		}
	}
	// A score is a sum of D products, whose error is a factor of its weight.
	rel := 1e-6 * (1 + float64(a.D)/256)
	if a.tensor {
		rel = 0x1p-7
	}
	o.check(t, rel, 1, func(r, c int) float64 {
		if want[r] == nil {
			return math.NaN()
		}
		return want[r][c]
	})
}

// apart are sequences of some lengths with a row between them.
func apart(lengths ...int) []sequence {
	var out []sequence
	row := 1
	for _, n := range lengths {
		out = append(out, sequence{row: row, n: n})
		row += n + 1
	}
	return out
}

func tasksOf(sequences []sequence) []kernel.Task {
	var out []kernel.Task
	for _, s := range sequences {
		out = append(out, s.tasks()...)
	}
	return out
}

// relative is a table for distances up to 12, of which those above 8 are gathered.
func relative(terms string) *nn.Relative {
	r, l := &nn.Relative{Span: 8, Buckets: 8, Longest: 40}, &nn.Linear{}
	if terms != "query" {
		r.Key = l
	}
	if terms != "key" {
		r.Query = l
	}
	return r
}

func TestAttentionOfEveryKind(t *testing.T) {
	scale := nn.DefaultScale
	for _, c := range []struct {
		name    string
		a       nn.Attention
		lengths []int
	}{
		{"causal", nn.Attention{H: 2, K: 1, D: 64, Causal: true, Scale: scale(64)}, []int{1, 5, 33, 131}},
		{"bidirectional", nn.Attention{H: 2, K: 2, D: 16, Scale: scale(16)}, []int{31, 1, 70, 130}},
		{"window", nn.Attention{H: 2, K: 1, D: 24, Causal: true, Window: 9, Scale: scale(24)}, []int{1, 9, 10, 100}},
		{"reach", nn.Attention{H: 1, K: 1, D: 32, Reach: 7, Scale: scale(32)}, []int{3, 8, 100}},
		{"soft cap", nn.Attention{H: 2, K: 1, D: 128, Causal: true, SoftCap: 2, Scale: 0.3}, []int{2, 40}},
		{"head of 1", nn.Attention{H: 3, K: 1, D: 1, Causal: true, Scale: 1}, []int{40}},
		{"head of 7", nn.Attention{H: 2, K: 2, D: 7, Scale: scale(7)}, []int{40}},
		{"head of 80", nn.Attention{H: 2, K: 1, D: 80, Causal: true, Scale: scale(80)}, []int{40}},
		{"head of 129", nn.Attention{H: 1, K: 1, D: 129, Causal: true, Scale: scale(129)}, []int{35}},
		{"head of 256, window, soft cap", nn.Attention{H: 2, K: 1, D: 256, Causal: true, Window: 20, SoftCap: 30, Scale: scale(256)}, []int{33, 2}},
		{"head of 512", nn.Attention{H: 1, K: 1, D: 512, Scale: scale(512)}, []int{20}},
		{"relative", nn.Attention{H: 2, K: 2, D: 32, Scale: scale(96), Relative: relative("both")}, []int{1, 37, 70}},
		{"relative, keys", nn.Attention{H: 2, K: 2, D: 20, Scale: scale(40), Relative: relative("key")}, []int{40}},
		{"relative, queries", nn.Attention{H: 2, K: 2, D: 64, Scale: scale(128), Relative: relative("query")}, []int{40}},
		{"relative, head of 130", nn.Attention{H: 1, K: 1, D: 130, Scale: scale(390), Relative: relative("both")}, []int{40}},
	} {
		for _, n := range formats {
			t.Run(c.name+" "+n.name, func(t *testing.T) {
				sequences := apart(c.lengths...)
				a := newAttention(newMachine(t), n, c.a, sequences, false)
				a.check(t, a.run("attend_"+n.name+"_simt", tasksOf(sequences), 3), sequences)
			})
		}
	}
}

// A token's bits do not depend on whether its prefix is shared and where that lies, on
// what else is in the batch, nor on which tokens are asked for.
func TestAttentionHasTheSameBitsInAnyBatch(t *testing.T) {
	for _, a := range []nn.Attention{
		{H: 2, K: 1, D: 16, Causal: true, Scale: 0.25},
		{H: 1, K: 1, D: 16, Causal: true, Window: 50, Scale: 0.25},
	} {
		for _, n := range formats {
			t.Run(fmt.Sprintf("window %d %s", a.Window, n.name), func(t *testing.T) {
				const shared, own = 128, 45
				sequences := []sequence{{row: 7, n: 20}, {row: 30, n: shared}, {prefix: 30, shared: shared, row: 170, n: own}, {prefix: 30, shared: shared, row: 220, n: 9}}
				x := newAttention(newMachine(t), n, a, sequences, false)
				name := "attend_" + n.name + "_simt"
				all := x.run(name, tasksOf(sequences), 4)
				x.check(t, all, sequences)

				y := *x // the same tokens in one piece, elsewhere
				s := sequence{row: 2, n: shared + own}
				y.qkv = x.m.matrix(n, s.row+s.n, x.qkv.cols, x.qkv.cols, func(r, c int) float64 {
					if r < s.row {
						return math.NaN()
					}
					return x.qkv.v[sequences[2].at(r-s.row)][c]
				})
				whole := y.run(name, s.tasks(), 1)
				same(t, all, 30, whole, s.row, shared)
				same(t, all, 170, whole, s.row+shared, own)
				some := y.run(name, []kernel.Task{s.task(shared+own-1, 1), s.task(100, 37)}, 2)
				same(t, whole, s.row+shared+own-1, some, s.row+shared+own-1, 1)
				same(t, whole, s.row+100, some, s.row+100, 37)
			})
		}
	}
}

// A test of the reference: with equal scores the result is the mean of the values.
func TestTheReferenceOfAttention(t *testing.T) {
	a := newAttention(newMachine(t), f32, nn.Attention{H: 1, K: 1, D: 2, Causal: true}, apart(3), false)
	s := sequence{row: 1, n: 3}
	require.InDelta(t, (a.qkv.v[1][4]+a.qkv.v[2][4])/2, a.want(s, 1)[0], 1e-12)
}
