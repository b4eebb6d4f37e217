package model

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// gptNeoX is the network of Pythia. Source: transformers modeling_gpt_neox.py;
// Black et al. 2022 (arXiv 2204.06745).
type gptNeoX struct {
	Embed  nn.Embedding   `weight:"gpt_neox.embed_in"`
	Layers []gptNeoXBlock `weight:"gpt_neox.layers"`
	Norm   nn.LayerNorm   `weight:"gpt_neox.final_layer_norm"`
	Head   nn.ScoreHead   `weight:"score"`
}

// gptNeoXBlock is x + attention(norm₁(x)) + mlp(norm₂(x)) when parallel, else
// the usual sequence of the two.
type gptNeoXBlock struct {
	InputNorm nn.LayerNorm `weight:"input_layernorm"`
	QKV       nn.FusedQKV  `weight:"attention.query_key_value"`
	O         nn.Linear    `weight:"attention.dense"`
	PostNorm  nn.LayerNorm `weight:"post_attention_layernorm"`
	Up        nn.Linear    `weight:"mlp.dense_h_to_4h"`
	Down      nn.Linear    `weight:"mlp.dense_4h_to_h"`

	attn     nn.Attention
	rope     *nn.Rope
	act      kernel.Epilogue
	parallel bool
}

func newGPTNeoX(c *Config) network {
	n := &gptNeoX{
		Embed:  nn.NewEmbedding(c.VocabSize, c.Hidden),
		Layers: make([]gptNeoXBlock, c.Layers),
		Norm:   nn.NewLayerNorm(c.Hidden, c.NormEps),
		Head:   nn.NewScoreHead(c.Hidden, c.HeadBias),
	}
	rope := newRope(c)
	for i := range n.Layers {
		n.Layers[i] = gptNeoXBlock{
			InputNorm: nn.NewLayerNorm(c.Hidden, c.NormEps),
			QKV:       nn.NewFusedQKV(c.Hidden, c.Heads, c.HeadDim, c.AttentionBias),
			O:         nn.NewLinear(c.Hidden, c.AttentionBias, c.Hidden),
			PostNorm:  nn.NewLayerNorm(c.Hidden, c.NormEps),
			Up:        nn.NewLinear(c.Hidden, true, c.Intermediate),
			Down:      nn.NewLinear(c.Intermediate, true, c.Hidden),
			attn:      newAttention(c, i, true),
			rope:      rope,
			act:       plainActivations[c.Activation],
			parallel:  c.Parallel,
		}
	}
	return n
}

func (n *gptNeoX) causal() bool { return true }

func (n *gptNeoX) embed(_ *worker, x []float32, id, _, _ int32) { n.Embed.Read(x, id) }

func (n *gptNeoX) blocks() []block {
	out := make([]block, len(n.Layers))
	for i := range n.Layers {
		out[i] = &n.Layers[i]
	}
	return out
}

func (n *gptNeoX) score(_ *worker, x []float32) float32 {
	n.Norm.Forward(x, 0, x, 0, 1)
	return n.Head.Score(x)
}

func (l *gptNeoXBlock) attention() *nn.Attention { return &l.attn }

func (l *gptNeoXBlock) project(w *worker, s *stage, lo, hi int) {
	m := hi - lo
	x, ldx := w.rows(l.InputNorm.C)
	l.InputNorm.Forward(x, ldx, s.x[lo*s.ldx:], s.ldx, m)
	if s.q != nil {
		q := s.q[lo*s.ldq:]
		l.QKV.Q.Forward(&w.Gemm, q, s.ldq, x, ldx, m, kernel.Store)
		l.rope.Forward(q, s.ldq, l.attn.H, l.attn.D, s.pos[lo:hi])
	}
	if s.kv != nil {
		kv := s.kv[lo*s.ldkv:]
		l.QKV.KV.Forward(&w.Gemm, kv, s.ldkv, x, ldx, m, kernel.Store)
		l.rope.Forward(kv, s.ldkv, l.attn.K, l.attn.D, s.pos[lo:hi])
	}
}

func (l *gptNeoXBlock) mix(w *worker, s *stage, lo, hi int) {
	m := hi - lo
	x, attn := s.x[lo*s.ldx:], s.attn[lo*s.ldq:]
	y, ldy := w.rows(l.PostNorm.C)
	h, ldh := w.inner(l.Up.Out())
	if l.parallel { // the second norm reads x before attention is added
		l.PostNorm.Forward(y, ldy, x, s.ldx, m)
		l.O.Forward(&w.Gemm, x, s.ldx, attn, s.ldq, m, kernel.Add)
	} else {
		l.O.Forward(&w.Gemm, x, s.ldx, attn, s.ldq, m, kernel.Add)
		l.PostNorm.Forward(y, ldy, x, s.ldx, m)
	}
	l.Up.Forward(&w.Gemm, h, ldh, y, ldy, m, l.act)
	l.Down.Forward(&w.Gemm, x, s.ldx, h, ldh, m, kernel.Add)
}
