package model

import (
	"math"

	"github.com/warmserve/warmserve/model/nn"
)

// deberta is the network of DeBERTa v2 and v3, whose attention is disentangled: see
// [nn.Relative]. Source: transformers modeling_deberta_v2.py; He et al. 2020 and
// 2021 (arXiv 2006.03654, 2111.09543).
type deberta struct {
	Words     nn.Embedding   `weight:"deberta.embeddings.word_embeddings"`
	Positions *nn.Embedding  `weight:"deberta.embeddings.position_embeddings"` // nil without position_biased_input
	Types     *nn.Embedding  `weight:"deberta.embeddings.token_type_embeddings"`
	Norm      nn.LayerNorm   `weight:"deberta.embeddings.LayerNorm"`
	Layers    []debertaBlock `weight:"deberta.encoder.layer"`
	Distances *nn.Embedding  `weight:"deberta.encoder.rel_embeddings"` // nil without relative attention
	DistNorm  *nn.LayerNorm  `weight:"deberta.encoder.LayerNorm"`
	Conv      *debertaConv   `weight:"deberta.encoder.conv"` // of v2 xlarge and xxlarge
	Pooler    *nn.Linear     `weight:"pooler.dense"`

	pooled nn.Activation
}

// debertaBlock is norm(x + attention(x)), then norm(x + mlp(x)).
type debertaBlock struct {
	Q        nn.Linear    `weight:"attention.self.query_proj"`
	KV       nn.Linear    `weight:"attention.self.key_proj,attention.self.value_proj"`
	PosKey   *nn.Linear   `weight:"attention.self.pos_key_proj"`
	PosQuery *nn.Linear   `weight:"attention.self.pos_query_proj"`
	O        nn.Linear    `weight:"attention.output.dense"`
	AttnNorm nn.LayerNorm `weight:"attention.output.LayerNorm"`
	Up       nn.Linear    `weight:"intermediate.dense"`
	Down     nn.Linear    `weight:"output.dense"`
	OutNorm  nn.LayerNorm `weight:"output.LayerNorm"`

	attn nn.Attention
	act  nn.Activation
	conv *debertaConv // behind the first block; else nil
}

// debertaConv is norm(y + act(conv(x))), of the first block's input x and output y.
type debertaConv struct {
	Conv nn.Linear    `weight:"conv"`
	Norm nn.LayerNorm `weight:"LayerNorm"`

	act nn.Activation
}

func newDeberta(c *Config) network {
	n := &deberta{
		Words:  nn.NewEmbedding(c.VocabSize, c.Hidden),
		Norm:   nn.NewLayerNorm(c.Hidden, c.NormEps),
		Layers: make([]debertaBlock, c.Layers),
		Pooler: c.pooler(true),
		pooled: poolerActivations[c.PoolerActivation],
	}
	if c.TypeVocab > 0 {
		n.Types = new(nn.NewEmbedding(c.TypeVocab, c.Hidden))
	}
	if c.Positioned {
		n.Positions = new(nn.NewEmbedding(c.MaxPositions, c.Hidden))
	}
	d := c.Disentangled
	if d != nil {
		n.Distances = new(nn.NewEmbedding(2*d.Span, c.Hidden))
		if d.Norm {
			n.DistNorm = new(nn.NewLayerNorm(c.Hidden, c.NormEps))
		}
	}
	for i := range n.Layers {
		b := newBertBlock(c, i)
		l := &n.Layers[i]
		*l = debertaBlock{Q: b.Q, KV: b.KV, O: b.O, AttnNorm: b.AttnNorm, Up: b.Up, Down: b.Down,
			OutNorm: b.OutNorm, attn: b.attn, act: b.act}
		if d != nil {
			l.disentangle(d, n)
		}
	}
	if k := c.ConvKernel; k > 0 {
		conv := nn.Linear{In: k * c.Hidden, Outs: []int{c.Hidden}, Bias: true, Kernel: k}
		n.Conv = &debertaConv{Conv: conv, Norm: nn.NewLayerNorm(c.Hidden, c.NormEps),
			act: poolerActivations[c.ConvActivation]}
		n.Layers[0].conv = n.Conv
	}
	return n
}

// disentangle gives a layer's attention its terms of distance.
func (l *debertaBlock) disentangle(d *Disentangled, n *deberta) {
	r := &nn.Relative{Table: n.Distances, Norm: n.DistNorm, Span: d.Span, Buckets: d.Buckets,
		Longest: d.Longest}
	terms := 1
	project := func(wanted bool, shared *nn.Linear, own **nn.Linear) *nn.Linear {
		switch {
		case !wanted:
			return nil
		case d.Shared:
			terms++
			return shared
		}
		terms++
		*own = new(nn.NewLinear(l.Q.In, true, l.Q.Out()))
		return *own
	}
	r.Key = project(d.ToPosition, &l.KV, &l.PosKey)
	r.Query = project(d.FromPosition, &l.Q, &l.PosQuery)
	l.attn.Relative = r
	l.attn.Scale = float32(1 / math.Sqrt(float64(l.attn.D*terms)))
}

func (n *deberta) embedding() *nn.Embedding { return &n.Words }

func (n *deberta) embed(p *nn.Program) nn.Value {
	x := p.Lookup(&n.Words, nn.Tokens, nn.NoValue)
	if n.Positions != nil {
		x = p.Lookup(n.Positions, nn.Positions, x)
	}
	if n.Types != nil {
		x = p.Lookup(n.Types, nn.Types, x)
	}
	return p.Norm(&n.Norm, x)
}

func (n *deberta) features(p *nn.Program, x nn.Value) nn.Value {
	return pooled(p, n.Pooler, x, n.pooled)
}

func (n *deberta) blocks() []block { return blocksOf(n.Layers) }

func (l *debertaBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	q := p.Linear(&l.Q, p.Wanted(x))
	kv := p.Linear(&l.KV, x)
	y := p.Norm(&l.AttnNorm, p.AddLinear(&l.O, p.Wanted(x), p.Attend(&l.attn, q, kv)))
	y = p.Norm(&l.OutNorm, p.AddLinear(&l.Down, y, p.Activated(&l.Up, y, l.act)))
	if l.conv == nil {
		return y
	}
	near := p.Wanted(p.Neighbours(l.conv.Conv.Kernel, x))
	return p.Norm(&l.conv.Norm, p.Add(y, p.Activated(&l.conv.Conv, near, l.conv.act)))
}
