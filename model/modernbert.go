package model

import (
	"github.com/warmserve/warmserve/model/nn"
)

// modernBERT is the network of ModernBERT: an encoder whose layers see all tokens
// or those nearby, each with rotary frequencies of its own.
// Source: transformers modeling_modernbert.py; Warner et al. 2024 (arXiv 2412.13663).
type modernBERT struct {
	Words     nn.Embedding      `weight:"model.embeddings.tok_embeddings"`
	WordNorm  nn.LayerNorm      `weight:"model.embeddings.norm"`
	Layers    []modernBERTBlock `weight:"model.layers"`
	FinalNorm nn.LayerNorm      `weight:"model.final_norm"`
	Dense     *nn.Linear        `weight:"head.dense"`
	Norm      *nn.LayerNorm     `weight:"head.norm"`

	act  nn.Activation // of the head
	mean bool          // the head reads the mean of all tokens
}

// modernBERTBlock is x += Wo·attention(norm(x)), then x += Wo·(act(input)·gate).
type modernBERTBlock struct {
	AttnNorm *nn.LayerNorm `weight:"attn_norm"` // not in the first layer
	QKV      nn.FusedQKV   `weight:"attn.Wqkv"`
	O        nn.Linear     `weight:"attn.Wo"`
	MLPNorm  nn.LayerNorm  `weight:"mlp_norm"`
	GateUp   nn.Gated      `weight:"mlp.Wi"`
	Down     nn.Linear     `weight:"mlp.Wo"`

	attn nn.Attention
	rope *nn.Rope
}

func newModernBERT(c *Config) network {
	m := c.ModernBERT
	norm := nn.LayerNorm{C: c.Hidden, Eps: float32(c.NormEps), NoBias: !m.NormBias}
	n := &modernBERT{
		Words: nn.NewEmbedding(c.VocabSize, c.Hidden), WordNorm: norm,
		Layers: make([]modernBERTBlock, c.Layers), FinalNorm: norm,
		Dense: c.pooler(m.HeadBias),
		act:   plainActivations[m.HeadAct], mean: m.Mean,
	}
	if n.Dense != nil {
		n.Norm = new(norm)
	}
	ropeOf := func(theta float64) *nn.Rope {
		return &nn.Rope{InvFreq: nn.InvFreq(theta, c.HeadDim), MaxPositions: c.MaxPositions}
	}
	global, local := ropeOf(c.RopeTheta), ropeOf(m.LocalTheta)
	for i := range n.Layers {
		l := &n.Layers[i]
		*l = modernBERTBlock{
			QKV:     nn.NewFusedQKV(c.Hidden, 1, c.Heads, c.Heads, c.HeadDim, c.AttentionBias),
			O:       nn.NewLinear(c.Hidden, c.AttentionBias, c.Hidden),
			MLPNorm: norm,
			GateUp: nn.Gated{In: c.Hidden, F: c.Intermediate, Bias: c.MLPBias,
				Act: gatedActivations[c.Activation], Fused: true},
			Down: nn.NewLinear(c.Intermediate, c.MLPBias, c.Hidden),
			attn: newAttention(c, i, false),
			rope: global,
		}
		if i > 0 {
			l.AttnNorm = new(norm)
		}
		if l.attn.Reach = m.Reach[i]; l.attn.Reach > 0 {
			l.rope = local
		}
	}
	return n
}

func (n *modernBERT) embedding() *nn.Embedding { return &n.Words }

func (n *modernBERT) embed(p *nn.Program) nn.Value {
	return p.Norm(&n.WordNorm, p.Lookup(&n.Words, nn.Tokens, nn.NoValue))
}

// each is what the mean is of.
func (n *modernBERT) each(p *nn.Program, x nn.Value) nn.Value {
	if !n.mean {
		return nn.NoValue
	}
	return p.Norm(&n.FinalNorm, x)
}

func (n *modernBERT) features(p *nn.Program, x nn.Value) nn.Value {
	if !n.mean {
		x = p.Norm(&n.FinalNorm, x)
	}
	if n.Dense == nil {
		return x
	}
	return p.Norm(n.Norm, p.Activated(n.Dense, x, n.act))
}

func (n *modernBERT) blocks() []block { return blocksOf(n.Layers) }

func (l *modernBERTBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	a, n := &l.attn, x
	if l.AttnNorm != nil {
		n = p.Norm(l.AttnNorm, x)
	}
	q := p.Rope(l.rope, a, a.H, p.Linear(&l.QKV.Q, p.Wanted(n)))
	kv := p.Rope(l.rope, a, a.K, p.Linear(&l.QKV.KV, n))
	y := p.AddLinear(&l.O, p.Wanted(x), p.Attend(a, q, kv))
	return p.AddLinear(&l.Down, y, p.Gated(&l.GateUp, p.Norm(&l.MLPNorm, y)))
}
