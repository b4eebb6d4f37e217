package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// gradTolerance is, beside the largest gradient of a tensor, what sums of some
// hundred float32 products may be off; the differences themselves are exact to
// 1e-8 in float64.
const gradTolerance = 1e-5

// checkGrad compares a gradient with central differences of loss, a float64
// function of the values.
func checkGrad(t *testing.T, name string, values, grad []float32, loss func(x []float64) float64) {
	t.Helper()
	x := wide(values)
	want := map[int]float64{}
	most := 0.0
	step := max(1, len(x)/97) // about a hundred elements of large tensors
	for i := 0; i < len(x); i += step {
		const h = 1e-5
		at := x[i]
		x[i] = at + h
		up := loss(x)
		x[i] = at - h
		want[i] = (up - loss(x)) / (2 * h)
		x[i] = at
		most = max(most, math.Abs(want[i]))
	}
	require.Greater(t, most, 0.0, "%s: the loss depends on it", name)
	for i, w := range want {
		require.InDelta(t, w, grad[i], gradTolerance*most, "%s: element %d of %d", name, i, len(x))
	}
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// rows copies dense rows of c values into rows of stride ld, NaN between them.
func rows(x []float32, c, ld int) []float32 {
	out := make([]float32, len(x)/c*ld)
	for i := range out {
		out[i] = float32(math.NaN())
	}
	for i := range len(x) / c {
		copy(out[i*ld:], x[i*c:][:c])
	}
	return out
}

// dense is the inverse of rows.
func dense(x []float32, c, ld int) []float32 {
	var out []float32
	for i := range len(x) / ld {
		out = append(out, x[i*ld:][:c]...)
	}
	return out
}

func dot64(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// linear64 is the specification: y = x·Wᵀ + b.
func linear64(x, w, b []float64, in, out int) []float64 {
	var y []float64
	for i := range len(x) / in {
		for o := range out {
			v := dot64(x[i*in:][:in], w[o*in:][:in])
			if b != nil {
				v += b[o]
			}
			y = append(y, v)
		}
	}
	return y
}

func trained(t *testing.T, l layer, p []nn.Param, r *rand.Rand) []nn.Param {
	t.Helper()
	l.allocTraining(kernel.Float32)
	l.bind(p)
	for i := range p {
		require.Len(t, p[i].Data, p[i].Len())
		copy(p[i].Data, random(r, p[i].Len()))
	}
	l.refresh()
	return p
}

func TestLinearBackwardEqualsDifferences(t *testing.T) {
	const m, in, a, b = 37, 41, 35, 6
	r := rand.New(rand.NewPCG(1, 1))
	w := NewWork(2)
	defer w.Close()
	l := &linear{Linear: &nn.Linear{In: in, Outs: []int{a, b}, Bias: true}}
	p := trained(t, l, l.Params([]string{"a", "b"}), r)
	n := a + b
	weight := append(slices.Clone(p[0].Data), p[2].Data...)
	bias := append(slices.Clone(p[1].Data), p[3].Data...)
	x, dy := random(r, m*in), random(r, m*n)
	ldx, ldy := kernel.Stride(in), kernel.Stride(n)
	dx := make([]float32, m*ldx)
	xs, dys := rows(x, in, ldx), rows(dy, n, ldy)
	l.master.backward(w, dx, ldx, false, dys, ldy, xs, ldx, m)
	checkGrad(t, "x", x, dense(dx, in, ldx), func(x []float64) float64 {
		return dot64(linear64(x, wide(weight), wide(bias), in, n), wide(dy))
	})
	checkGrad(t, "W", weight, append(slices.Clone(p[0].Grad), p[2].Grad...), func(v []float64) float64 {
		return dot64(linear64(wide(x), v, wide(bias), in, n), wide(dy))
	})
	checkGrad(t, "b", bias, append(slices.Clone(p[1].Grad), p[3].Grad...), func(v []float64) float64 {
		return dot64(linear64(wide(x), wide(weight), v, in, n), wide(dy))
	})

	first, once := slices.Clone(dx), slices.Clone(p[0].Grad)
	l.master.backward(w, dx, ldx, true, dys, ldy, xs, ldx, m)
	for i, v := range dense(first, in, ldx) {
		require.InDelta(t, 2*v, dense(dx, in, ldx)[i], 1e-4, "with add dx accumulates")
	}
	for i, v := range once {
		require.InDelta(t, 2*v, p[0].Grad[i], 1e-4, "dW accumulates")
	}
}

func TestRefreshedPanelsComputeTheForwardPass(t *testing.T) {
	const m, in, out = 5, 40, 70
	r := rand.New(rand.NewPCG(2, 1))
	l := &linear{Linear: &nn.Linear{In: in, Outs: []int{out}, Bias: true}}
	p := trained(t, l, l.Params([]string{"l"}), r)
	x := random(r, m*in)
	y := make([]float32, m*kernel.Pad(out))
	l.forward(&kernel.Scratch{}, y, kernel.Pad(out), x, in, m, kernel.Store)
	for i, want := range linear64(wide(x), wide(p[0].Data), wide(p[1].Data), in, out) {
		assert.InDelta(t, want, dense(y, out, kernel.Pad(out))[i], 1e-4)
	}
}

func silu64(x float64) float64 { return x / (1 + math.Exp(-x)) }

func geluTanh64(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func TestGatedBackwardEqualsDifferences(t *testing.T) {
	const m, in, f = 9, 20, 45
	for _, c := range []struct {
		name string
		act  nn.Activation
		f    func(float64) float64
	}{{"silu", nn.SiLU, silu64}, {"gelu tanh", nn.GELUTanh, geluTanh64}} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 1))
			w := NewWork(2)
			defer w.Close()
			g := &gated{Gated: &nn.Gated{In: in, F: f, Bias: true, Act: c.act}}
			p := trained(t, g, g.Params([]string{"gate", "up"}), r)
			for i := range p {
				for j := range p[i].Data {
					p[i].Data[j] *= 0.3
				}
			}
			g.refresh()
			x, dh := random(r, m*in), random(r, m*f)
			ldx, ldh, ldg := kernel.Stride(in), kernel.Stride(f), kernel.Stride(2*kernel.Pad(f))
			xs, h, gu := rows(x, in, ldx), make([]float32, m*ldh), make([]float32, m*ldg)
			g.saved(&kernel.Scratch{}, h, ldh, gu, ldg, xs, ldx, m)
			served := make([]float32, m*ldh)
			g.forward(&kernel.Scratch{}, served, ldh, xs, ldx, m)
			assert.Equal(t, served, h, "the bits are those of serving")

			dx, dgu := make([]float32, m*ldx), make([]float32, m*ldg)
			g.backwardInput(&Scratch{}, dx, ldx, false, dgu, rows(dh, f, ldh), ldh, gu, ldg, m)
			g.master.backwardWeight(w, dgu, ldg, xs, ldx, m)
			loss := func(x, wg, bg, wu, bu []float64) float64 {
				gate, up := linear64(x, wg, bg, in, f), linear64(x, wu, bu, in, f)
				s := 0.0
				for i := range gate {
					s += c.f(gate[i]) * up[i] * float64(dh[i])
				}
				return s
			}
			v := [][]float64{wide(x), wide(p[0].Data), wide(p[1].Data), wide(p[2].Data), wide(p[3].Data)}
			grads := [][]float32{dense(dx, in, ldx), p[0].Grad, p[1].Grad, p[2].Grad, p[3].Grad}
			values := [][]float32{x, p[0].Data, p[1].Data, p[2].Data, p[3].Data}
			for i, name := range []string{"x", "gate weight", "gate bias", "up weight", "up bias"} {
				checkGrad(t, name, values[i], grads[i], func(z []float64) float64 {
					u := slices.Clone(v)
					u[i] = z
					return loss(u[0], u[1], u[2], u[3], u[4])
				})
			}
		})
	}
}

func TestNormBackwardEqualsDifferences(t *testing.T) {
	const m, c, eps = 70, 19, 1e-3 // more rows than one partial sum covers
	r := rand.New(rand.NewPCG(4, 1))
	w := NewWork(3)
	defer w.Close()
	rms64 := func(x, g []float64) []float64 {
		var y []float64
		for i := range len(x) / c {
			row := x[i*c:][:c]
			rstd := 1 / math.Sqrt(dot64(row, row)/c+eps)
			for j, v := range row {
				y = append(y, v*rstd*g[j])
			}
		}
		return y
	}
	layer64 := func(x, g, b []float64) []float64 {
		var y []float64
		for i := range len(x) / c {
			row := x[i*c:][:c]
			mean, square := 0.0, 0.0
			for _, v := range row {
				mean += v / c
			}
			for _, v := range row {
				square += (v - mean) * (v - mean) / c
			}
			for j, v := range row {
				y = append(y, (v-mean)/math.Sqrt(square+eps)*g[j]+b[j])
			}
		}
		return y
	}
	x, dy := random(r, 2*m*c), random(r, 2*m*c)
	t.Run("RMSNorm of two heads a row", func(t *testing.T) {
		for _, offset := range []float32{0, 1} {
			n := &rmsNorm{RMSNorm: &nn.RMSNorm{C: c, Eps: eps, Offset: offset}}
			p := trained(t, n, n.Params([]string{"n"}), r)
			ld := 2*c + 5
			dx := rows(dy, 2*c, ld)
			n.backward(w, dx, ld, false, dx, ld, rows(x, 2*c, ld), ld, m, 2)
			whole := func(w []float64) []float64 {
				out := slices.Clone(w)
				for i := range out {
					out[i] += float64(offset)
				}
				return out
			}
			checkGrad(t, "x", x, dense(dx, 2*c, ld), func(z []float64) float64 { return dot64(rms64(z, whole(wide(p[0].Data))), wide(dy)) })
			checkGrad(t, "w", p[0].Data, p[0].Grad, func(z []float64) float64 { return dot64(rms64(wide(x), whole(z)), wide(dy)) })
		}
	})
	t.Run("LayerNorm", func(t *testing.T) {
		n := &layerNorm{LayerNorm: &nn.LayerNorm{C: c, Eps: eps}}
		p := trained(t, n, n.Params([]string{"n"}), r)
		dx := make([]float32, 2*m*c)
		n.backward(w, dx, c, true, dy, c, x, c, 2*m, 1)
		checkGrad(t, "x", x, dx, func(z []float64) float64 {
			return dot64(layer64(z, wide(p[0].Data), wide(p[1].Data)), wide(dy))
		})
		checkGrad(t, "w", p[0].Data, p[0].Grad, func(z []float64) float64 {
			return dot64(layer64(wide(x), z, wide(p[1].Data)), wide(dy))
		})
		checkGrad(t, "b", p[1].Data, p[1].Grad, func(z []float64) float64 {
			return dot64(layer64(wide(x), wide(p[0].Data), z), wide(dy))
		})
	})
}

// attention64 is the specification for one sequence: every query head h of the
// tokens [lo, hi), with the weights' factor mask[h][token][key], nil for ones.
func attention64(a *attention, q, k, v []float64, n, lo, hi int, mask func(h, i, j int) float64) []float64 {
	out := make([]float64, (hi-lo)*a.H*a.D)
	for h := range a.H {
		kh := h / (a.H / a.K)
		for i := lo; i < hi; i++ {
			p, sum := make([]float64, n), 0.0
			for j := range n {
				if a.Causal && j > i || a.Window > 0 && j <= i-a.Window {
					continue
				}
				s := float64(a.Scale) * dot64(q[(i-lo)*a.H*a.D+h*a.D:][:a.D], k[j*a.K*a.D+kh*a.D:][:a.D])
				if c := float64(a.SoftCap); c > 0 {
					s = c * math.Tanh(s/c)
				}
				p[j] = math.Exp(s)
				sum += p[j]
			}
			for j := range n {
				f := p[j] / sum
				if mask != nil {
					f *= mask(h, i, j)
				}
				for d := range a.D {
					out[(i-lo)*a.H*a.D+h*a.D+d] += f * v[j*a.K*a.D+kh*a.D+d]
				}
			}
		}
	}
	return out
}

func TestAttentionBackwardEqualsDifferences(t *testing.T) {
	for _, c := range []struct {
		name   string
		a      nn.Attention
		n      int
		lo, hi int
		drop   float32
	}{
		{"causal with grouped heads", nn.Attention{H: 4, K: 2, D: 8, Causal: true}, 21, 0, 21, 0},
		{"causal over several blocks of queries", nn.Attention{H: 1, K: 1, D: 4, Causal: true}, 70, 0, 70, 0},
		{"bidirectional", nn.Attention{H: 2, K: 2, D: 32}, 18, 0, 18, 0},
		{"sliding window", nn.Attention{H: 2, K: 1, D: 8, Causal: true, Window: 5}, 23, 0, 23, 0},
		{"the last token alone", nn.Attention{H: 4, K: 2, D: 8, Causal: true}, 12, 11, 12, 0},
		{"the first token of an encoder alone", nn.Attention{H: 2, K: 2, D: 8}, 12, 0, 1, 0},
		{"the last token in a window", nn.Attention{H: 2, K: 2, D: 8, Causal: true, Window: 4}, 12, 11, 12, 0},
		{"one token", nn.Attention{H: 2, K: 1, D: 8, Causal: true}, 1, 0, 1, 0},
		{"with capped scores", nn.Attention{H: 4, K: 2, D: 8, Causal: true, SoftCap: 0.7}, 21, 0, 21, 0},
		{"with capped scores, dropout and a window", nn.Attention{H: 2, K: 1, D: 8, Causal: true, Window: 9, SoftCap: 2}, 60, 0, 60, 0.5},
		{"with dropout", nn.Attention{H: 4, K: 2, D: 8, Causal: true}, 21, 0, 21, 0.3},
		{"with dropout and a window", nn.Attention{H: 2, K: 1, D: 8, Causal: true, Window: 9}, 60, 0, 60, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkAttention(t, &attention{Attention: &c.a}, []Span{{Len: c.n, Prefix: -1}}, []Query{{Lo: c.lo, Hi: c.hi}}, c.drop)
		})
	}
}

// TestAttentionBehindSharedPrefixesEqualsDifferences has sequences of 13 and some tokens, and of 13, 5
// and 9 or 3, of which the first 13, or 18, are the same: each computed once.
func TestAttentionBehindSharedPrefixesEqualsDifferences(t *testing.T) {
	tree := func(n int) ([]Span, []Query) {
		return []Span{{Row: 0, Len: 13, Prefix: -1}, {Row: 13, Len: n, Prefix: 0, Pos: 13}, {Row: 13 + n, Len: 5, Prefix: 0, Pos: 13},
				{Row: 18 + n, Len: 9, Prefix: 2, Pos: 18}, {Row: 27 + n, Len: 3, Prefix: 2, Pos: 18}},
			[]Query{{0, 0, 13, 0}, {1, 0, n, 13}, {2, 0, 5, 13 + n}, {3, 0, 9, 18 + n}, {4, 0, 3, 27 + n}}
	}
	spans, whole := tree(11)
	long, every := tree(queryBlock + 3)
	for _, c := range []struct {
		name    string
		a       nn.Attention
		spans   []Span
		queries []Query
		drop    float32
	}{
		{"grouped heads", nn.Attention{H: 4, K: 2, D: 8, Causal: true}, spans, whole, 0},
		{"several blocks of queries", nn.Attention{H: 1, K: 1, D: 4, Causal: true}, long, every, 0},
		{"a head of whole panels", nn.Attention{H: 1, K: 1, D: 32, Causal: true}, spans, whole, 0},
		{"the last tokens alone", nn.Attention{H: 4, K: 2, D: 8, Causal: true}, spans, []Query{{1, 10, 11, 0}, {4, 2, 3, 1}, {3, 8, 9, 2}}, 0},
		{"some of the prefix as well", nn.Attention{H: 2, K: 2, D: 8, Causal: true}, spans, []Query{{0, 12, 13, 0}, {3, 0, 9, 1}, {4, 0, 3, 10}}, 0},
		{"a window that ends in the prefix", nn.Attention{H: 2, K: 1, D: 8, Causal: true, Window: 7}, spans, whole, 0},
		{"a window that ends before it", nn.Attention{H: 2, K: 1, D: 8, Causal: true, Window: 4}, spans, []Query{{1, 10, 11, 0}, {4, 0, 3, 1}, {3, 8, 9, 4}}, 0},
		{"capped scores", nn.Attention{H: 4, K: 2, D: 8, Causal: true, SoftCap: 0.7}, spans, whole, 0},
		{"dropout", nn.Attention{H: 4, K: 2, D: 8, Causal: true}, spans, whole, 0.3},
		{"capped scores, dropout and a window", nn.Attention{H: 2, K: 1, D: 8, Causal: true, Window: 11, SoftCap: 2}, spans, whole, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) { checkAttention(t, &attention{Attention: &c.a}, c.spans, c.queries, c.drop) })
	}
}

// checkAttention compares the attention of some queries with its specification, and its gradients
// with differences.
func checkAttention(t *testing.T, a *attention, spans []Span, queries []Query, share float32) {
	r := rand.New(rand.NewPCG(5, 1))
	a.Scale = nn.DefaultScale(a.D)
	hd, kd, m, n := a.H*a.D, a.K*a.D, 0, 0
	for _, q := range queries {
		m += q.Hi - q.Lo
	}
	for _, sp := range spans {
		n += sp.Len
	}
	q, k, v, dout := random(r, m*hd), random(r, n*kd), random(r, n*kd), random(r, m*hd)
	ldq, ldk := kernel.Stride(hd), kernel.Stride(kd)
	drop := dropout{P: share, Key: 77}
	numbers := make([]uint64, m)
	for i := range numbers {
		numbers[i] = uint64(123 + i)
	}
	g := &attentionGrads{Q: rows(q, hd, ldq), Out: make([]float32, m*ldq), DQ: make([]float32, m*ldq), DOut: rows(dout, hd, ldq),
		K: rows(k, kd, ldk), V: rows(v, kd, ldk), DK: make([]float32, n*ldk), DV: make([]float32, n*ldk), LDQ: ldq, LDK: ldk}
	before, kept := a.before(spans, queries)
	g.DKBefore, g.DVBefore = random(r, kept*ldk), random(r, kept*ldk) // what was there is nothing to it
	s, work := &Scratch{}, NewWork(2)
	defer work.Close()
	for head := range a.K {
		for i := range queries {
			if share == 0 {
				a.forward(s, g.Out, ldq, g.Q, ldq, g.K, g.V, ldk, spans, queries[i:i+1], head)
			} else {
				a.dropped(s, g.Out, ldq, g.Q, ldq, g.K, g.V, ldk, spans, queries[i], head, drop, numbers)
			}
		}
	}
	var masks []func(h, i, j int) float64
	for _, x := range queries {
		masks = append(masks, nil)
		if share > 0 {
			masks[len(masks)-1] = dropMask(drop, numbers[x.Row:], n)
		}
	}
	loss := func(q, k, v []float64) (out []float64) {
		for i, x := range queries {
			out = append(out, attentionOf(a, q, k, v, spans, x, masks[i])...)
		}
		return out
	}
	for i, want := range loss(wide(q), wide(k), wide(v)) {
		require.InDelta(t, want, dense(g.Out, hd, ldq)[i], 1e-5, "output %d", i)
	}
	for head := range a.K {
		for i, x := range queries {
			a.backward(s, g, spans, x, head, drop, numbers, before[i])
		}
	}
	g.join(work, a, spans, queries, before)
	if n == 1 {
		for _, d := range dense(g.DQ, hd, ldq) { // one weight is always 1
			assert.InDelta(t, 0, d, 1e-6)
		}
	} else {
		checkGrad(t, "q", q, dense(g.DQ, hd, ldq), func(x []float64) float64 { return dot64(loss(x, wide(k), wide(v)), wide(dout)) })
		checkGrad(t, "k", k, dense(g.DK, kd, ldk), func(x []float64) float64 { return dot64(loss(wide(q), x, wide(v)), wide(dout)) })
	}
	checkGrad(t, "v", v, dense(g.DV, kd, ldk), func(x []float64) float64 { return dot64(loss(wide(q), wide(k), x), wide(dout)) })
}

// attentionOf is attention64 of a query, whose span is behind others. The rows of queries are in
// their order.
func attentionOf(a *attention, q, k, v []float64, spans []Span, x Query, mask func(h, i, j int) float64) []float64 {
	hd, kd, sp := a.H*a.D, a.K*a.D, spans[x.Span]
	var keys, values []float64
	for at := x.Span; at >= 0; at = spans[at].Prefix {
		row, n := spans[at].Row*kd, spans[at].Len*kd
		keys, values = append(slices.Clone(k[row:row+n]), keys...), append(slices.Clone(v[row:row+n]), values...)
	}
	lo, hi := sp.Pos+x.Lo, sp.Pos+x.Hi
	of := mask
	if mask != nil {
		of = func(h, i, j int) float64 { return mask(h, i-lo, j) }
	}
	return attention64(a, q[x.Row*hd:], keys, values, sp.Pos+sp.Len, lo, hi, of)
}

// dropMask returns the factor of each weight of a head, row of queries and key.
func dropMask(drop dropout, numbers []uint64, n int) func(h, i, j int) float64 {
	masks := map[[2]int][]float32{}
	return func(h, i, j int) float64 {
		mask := masks[[2]int{h, i}]
		if mask == nil {
			for range n {
				mask = append(mask, 1)
			}
			drop.Apply(mask, 0, dropRow(numbers[i], h))
			masks[[2]int{h, i}] = mask
		}
		return float64(mask[j])
	}
}

func TestRopeBackwardEqualsDifferences(t *testing.T) {
	const m, heads, d = 5, 2, 8 // two of eight elements stay
	r := rand.New(rand.NewPCG(6, 1))
	freq := nn.InvFreq(10000, 6)
	at := positions{pos: []int32{0, 1, 2, 7, 63}, reach: []int32{0, 0, 0, 0, 0}}
	long := positions{pos: at.pos, reach: []int32{70, 70, 70, 0, 70}}
	dynamic := nn.InvFreq(nn.DynamicTheta(10000, 2, 60, 70, 6), 6)
	for _, c := range []struct {
		name string
		rope nn.Rope
		at   positions
		want []float32 // frequencies of rows with a reach
		size float64
	}{
		{"plain", nn.Rope{InvFreq: freq, MaxPositions: 64}, at, nil, 1},
		{"with a magnitude", nn.Rope{InvFreq: freq, MaxPositions: 64, Magnitude: 1.5}, at, nil, 1.5},
		{"long", nn.Rope{InvFreq: freq, MaxPositions: 64, Limit: 60, Long: []float32{0.5, 0.25, 0.125}}, long, []float32{0.5, 0.25, 0.125}, 1},
		{"following the length", nn.Rope{InvFreq: freq, MaxPositions: 64, Limit: 60, Theta: 10000, Factor: 2}, long, dynamic, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			rope := newRope(&c.rope)
			x, dy := random(r, m*heads*d), random(r, m*heads*d)
			dx := slices.Clone(dy)
			rope.backward(&Scratch{}, dx, heads*d, heads, d, c.at)
			checkGrad(t, "x", x, dx, func(z []float64) float64 {
				s := 0.0
				for i := range m * heads {
					row := z[i*d:][:d]
					y, f := slices.Clone(row), freq
					if c.at.reach[i/heads] > 0 {
						f = c.want
					}
					for j := range f {
						sin, cos := math.Sincos(float64(float32(c.at.pos[i/heads]) * f[j]))
						y[j], y[j+3] = c.size*(row[j]*cos-row[j+3]*sin), c.size*(row[j+3]*cos+row[j]*sin)
					}
					s += dot64(y, wide(dy[i*d:][:d]))
				}
				return s
			})
		})
	}
}

// TestFusedQKVBackwardEqualsDifferences holds tensors whose rows belong to queries, keys
// and values: by head (GPT-NeoX), by key head (InternLM2) and in blocks (Phi-3).
func TestFusedQKVBackwardEqualsDifferences(t *testing.T) {
	const m, in, d = 6, 20, 8
	r := rand.New(rand.NewPCG(7, 1))
	w := NewWork(2)
	defer w.Close()
	for _, c := range []struct {
		name                 string
		times, queries, keys int
		rows                 []int // whose queries are wanted; nil for all
	}{
		{"by head", 2, 1, 1, nil}, {"by head, two rows' queries", 2, 1, 1, []int{1, 4}},
		{"by key head", 2, 3, 1, nil}, {"in blocks", 1, 4, 2, []int{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole := nn.NewFusedQKV(in, c.times, c.times*c.queries, c.times*c.keys, d, true)
			f := (&weights{of: map[nn.Module]layer{}}).layer(&whole).(*fusedQKV)
			p := trained(t, f, f.Params([]string{"qkv"}), r)
			wanted := c.rows
			if wanted == nil {
				wanted = []int{0, 1, 2, 3, 4, 5}
			}
			nq, nkv, ld := f.q.Out(), f.kv.Out(), kernel.Stride(in)
			x, dq, dkv := random(r, m*in), random(r, len(wanted)*nq), random(r, m*nkv)
			dx, xs := make([]float32, m*ld), rows(x, in, ld)
			f.kv.master.backward(w, dx, ld, false, dkv, nkv, xs, ld, m)
			picked, dpicked := make([]float32, len(wanted)*ld), make([]float32, len(wanted)*ld)
			for i, row := range wanted {
				copy(picked[i*ld:][:ld], xs[row*ld:])
			}
			f.q.master.backward(w, dpicked, ld, false, dq, nq, picked, ld, len(wanted))
			for i, row := range wanted {
				kernel.AddTo(dx[row*ld:][:in], dpicked[i*ld:][:in])
			}
			f.collect()
			loss := func(x, weight, bias []float64) (s float64) {
				width := c.queries + 2*c.keys // heads each time
				y := linear64(x, weight, bias, in, c.times*width*d)
				for i := range m {
					for j := range c.times * width * d {
						time, head, e := j/(width*d), j/d%width, j%d
						v := y[i*c.times*width*d+j]
						switch at := slices.Index(wanted, i); {
						case head < c.queries && at >= 0:
							s += v * float64(dq[at*nq+(time*c.queries+head)*d+e])
						case head >= c.queries:
							kind, key := (head-c.queries)/c.keys, (head-c.queries)%c.keys
							s += v * float64(dkv[i*nkv+((kind*c.times+time)*c.keys+key)*d+e])
						}
					}
				}
				return s
			}
			checkGrad(t, "x", x, dense(dx, in, ld), func(z []float64) float64 { return loss(z, wide(p[0].Data), wide(p[1].Data)) })
			checkGrad(t, "W", p[0].Data, p[0].Grad, func(z []float64) float64 { return loss(wide(x), z, wide(p[1].Data)) })
			checkGrad(t, "b", p[1].Data, p[1].Grad, func(z []float64) float64 { return loss(wide(x), wide(p[0].Data), z) })
		})
	}
}

func TestEmbeddingAndHeadBackward(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	w := NewWork(3)
	defer w.Close()
	e := &embedding{Embedding: &nn.Embedding{V: 4, C: 37}}
	p := trained(t, e, e.Params([]string{"e"}), r)
	ids := []int32{2, 0, 2}
	dy := random(r, 3*37)
	e.backward(w, dy, 37, ids)
	checkRows := func(id int, want []float32) { assert.Equal(t, want, p[0].Grad[id*37:][:37]) }
	checkRows(0, dy[37:74])
	checkRows(1, make([]float32, 37))
	sum := slices.Clone(dy[:37])
	kernel.AddTo(sum, dy[74:])
	checkRows(2, sum)

	h := &scoreHead{ScoreHead: &nn.ScoreHead{C: 5, N: 2, Bias: true}}
	q := trained(t, h, h.Params([]string{"h"}), r)
	x, ds := random(r, 10), []float32{0.5, -2, 1, 0.25} // of two tokens, two outputs each
	dx := make([]float32, 10)
	h.backward(dx, 5, ds, x, 5)
	loss := func(x, weight, b []float64) float64 { return dot64(linear64(x, weight, b, 5, 2), wide(ds)) }
	checkGrad(t, "x", x, dx, func(z []float64) float64 { return loss(z, wide(q[0].Data), wide(q[1].Data)) })
	checkGrad(t, "w", q[0].Data, q[0].Grad, func(z []float64) float64 { return loss(wide(x), z, wide(q[1].Data)) })
	checkGrad(t, "b", q[1].Data, q[1].Grad, func(z []float64) float64 { return loss(wide(x), wide(q[0].Data), z) })
}

func TestDropoutKeepsTheExpectation(t *testing.T) {
	const n = 1 << 16
	d := dropout{P: 0.3, Key: nn.Mix(5, 1)}
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	d.Apply(x, 0, 9)
	zeros, sum := 0, 0.0
	for _, v := range x {
		sum += float64(v)
		if v == 0 {
			zeros++
		}
	}
	// Five standard deviations of a binomial: 5·√(0.3·0.7/65536).
	assert.InDelta(t, 0.3, float64(zeros)/n, 0.009)
	assert.InDelta(t, 1, sum/n, 0.013)

	y, z := slices.Clone(x), slices.Clone(x)
	for i := range y {
		y[i], z[i] = 1, 1
	}
	d.Apply(y, 0, 9)
	assert.Equal(t, x, y, "the same row again")
	d.Apply(z, 0, 10)
	assert.NotEqual(t, x, z, "another row")
	for _, from := range []int{1, 2, 7} {
		part := make([]float32, 9)
		for i := range part {
			part[i] = 1
		}
		d.Apply(part, from, 9)
		assert.Equal(t, x[from:][:9], part, "a part of the row")
	}
}
