package model

import "github.com/warmserve/warmserve/model/nn"

// phi3Block is x += O·attention(norm(x)), then x += down(silu(gate)·up).
type phi3Block struct {
	InputNorm nn.RMSNorm  `weight:"input_layernorm"`
	QKV       nn.FusedQKV `weight:"self_attn.qkv_proj"`
	O         nn.Linear   `weight:"self_attn.o_proj"`
	PostNorm  nn.RMSNorm  `weight:"post_attention_layernorm"`
	GateUp    nn.Gated    `weight:"mlp.gate_up_proj"`
	Down      nn.Linear   `weight:"mlp.down_proj"`

	attn nn.Attention
	rope *nn.Rope
}

// newPhi3 returns the network of Phi-3 and Phi-4: Llama's, with queries, keys and values
// in one tensor and gate and up projection in another. Source: transformers
// modeling_phi3.py; Abdin et al. 2024 (arXiv 2404.14219).
func newPhi3(c *Config) network {
	norm, rope := nn.NewRMSNorm(c.Hidden, c.NormEps), newRope(c)
	return newDecoder(c, norm, func(layer int) phi3Block {
		return phi3Block{
			InputNorm: norm,
			QKV:       nn.NewFusedQKV(c.Hidden, 1, c.Heads, c.KVHeads, c.HeadDim, false),
			O:         nn.NewLinear(c.Heads*c.HeadDim, false, c.Hidden),
			PostNorm:  norm,
			GateUp: nn.Gated{In: c.Hidden, F: c.Intermediate, Act: gatedActivations[c.Activation],
				Fused: true},
			Down: nn.NewLinear(c.Intermediate, false, c.Hidden),
			attn: newAttention(c, layer, true),
			rope: rope,
		}
	})
}

func (l *phi3Block) forward(p *nn.Program, x nn.Value) nn.Value {
	a := &l.attn
	n := p.Norm(&l.InputNorm, x)
	q := p.Rope(l.rope, a, a.H, p.Linear(&l.QKV.Q, p.Wanted(n)))
	kv := p.Rope(l.rope, a, a.K, p.Linear(&l.QKV.KV, n))
	y := p.AddLinear(&l.O, p.Wanted(x), p.Attend(a, q, kv))
	return p.AddLinear(&l.Down, y, p.Gated(&l.GateUp, p.Norm(&l.PostNorm, y)))
}
