package model

import "github.com/warmserve/warmserve/model/nn"

// phi3 is the network of Phi-3 and Phi-4: Llama's, with queries, keys and values
// in one tensor and gate and up projection in another. Source: transformers
// modeling_phi3.py; Abdin et al. 2024 (arXiv 2404.14219).
type phi3 struct {
	Embed  nn.Embedding `weight:"model.embed_tokens"`
	Layers []phi3Block  `weight:"model.layers"`
	Norm   nn.RMSNorm   `weight:"model.norm"`
}

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

func newPhi3(c *Config) network {
	n := &phi3{
		Embed:  nn.NewEmbedding(c.VocabSize, c.Hidden),
		Layers: make([]phi3Block, c.Layers),
		Norm:   nn.NewRMSNorm(c.Hidden, c.NormEps),
	}
	rope := newRope(c)
	for i := range n.Layers {
		n.Layers[i] = phi3Block{
			InputNorm: nn.NewRMSNorm(c.Hidden, c.NormEps),
			QKV:       nn.NewFusedQKV(c.Hidden, 1, c.Heads, c.KVHeads, c.HeadDim, false),
			O:         nn.NewLinear(c.Heads*c.HeadDim, false, c.Hidden),
			PostNorm:  nn.NewRMSNorm(c.Hidden, c.NormEps),
			GateUp: nn.Gated{In: c.Hidden, F: c.Intermediate, Act: gatedActivations[c.Activation],
				Fused: true},
			Down: nn.NewLinear(c.Intermediate, false, c.Hidden),
			attn: newAttention(c, i, true),
			rope: rope,
		}
	}
	return n
}

func (n *phi3) embedding() *nn.Embedding { return &n.Embed }

func (n *phi3) embed(p *nn.Program) nn.Value { return p.Lookup(&n.Embed, nn.Tokens, nn.NoValue) }

func (n *phi3) features(p *nn.Program, x nn.Value) nn.Value { return p.Norm(&n.Norm, x) }

func (n *phi3) blocks() []block { return blocksOf(n.Layers) }

func (l *phi3Block) forward(p *nn.Program, x nn.Value) nn.Value {
	a := &l.attn
	n := p.Norm(&l.InputNorm, x)
	q := p.Rope(l.rope, a, a.H, p.Linear(&l.QKV.Q, p.Wanted(n)))
	kv := p.Rope(l.rope, a, a.K, p.Linear(&l.QKV.KV, n))
	y := p.AddLinear(&l.O, p.Wanted(x), p.Attend(a, q, kv))
	return p.AddLinear(&l.Down, y, p.Gated(&l.GateUp, p.Norm(&l.PostNorm, y)))
}
