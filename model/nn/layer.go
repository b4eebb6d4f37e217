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
)

// Linear is y = x·Wᵀ + b. Its rows may be stacked from several tensors of the
// checkpoint (keys over values).
type Linear struct {
	In   int
	Outs []int // rows of each stacked tensor
	Bias bool
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
		out = append(out, Param{Name: n + ".weight", Shape: []int{l.Outs[i], l.In}})
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
	Act   Activation // SiLU or GELUTanh
}

// Params implements [Module]: of the gate and of the up projection.
func (g *Gated) Params(names []string) []Param {
	wantNames("Gated", names, 2)
	var out []Param
	for _, n := range names {
		out = append(out, Param{Name: n + ".weight", Shape: []int{g.F, g.In}})
		if g.Bias {
			out = append(out, Param{Name: n + ".bias", Shape: []int{g.F}})
		}
	}
	return out
}

// FusedQKV is one checkpoint tensor that holds queries, keys and values
// interleaved by head: q, k and v of head 0, then of head 1 (GPT-NeoX). Programs
// read it as a layer of queries and one of keys over values.
type FusedQKV struct {
	H, D  int
	Q, KV Linear
}

// NewFusedQKV returns the layer for h heads of size d.
func NewFusedQKV(in, h, d int, bias bool) FusedQKV {
	return FusedQKV{H: h, D: d, Q: NewLinear(in, bias, h*d), KV: NewLinear(in, bias, h*d, h*d)}
}

// Params implements [Module]: the one weight, of shape [H·3·D, in], and the bias.
func (f *FusedQKV) Params(names []string) []Param {
	wantNames("FusedQKV", names, 1)
	n := 3 * f.H * f.D
	out := []Param{{Name: names[0] + ".weight", Shape: []int{n, f.Q.In}}}
	if f.Q.Bias {
		out = append(out, Param{Name: names[0] + ".bias", Shape: []int{n}})
	}
	return out
}

// Runs calls f for each run of rows of one head and kind among so many rows of
// the tensor from row on: n rows, of which the first is the i-th, are the rows
// from at on of l.
func (f *FusedQKV) Runs(row, rows int, call func(l *Linear, at, i, n int)) {
	for i := 0; i < rows; {
		r := row + i
		head, kind, d := r/(3*f.D), r/f.D%3, r%f.D
		n := min(f.D-d, rows-i)
		switch at := head*f.D + d; kind {
		case 0:
			call(&f.Q, at, i, n)
		case 1:
			call(&f.KV, at, i, n)
		case 2:
			call(&f.KV, f.H*f.D+at, i, n)
		}
		i += n
	}
}

// Norm is a layer that normalises rows: [RMSNorm] or [LayerNorm].
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
	C   int
	Eps float32
}

// NewLayerNorm returns a norm over c values.
func NewLayerNorm(c int, eps float64) LayerNorm { return LayerNorm{C: c, Eps: float32(eps)} }

// Width implements [Norm].
func (n *LayerNorm) Width() int { return n.C }

// Params implements [Module].
func (n *LayerNorm) Params(names []string) []Param {
	wantNames("LayerNorm", names, 1)
	return []Param{{Name: names[0] + ".weight", Shape: []int{n.C}}, {Name: names[0] + ".bias", Shape: []int{n.C}}}
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

// ScoreHead is the linear layer from C values to one reward. It is float32
// whatever the number format of the model.
type ScoreHead struct {
	C    int
	Bias bool
}

// NewScoreHead returns a head over c values.
func NewScoreHead(c int, bias bool) ScoreHead { return ScoreHead{C: c, Bias: bias} }

// Params implements [Module]: the weight, of shape [1, C], and the bias.
func (h *ScoreHead) Params(names []string) []Param {
	wantNames("ScoreHead", names, 1)
	p := []Param{{Name: names[0] + ".weight", Shape: []int{1, h.C}}}
	if h.Bias {
		p = append(p, Param{Name: names[0] + ".bias", Shape: []int{1}})
	}
	return p
}
