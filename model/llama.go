package model

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// llama is the network of Llama, Mistral, Qwen2 and Qwen3, which differ in
// biases, in norms of queries and keys, and in sliding windows.
// Source: transformers modeling_llama.py; Touvron et al. 2023 (arXiv 2302.13971).
type llama struct {
	Embed  nn.Embedding `weight:"model.embed_tokens"`
	Layers []llamaBlock `weight:"model.layers"`
	Norm   nn.RMSNorm   `weight:"model.norm"`
	Head   nn.ScoreHead `weight:"score"`
}

// llamaBlock is x += O·attention(norm(x)), then x += down(silu(gate)·up).
type llamaBlock struct {
	InputNorm nn.RMSNorm  `weight:"input_layernorm"`
	Q         nn.Linear   `weight:"self_attn.q_proj"`
	KV        nn.Linear   `weight:"self_attn.k_proj,self_attn.v_proj"`
	QNorm     *nn.RMSNorm `weight:"self_attn.q_norm"` // over D, Qwen3 alone
	KNorm     *nn.RMSNorm `weight:"self_attn.k_norm"`
	O         nn.Linear   `weight:"self_attn.o_proj"`
	PostNorm  nn.RMSNorm  `weight:"post_attention_layernorm"`
	GateUp    nn.Gated    `weight:"mlp.gate_proj,mlp.up_proj"`
	Down      nn.Linear   `weight:"mlp.down_proj"`

	attn nn.Attention
	rope *nn.Rope
}

// llamaBiases says which layers of a block have a bias, and llamaBiases.headNorm
// whether queries and keys are normalised by head.
type llamaBiases struct{ qkv, o, mlp, headNorm bool }

func newLlama(c *Config) network {
	return newLlamaLike(c, llamaBiases{qkv: c.AttentionBias, o: c.AttentionBias, mlp: c.MLPBias})
}

func newLlamaLike(c *Config, b llamaBiases) *llama {
	n := &llama{
		Embed:  nn.NewEmbedding(c.VocabSize, c.Hidden),
		Layers: make([]llamaBlock, c.Layers),
		Norm:   nn.NewRMSNorm(c.Hidden, c.NormEps),
		Head:   nn.NewScoreHead(c.Hidden, c.HeadBias),
	}
	rope := newRope(c)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for i := range n.Layers {
		l := &n.Layers[i]
		*l = llamaBlock{
			InputNorm: nn.NewRMSNorm(c.Hidden, c.NormEps),
			Q:         nn.NewLinear(c.Hidden, b.qkv, q),
			KV:        nn.NewLinear(c.Hidden, b.qkv, kv, kv),
			O:         nn.NewLinear(q, b.o, c.Hidden),
			PostNorm:  nn.NewRMSNorm(c.Hidden, c.NormEps),
			GateUp:    nn.NewGated(c.Hidden, c.Intermediate, b.mlp, gatedActivations[c.Activation]),
			Down:      nn.NewLinear(c.Intermediate, b.mlp, c.Hidden),
			attn:      newAttention(c, i, true),
			rope:      rope,
		}
		if b.headNorm {
			l.QNorm = ptr(nn.NewRMSNorm(c.HeadDim, c.NormEps))
			l.KNorm = ptr(nn.NewRMSNorm(c.HeadDim, c.NormEps))
		}
	}
	return n
}

func (n *llama) causal() bool { return true }

func (n *llama) embed(_ *worker, x []float32, id, _, _ int32) { n.Embed.Read(x, id) }

func (n *llama) blocks() []block {
	out := make([]block, len(n.Layers))
	for i := range n.Layers {
		out[i] = &n.Layers[i]
	}
	return out
}

func (n *llama) score(_ *worker, x []float32) float32 {
	n.Norm.Forward(x, 0, x, 0, 1)
	return n.Head.Score(x)
}

func (l *llamaBlock) attention() *nn.Attention { return &l.attn }

func (l *llamaBlock) project(w *worker, s *stage, lo, hi int) {
	m, d := hi-lo, l.attn.D
	x, ldx := w.rows(l.Q.In)
	l.InputNorm.Forward(x, ldx, s.x[lo*s.ldx:], s.ldx, m)
	if s.q != nil {
		q := s.q[lo*s.ldq:]
		l.Q.Forward(&w.Gemm, q, s.ldq, x, ldx, m, kernel.Store)
		normHeads(l.QNorm, q, s.ldq, m, l.attn.H, d)
		l.rope.Forward(q, s.ldq, l.attn.H, d, s.pos[lo:hi])
	}
	if s.kv != nil {
		kv := s.kv[lo*s.ldkv:]
		l.KV.Forward(&w.Gemm, kv, s.ldkv, x, ldx, m, kernel.Store)
		normHeads(l.KNorm, kv, s.ldkv, m, l.attn.K, d)
		l.rope.Forward(kv, s.ldkv, l.attn.K, d, s.pos[lo:hi])
	}
}

// normHeads normalises each head of m rows in place; a nil norm does nothing.
func normHeads(n *nn.RMSNorm, x []float32, ldx, m, heads, d int) {
	if n == nil {
		return
	}
	for i := range m {
		n.Forward(x[i*ldx:], d, x[i*ldx:], d, heads)
	}
}

func (l *llamaBlock) mix(w *worker, s *stage, lo, hi int) {
	m := hi - lo
	x := s.x[lo*s.ldx:]
	l.O.Forward(&w.Gemm, x, s.ldx, s.attn[lo*s.ldq:], s.ldq, m, kernel.Add)
	y, ldy := w.rows(l.O.Out())
	l.PostNorm.Forward(y, ldy, x, s.ldx, m)
	h, ldh := w.inner(l.GateUp.F)
	l.GateUp.Forward(&w.Gemm, h, ldh, y, ldy, m)
	l.Down.Forward(&w.Gemm, x, s.ldx, h, ldh, m, kernel.Add)
}
