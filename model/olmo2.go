package model

import "github.com/warmserve/warmserve/model/nn"

// olmo2Block is x += norm(O·attention(x)), then x += norm(down(silu(gate)·up)).
type olmo2Block struct {
	Q        nn.Linear  `weight:"self_attn.q_proj"`
	KV       nn.Linear  `weight:"self_attn.k_proj,self_attn.v_proj"`
	QNorm    nn.RMSNorm `weight:"self_attn.q_norm"` // over all heads at once
	KNorm    nn.RMSNorm `weight:"self_attn.k_norm"`
	O        nn.Linear  `weight:"self_attn.o_proj"`
	AttnNorm nn.RMSNorm `weight:"post_attention_layernorm"`
	GateUp   nn.Gated   `weight:"mlp.gate_proj,mlp.up_proj"`
	Down     nn.Linear  `weight:"mlp.down_proj"`
	OutNorm  nn.RMSNorm `weight:"post_feedforward_layernorm"`

	attn nn.Attention
	rope *nn.Rope
}

// newOLMo2 returns the network of OLMo 2, which normalises what attention and feed-forward
// return instead of what they read. Source: transformers modeling_olmo2.py; OLMo Team
// 2024 (arXiv 2501.00656).
func newOLMo2(c *Config) network {
	norm, rope := nn.NewRMSNorm(c.Hidden, c.NormEps), newRope(c)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	return newDecoder(c, norm, func(layer int) olmo2Block {
		return olmo2Block{
			Q:        nn.NewLinear(c.Hidden, c.AttentionBias, q),
			KV:       nn.NewLinear(c.Hidden, c.AttentionBias, kv, kv),
			QNorm:    nn.NewRMSNorm(q, c.NormEps),
			KNorm:    nn.NewRMSNorm(kv, c.NormEps),
			O:        nn.NewLinear(q, c.AttentionBias, c.Hidden),
			AttnNorm: norm,
			GateUp:   nn.Gated{In: c.Hidden, F: c.Intermediate, Act: gatedActivations[c.Activation]},
			Down:     nn.NewLinear(c.Intermediate, false, c.Hidden),
			OutNorm:  norm,
			attn:     newAttention(c, layer, true),
			rope:     rope,
		}
	})
}

func (l *olmo2Block) forward(p *nn.Program, x nn.Value) nn.Value {
	a, residual := &l.attn, p.Wanted(x)
	q := p.Rope(l.rope, a, a.H, p.HeadNorm(&l.QNorm, 1, p.Linear(&l.Q, residual)))
	kv := p.Rope(l.rope, a, a.K, p.HeadNorm(&l.KNorm, 1, p.Linear(&l.KV, x))) // the keys are one head of K·D
	y := p.Add(residual, p.Norm(&l.AttnNorm, p.Linear(&l.O, p.Attend(a, q, kv))))
	return p.Add(y, p.Norm(&l.OutNorm, p.Linear(&l.Down, p.Gated(&l.GateUp, y))))
}
