package model

import "github.com/warmserve/warmserve/model/nn"

// gptNeoX is the network of Pythia. Source: transformers modeling_gpt_neox.py;
// Black et al. 2022 (arXiv 2204.06745).
type gptNeoX struct {
	Embed  nn.Embedding   `weight:"gpt_neox.embed_in"`
	Layers []gptNeoXBlock `weight:"gpt_neox.layers"`
	Norm   nn.LayerNorm   `weight:"gpt_neox.final_layer_norm"`
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
	act      nn.Activation
	parallel bool
}

func newGPTNeoX(c *Config) network {
	n := &gptNeoX{
		Embed:  nn.NewEmbedding(c.VocabSize, c.Hidden),
		Layers: make([]gptNeoXBlock, c.Layers),
		Norm:   nn.NewLayerNorm(c.Hidden, c.NormEps),
	}
	rope := newRope(c)
	for i := range n.Layers {
		n.Layers[i] = gptNeoXBlock{
			InputNorm: nn.NewLayerNorm(c.Hidden, c.NormEps),
			QKV:       nn.NewFusedQKV(c.Hidden, c.Heads, c.Heads, c.Heads, c.HeadDim, c.AttentionBias),
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

func (n *gptNeoX) embedding() *nn.Embedding { return &n.Embed }

func (n *gptNeoX) embed(p *nn.Program) nn.Value { return p.Lookup(&n.Embed, nn.Tokens, nn.NoValue) }

func (n *gptNeoX) features(p *nn.Program, x nn.Value) nn.Value { return p.Norm(&n.Norm, x) }

func (n *gptNeoX) blocks() []block { return blocksOf(n.Layers) }

func (l *gptNeoXBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	a := &l.attn
	n := p.Norm(&l.InputNorm, x)
	q := p.Rope(l.rope, a, a.H, p.Linear(&l.QKV.Q, p.Wanted(n)))
	kv := p.Rope(l.rope, a, a.K, p.Linear(&l.QKV.KV, n))
	mixed := p.Attend(a, q, kv)
	x = p.Wanted(x)
	y := x // what the second norm reads
	if !l.parallel {
		y = p.AddLinear(&l.O, x, mixed)
	}
	h := p.Activated(&l.Up, p.Norm(&l.PostNorm, y), l.act)
	if l.parallel {
		y = p.AddLinear(&l.O, x, mixed)
	}
	return p.AddLinear(&l.Down, y, h)
}
