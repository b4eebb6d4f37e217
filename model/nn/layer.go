package nn

// Activation is the function that a layer applies to each value of its output.
type Activation uint8

const (
	None     Activation = iota
	GELU                // x·Φ(x), the exact form with erf
	GELUTanh            // x·½(1+tanh(√(2/π)(x+0.044715x³)))
	ReLU                // max(x, 0)
	SiLU                // x·σ(x)
	Tanh
	LeakyReLU // x, or 0.01·x below 0
	SELU      // λx, or λα(eˣ−1) below 0. Source: Klambauer et al. 2017 (arXiv 1706.02515)
)

// Linear is y = x·Wᵀ + b. Its rows may be stacked from several tensors of the
// checkpoint (keys over values).
type Linear struct {
	In   int
	Outs []int // rows of each stacked tensor
	Bias bool
	// Transposed says that the checkpoint stores the weight as [in, out]: GPT-2's
	// Conv1D. A layer of stacked tensors cannot be.
	Transposed bool
	// Kernel > 0 says that the input is of so many neighbouring tokens (see
	// [Program.Neighbours]) and that the checkpoint has a dimension for them.
	Kernel int
	// Exact says that the layer is float32 whatever the number format of the model.
	Exact bool
}

// NewLinear returns a layer from in to the sum of outs.
func NewLinear(in int, bias bool, outs ...int) Linear {
	return Linear{In: in, Outs: outs, Bias: bias}
}

// Out returns the width of the output, N.
func (l *Linear) Out() int {
	n := 0
	for _, o := range l.Outs {
		n += o
	}
	return n
}

// Params implements [Module]: one weight, and bias, for each stacked tensor.
func (l *Linear) Params(names []string) []Param {
	wantNames("Linear", names, len(l.Outs))
	var out []Param
	for i, n := range names {
		p := Param{Name: n + ".weight", Shape: []int{l.Outs[i], l.In}}
		if l.Kernel > 0 {
			p.Shape = []int{l.Outs[i], l.In / l.Kernel, l.Kernel}
		}
		if l.Transposed {
			p.Shape, p.Transposed = []int{l.In, l.Outs[i]}, true
		}
		out = append(out, p)
		if l.Bias {
			out = append(out, Param{Name: n + ".bias", Shape: []int{l.Outs[i]}})
		}
	}
	return out
}

// Gated is the first half of a gated feed-forward layer, act(x·Wgᵀ) · (x·Wuᵀ).
// Source: Shazeer 2020 (arXiv 2002.05202); transformers LlamaMLP.
type Gated struct {
	In, F int
	Bias  bool
	Act   Activation // SiLU, GELU or GELUTanh
	Fused bool       // the checkpoint has the gate above the up projection in one tensor
}

// Params implements [Module]: of the gate and of the up projection.
func (g *Gated) Params(names []string) []Param {
	l := NewLinear(g.In, g.Bias, g.F, g.F)
	if g.Fused {
		l.Outs = []int{2 * g.F}
	}
	return l.Params(names)
}

// FusedQKV is one checkpoint tensor that holds queries, keys and values: of some
// heads, then of the next ones. Programs read it as a layer of queries and one of
// keys over values.
type FusedQKV struct {
	// Groups is in how many parts the tensor holds the heads: as many as key heads
	// when interleaved (GPT-NeoX, InternLM2), 1 when all queries come first (GPT-2, Phi-3, ModernBERT).
	Groups  int
	H, K, D int
	Q, KV   Linear
}

// NewFusedQKV returns the layer for h query heads and k key heads of size d.
func NewFusedQKV(in, groups, h, k, d int, bias bool) FusedQKV {
	return FusedQKV{Groups: groups, H: h, K: k, D: d, Q: NewLinear(in, bias, h*d),
		KV: NewLinear(in, bias, k*d, k*d)}
}

// Transpose says that the checkpoint stores the weight as [in, out].
func (f FusedQKV) Transpose() FusedQKV {
	f.Q.Transposed, f.KV.Transposed = true, true
	return f
}

// Rows returns the rows of the tensor.
func (f *FusedQKV) Rows() int { return (f.H + 2*f.K) * f.D }

// Params implements [Module]: the one weight, of shape [(H + 2·K)·D, in], and the bias.
func (f *FusedQKV) Params(names []string) []Param {
	wantNames("FusedQKV", names, 1)
	l := Linear{In: f.Q.In, Outs: []int{f.Rows()}, Bias: f.Q.Bias, Transposed: f.Q.Transposed}
	return l.Params(names)
}

// Runs calls f for each run of rows of one group and kind among so many rows of
// the tensor from row on: n rows, of which the first is the i-th, are the rows
// from at on of l.
func (f *FusedQKV) Runs(row, rows int, call func(l *Linear, at, i, n int)) {
	q, k := f.H/f.Groups*f.D, f.K/f.Groups*f.D // rows of a group
	for i := 0; i < rows; {
		group, r, n := (row+i)/(q+2*k), (row+i)%(q+2*k), 0
		switch {
		case r < q:
			n = min(q-r, rows-i)
			call(&f.Q, group*q+r, i, n)
		case r < q+k:
			n = min(q+k-r, rows-i)
			call(&f.KV, group*k+r-q, i, n)
		default:
			n = min(q+2*k-r, rows-i)
			call(&f.KV, f.K*f.D+group*k+r-q-k, i, n)
		}
		i += n
	}
}

// Norm is a layer that normalises rows: [RMSNorm], [LayerNorm] or [BatchNorm].
type Norm interface {
	Module
	Width() int // C
}

// RMSNorm is x / √(mean(x²) + eps) · (offset + w). Source: Zhang and Sennrich 2019;
// transformers LlamaRMSNorm, and GemmaRMSNorm, whose offset is 1.
type RMSNorm struct {
	C      int
	Eps    float32
	Offset float32
}

// NewRMSNorm returns a norm over c values.
func NewRMSNorm(c int, eps float64) RMSNorm { return RMSNorm{C: c, Eps: float32(eps)} }

// Width implements [Norm].
func (n *RMSNorm) Width() int { return n.C }

// Params implements [Module].
func (n *RMSNorm) Params(names []string) []Param {
	wantNames("RMSNorm", names, 1)
	return []Param{{Name: names[0] + ".weight", Shape: []int{n.C}}}
}

// LayerNorm is (x − mean) / √(var + eps) · w + b. Source: Ba et al. 2016.
type LayerNorm struct {
	C      int
	Eps    float32
	NoBias bool // b is 0
}

// NewLayerNorm returns a norm over c values.
func NewLayerNorm(c int, eps float64) LayerNorm { return LayerNorm{C: c, Eps: float32(eps)} }

// Width implements [Norm].
func (n *LayerNorm) Width() int { return n.C }

// Params implements [Module].
func (n *LayerNorm) Params(names []string) []Param {
	wantNames("LayerNorm", names, 1)
	p := []Param{{Name: names[0] + ".weight", Shape: []int{n.C}}}
	if !n.NoBias {
		p = append(p, Param{Name: names[0] + ".bias", Shape: []int{n.C}})
	}
	return p
}

// BatchNorm is (x − mean) / √(var + eps) · w + b, with the mean and the variance of
// each value that training has kept. Source: Ioffe and Szegedy 2015 (arXiv 1502.03167).
type BatchNorm struct {
	C   int
	Eps float32
}

// Width implements [Norm].
func (n *BatchNorm) Width() int { return n.C }

// Params implements [Module].
func (n *BatchNorm) Params(names []string) []Param {
	wantNames("BatchNorm", names, 1)
	var p []Param
	for _, part := range []string{".weight", ".bias", ".running_mean", ".running_var"} {
		p = append(p, Param{Name: names[0] + part, Shape: []int{n.C}})
	}
	return p
}

// Embedding is a table of V rows of C values.
type Embedding struct{ V, C int }

// NewEmbedding returns a table of v rows.
func NewEmbedding(v, c int) Embedding { return Embedding{V: v, C: c} }

// Params implements [Module].
func (e *Embedding) Params(names []string) []Param {
	wantNames("Embedding", names, 1)
	return []Param{{Name: names[0] + ".weight", Shape: []int{e.V, e.C}}}
}
