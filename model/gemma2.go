package model

import "github.com/warmserve/warmserve/model/nn"

// gemma2 is the network of Gemma 2, and with norms of queries and keys of Gemma 3. Source:
// transformers modeling_gemma2.py; Gemma Team 2024 (arXiv 2408.00118).
type gemma2 = decoder[gemma2Block, *gemma2Block]

// gemma2Block is x += norm(O·attention(norm(x))), then x += norm(down(gelu(gate)·up(norm(x)))).
type gemma2Block struct {
	InputNorm nn.RMSNorm  `weight:"input_layernorm"`
	Q         nn.Linear   `weight:"self_attn.q_proj"`
	KV        nn.Linear   `weight:"self_attn.k_proj,self_attn.v_proj"`
	QNorm     *nn.RMSNorm `weight:"self_attn.q_norm"` // over D, Gemma 3 alone
	KNorm     *nn.RMSNorm `weight:"self_attn.k_norm"`
	O         nn.Linear   `weight:"self_attn.o_proj"`
	AttnNorm  nn.RMSNorm  `weight:"post_attention_layernorm"`
	InnerNorm nn.RMSNorm  `weight:"pre_feedforward_layernorm"`
	GateUp    nn.Gated    `weight:"mlp.gate_proj,mlp.up_proj"`
	Down      nn.Linear   `weight:"mlp.down_proj"`
	OutNorm   nn.RMSNorm  `weight:"post_feedforward_layernorm"`

	attn nn.Attention
	rope *nn.Rope
}

func newGemma2(c *Config) network { return newGemma2Like(c) }

func newGemma2Like(c *Config) *gemma2 {
	norm := nn.RMSNorm{C: c.Hidden, Eps: float32(c.NormEps), Offset: 1}
	rope := newRope(c)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	n := newDecoder(c, norm, func(layer int) gemma2Block {
		return gemma2Block{
			InputNorm: norm,
			Q:         nn.NewLinear(c.Hidden, c.AttentionBias, q),
			KV:        nn.NewLinear(c.Hidden, c.AttentionBias, kv, kv),
			O:         nn.NewLinear(q, c.AttentionBias, c.Hidden),
			AttnNorm:  norm,
			InnerNorm: norm,
			GateUp:    nn.Gated{In: c.Hidden, F: c.Intermediate, Act: gatedActivations[c.Activation]},
			Down:      nn.NewLinear(c.Intermediate, false, c.Hidden),
			OutNorm:   norm,
			attn:      newAttention(c, layer, true),
			rope:      rope,
		}
	})
	n.scale = gemmaScale(c.Hidden)
	return n
}

func (l *gemma2Block) forward(p *nn.Program, x nn.Value) nn.Value {
	a := &l.attn
	n := p.Norm(&l.InputNorm, x)
	q := p.Rope(l.rope, a, a.H, p.HeadNorm(l.QNorm, a.H, p.Linear(&l.Q, p.Wanted(n))))
	kv := p.Rope(l.rope, a, a.K, p.HeadNorm(l.KNorm, a.K, p.Linear(&l.KV, n)))
	y := p.Add(p.Wanted(x), p.Norm(&l.AttnNorm, p.Linear(&l.O, p.Attend(a, q, kv))))
	h := p.Gated(&l.GateUp, p.Norm(&l.InnerNorm, y))
	return p.Add(y, p.Norm(&l.OutNorm, p.Linear(&l.Down, h)))
}
