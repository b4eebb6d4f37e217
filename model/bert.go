package model

import "github.com/warmserve/warmserve/model/nn"

// bert is the bidirectional encoder with a pooler over its first token.
// Source: transformers modeling_bert.py; Devlin et al. 2019 (arXiv 1810.04805).
type bert struct {
	bertBody `weight:"bert"`
	Pooler   *nn.Linear `weight:"bert.pooler.dense"`
}

// bertBody is an embedding and blocks, with the names that BERT's relatives share.
type bertBody struct {
	Words     nn.Embedding `weight:"embeddings.word_embeddings"`
	Positions nn.Embedding `weight:"embeddings.position_embeddings"`
	Types     nn.Embedding `weight:"embeddings.token_type_embeddings"`
	Norm      nn.LayerNorm `weight:"embeddings.LayerNorm"`
	Layers    []bertBlock  `weight:"encoder.layer"`
}

// bertBlock is norm(x + attention(x)), then norm(x + mlp(x)).
type bertBlock struct {
	Q        nn.Linear    `weight:"attention.self.query"`
	KV       nn.Linear    `weight:"attention.self.key,attention.self.value"`
	O        nn.Linear    `weight:"attention.output.dense"`
	AttnNorm nn.LayerNorm `weight:"attention.output.LayerNorm"`
	Up       nn.Linear    `weight:"intermediate.dense"`
	Down     nn.Linear    `weight:"output.dense"`
	OutNorm  nn.LayerNorm `weight:"output.LayerNorm"`

	attn nn.Attention
	act  nn.Activation
}

func newBert(c *Config) network {
	return &bert{
		bertBody: newBertBody(c, c.Hidden),
		Pooler:   c.pooler(true),
	}
}

// newBertBody returns a body whose embedding has so many values.
func newBertBody(c *Config, width int) bertBody {
	n := bertBody{
		Words:     nn.NewEmbedding(c.VocabSize, width),
		Positions: nn.NewEmbedding(c.FirstPosition+c.MaxPositions, width),
		Types:     nn.NewEmbedding(c.TypeVocab, width),
		Norm:      nn.NewLayerNorm(width, c.NormEps),
		Layers:    make([]bertBlock, c.Layers),
	}
	for i := range n.Layers {
		n.Layers[i] = newBertBlock(c, i)
	}
	return n
}

func newBertBlock(c *Config, layer int) bertBlock {
	return bertBlock{
		Q:        nn.NewLinear(c.Hidden, true, c.Hidden),
		KV:       nn.NewLinear(c.Hidden, true, c.Hidden, c.Hidden),
		O:        nn.NewLinear(c.Hidden, true, c.Hidden),
		AttnNorm: nn.NewLayerNorm(c.Hidden, c.NormEps),
		Up:       nn.NewLinear(c.Hidden, true, c.Intermediate),
		Down:     nn.NewLinear(c.Intermediate, true, c.Hidden),
		OutNorm:  nn.NewLayerNorm(c.Hidden, c.NormEps),
		attn:     newAttention(c, layer, false),
		act:      plainActivations[c.Activation],
	}
}

func (n *bertBody) embedding() *nn.Embedding { return &n.Words }

func (n *bertBody) embed(p *nn.Program) nn.Value {
	x := p.Lookup(&n.Words, nn.Tokens, nn.NoValue)
	x = p.Lookup(&n.Types, nn.Types, x)
	return p.Norm(&n.Norm, p.Lookup(&n.Positions, nn.Positions, x))
}

func (n *bertBody) blocks() []block { return blocksOf(n.Layers) }

func (n *bert) features(p *nn.Program, x nn.Value) nn.Value {
	return pooled(p, n.Pooler, x, nn.Tanh)
}

func (l *bertBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	q := p.Linear(&l.Q, p.Wanted(x))
	kv := p.Linear(&l.KV, x)
	y := p.Norm(&l.AttnNorm, p.AddLinear(&l.O, p.Wanted(x), p.Attend(&l.attn, q, kv)))
	return p.Norm(&l.OutNorm, p.AddLinear(&l.Down, y, p.Activated(&l.Up, y, l.act)))
}
