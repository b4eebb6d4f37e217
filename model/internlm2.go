package model

import "github.com/warmserve/warmserve/model/nn"

// internLM2 is the network of InternLM2: Llama's, with the queries of each key
// head, its key and its value side by side in one tensor. Source: modeling_internlm2.py
// of the models; Cai et al. 2024 (arXiv 2403.17297).
type internLM2 struct {
	Embed  nn.Embedding     `weight:"model.tok_embeddings"`
	Layers []internLM2Block `weight:"model.layers"`
	Norm   nn.RMSNorm       `weight:"model.norm"`
}

// internLM2Block is x += O·attention(norm(x)), then x += down(silu(gate)·up).
type internLM2Block struct {
	InputNorm nn.RMSNorm  `weight:"attention_norm"`
	QKV       nn.FusedQKV `weight:"attention.wqkv"`
	O         nn.Linear   `weight:"attention.wo"`
	PostNorm  nn.RMSNorm  `weight:"ffn_norm"`
	GateUp    nn.Gated    `weight:"feed_forward.w1,feed_forward.w3"`
	Down      nn.Linear   `weight:"feed_forward.w2"`

	attn nn.Attention
	rope *nn.Rope
}

func newInternLM2(c *Config) network {
	n := &internLM2{
		Embed:  nn.NewEmbedding(c.VocabSize, c.Hidden),
		Layers: make([]internLM2Block, c.Layers),
		Norm:   nn.NewRMSNorm(c.Hidden, c.NormEps),
	}
	rope := newRope(c)
	for i := range n.Layers {
		n.Layers[i] = newFusedBlock(c, i, rope, c.KVHeads, c.AttentionBias)
	}
	return n
}

// newFusedBlock returns a layer's block, with the queries, keys and values of its tensor in so
// many groups.
func newFusedBlock(c *Config, layer int, rope *nn.Rope, groups int, bias bool) internLM2Block {
	norm := nn.NewRMSNorm(c.Hidden, c.NormEps)
	return internLM2Block{
		InputNorm: norm,
		QKV:       nn.NewFusedQKV(c.Hidden, groups, c.Heads, c.KVHeads, c.HeadDim, bias),
		O:         nn.NewLinear(c.Heads*c.HeadDim, bias, c.Hidden),
		PostNorm:  norm,
		GateUp:    nn.Gated{In: c.Hidden, F: c.Intermediate, Act: gatedActivations[c.Activation]},
		Down:      nn.NewLinear(c.Intermediate, false, c.Hidden),
		attn:      newAttention(c, layer, true),
		rope:      rope,
	}
}

func (n *internLM2) embedding() *nn.Embedding { return &n.Embed }

func (n *internLM2) embed(p *nn.Program) nn.Value { return p.Lookup(&n.Embed, nn.Tokens, nn.NoValue) }

func (n *internLM2) features(p *nn.Program, x nn.Value) nn.Value { return p.Norm(&n.Norm, x) }

func (n *internLM2) blocks() []block { return blocksOf(n.Layers) }

func (l *internLM2Block) forward(p *nn.Program, x nn.Value) nn.Value {
	a := &l.attn
	n := p.Norm(&l.InputNorm, x)
	q := p.Rope(l.rope, a, a.H, p.Linear(&l.QKV.Q, p.Wanted(n)))
	kv := p.Rope(l.rope, a, a.K, p.Linear(&l.QKV.KV, n))
	y := p.AddLinear(&l.O, p.Wanted(x), p.Attend(a, q, kv))
	return p.AddLinear(&l.Down, y, p.Gated(&l.GateUp, p.Norm(&l.PostNorm, y)))
}
