package model

import "github.com/warmserve/warmserve/model/nn"

// gpt2 is the network of GPT-2, whose matrices the checkpoint stores as [in, out].
// Source: transformers modeling_gpt2.py; Radford et al. 2019.
type gpt2 struct {
	Words     nn.Embedding `weight:"transformer.wte"`
	Positions nn.Embedding `weight:"transformer.wpe"`
	Layers    []gpt2Block  `weight:"transformer.h"`
	Norm      nn.LayerNorm `weight:"transformer.ln_f"`
}

// gpt2Block is x += O·attention(norm(x)), then x += down(act(up(norm(x)))).
type gpt2Block struct {
	InputNorm nn.LayerNorm `weight:"ln_1"`
	QKV       nn.FusedQKV  `weight:"attn.c_attn"`
	O         nn.Linear    `weight:"attn.c_proj"`
	PostNorm  nn.LayerNorm `weight:"ln_2"`
	Up        nn.Linear    `weight:"mlp.c_fc"`
	Down      nn.Linear    `weight:"mlp.c_proj"`

	attn nn.Attention
	act  nn.Activation
}

func newGPT2(c *Config) network {
	n := &gpt2{
		Words:     nn.NewEmbedding(c.VocabSize, c.Hidden),
		Positions: nn.NewEmbedding(c.MaxPositions, c.Hidden),
		Layers:    make([]gpt2Block, c.Layers),
		Norm:      nn.NewLayerNorm(c.Hidden, c.NormEps),
	}
	conv := func(in, out int) nn.Linear { return nn.Linear{In: in, Outs: []int{out}, Bias: true, Transposed: true} }
	for i := range n.Layers {
		n.Layers[i] = gpt2Block{
			InputNorm: nn.NewLayerNorm(c.Hidden, c.NormEps),
			QKV:       nn.NewFusedQKV(c.Hidden, 1, c.Heads, c.Heads, c.HeadDim, true).Transpose(),
			O:         conv(c.Hidden, c.Hidden),
			PostNorm:  nn.NewLayerNorm(c.Hidden, c.NormEps),
			Up:        conv(c.Hidden, c.Intermediate),
			Down:      conv(c.Intermediate, c.Hidden),
			attn:      newAttention(c, i, true),
			act:       plainActivations[c.Activation],
		}
	}
	return n
}

func (n *gpt2) embedding() *nn.Embedding { return &n.Words }

func (n *gpt2) embed(p *nn.Program) nn.Value {
	return p.Lookup(&n.Positions, nn.Positions, p.Lookup(&n.Words, nn.Tokens, nn.NoValue))
}

func (n *gpt2) features(p *nn.Program, x nn.Value) nn.Value { return p.Norm(&n.Norm, x) }

func (n *gpt2) blocks() []block { return blocksOf(n.Layers) }

func (l *gpt2Block) forward(p *nn.Program, x nn.Value) nn.Value {
	n := p.Norm(&l.InputNorm, x)
	q := p.Linear(&l.QKV.Q, p.Wanted(n))
	kv := p.Linear(&l.QKV.KV, n)
	y := p.AddLinear(&l.O, p.Wanted(x), p.Attend(&l.attn, q, kv))
	return p.AddLinear(&l.Down, y, p.Activated(&l.Up, p.Norm(&l.PostNorm, y), l.act))
}
