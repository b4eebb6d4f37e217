package model

import "github.com/warmserve/warmserve/model/nn"

// distilBERT is BERT without token types and pooler, and with a layer before its
// head. Source: transformers modeling_distilbert.py; Sanh et al. 2019 (arXiv
// 1910.01108).
type distilBERT struct {
	Words     nn.Embedding  `weight:"distilbert.embeddings.word_embeddings"`
	Positions nn.Embedding  `weight:"distilbert.embeddings.position_embeddings"`
	Norm      nn.LayerNorm  `weight:"distilbert.embeddings.LayerNorm"`
	Layers    []distilBlock `weight:"distilbert.transformer.layer"`
	Dense     *nn.Linear    `weight:"pre_classifier"`
}

// distilBlock is BERT's under other names.
type distilBlock struct {
	Q        nn.Linear    `weight:"attention.q_lin"`
	KV       nn.Linear    `weight:"attention.k_lin,attention.v_lin"`
	O        nn.Linear    `weight:"attention.out_lin"`
	AttnNorm nn.LayerNorm `weight:"sa_layer_norm"`
	Up       nn.Linear    `weight:"ffn.lin1"`
	Down     nn.Linear    `weight:"ffn.lin2"`
	OutNorm  nn.LayerNorm `weight:"output_layer_norm"`

	attn nn.Attention
	act  nn.Activation
}

func newDistilBERT(c *Config) network {
	n := &distilBERT{
		Words:     nn.NewEmbedding(c.VocabSize, c.Hidden),
		Positions: nn.NewEmbedding(c.MaxPositions, c.Hidden),
		Norm:      nn.NewLayerNorm(c.Hidden, c.NormEps),
		Layers:    make([]distilBlock, c.Layers),
		Dense:     c.pooler(true),
	}
	for i := range n.Layers {
		n.Layers[i] = distilBlock(newBertBlock(c, i))
	}
	return n
}

func (n *distilBERT) embedding() *nn.Embedding { return &n.Words }

func (n *distilBERT) embed(p *nn.Program) nn.Value {
	x := p.Lookup(&n.Words, nn.Tokens, nn.NoValue)
	return p.Norm(&n.Norm, p.Lookup(&n.Positions, nn.Positions, x))
}

func (n *distilBERT) features(p *nn.Program, x nn.Value) nn.Value {
	return pooled(p, n.Dense, x, nn.ReLU)
}

func (n *distilBERT) blocks() []block { return blocksOf(n.Layers) }

func (l *distilBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	return (*bertBlock)(l).forward(p, x)
}
