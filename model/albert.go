package model

import "github.com/warmserve/warmserve/model/nn"

// albert is BERT with a narrow embedding and blocks whose weights are used again
// and again. Source: transformers modeling_albert.py; Lan et al. 2019 (arXiv
// 1909.11942).
type albert struct {
	Words     nn.Embedding  `weight:"albert.embeddings.word_embeddings"`
	Positions nn.Embedding  `weight:"albert.embeddings.position_embeddings"`
	Types     nn.Embedding  `weight:"albert.embeddings.token_type_embeddings"`
	Norm      nn.LayerNorm  `weight:"albert.embeddings.LayerNorm"`
	Project   nn.Linear     `weight:"albert.encoder.embedding_hidden_mapping_in"`
	Groups    []albertGroup `weight:"albert.encoder.albert_layer_groups"`
	Pooler    *nn.Linear    `weight:"albert.pooler"`

	layers int // each runs the blocks of a group
}

type albertGroup struct {
	Layers []albertBlock `weight:"albert_layers"`
}

// albertBlock is BERT's under other names.
type albertBlock struct {
	Q        nn.Linear    `weight:"attention.query"`
	KV       nn.Linear    `weight:"attention.key,attention.value"`
	O        nn.Linear    `weight:"attention.dense"`
	AttnNorm nn.LayerNorm `weight:"attention.LayerNorm"`
	Up       nn.Linear    `weight:"ffn"`
	Down     nn.Linear    `weight:"ffn_output"`
	OutNorm  nn.LayerNorm `weight:"full_layer_layer_norm"`

	attn nn.Attention
	act  nn.Activation
}

func newAlbert(c *Config) network {
	n := &albert{
		Words:     nn.NewEmbedding(c.VocabSize, c.Embedding),
		Positions: nn.NewEmbedding(c.MaxPositions, c.Embedding),
		Types:     nn.NewEmbedding(c.TypeVocab, c.Embedding),
		Norm:      nn.NewLayerNorm(c.Embedding, c.NormEps),
		Project:   nn.NewLinear(c.Embedding, true, c.Hidden),
		Groups:    make([]albertGroup, c.Groups),
		Pooler:    c.pooler(true),
		layers:    c.Layers,
	}
	for i := range n.Groups {
		for range c.InGroup {
			n.Groups[i].Layers = append(n.Groups[i].Layers, albertBlock(newBertBlock(c, 0)))
		}
	}
	return n
}

func (n *albert) embedding() *nn.Embedding { return &n.Words }

func (n *albert) embed(p *nn.Program) nn.Value {
	x := p.Lookup(&n.Words, nn.Tokens, nn.NoValue)
	x = p.Lookup(&n.Types, nn.Types, x)
	return p.Linear(&n.Project, p.Norm(&n.Norm, p.Lookup(&n.Positions, nn.Positions, x)))
}

func (n *albert) features(p *nn.Program, x nn.Value) nn.Value {
	return pooled(p, n.Pooler, x, nn.Tanh)
}

// blocks lists those of every layer; layers are divided evenly among the groups.
func (n *albert) blocks() []block {
	var out []block
	for i := range n.layers {
		out = append(out, blocksOf(n.Groups[i*len(n.Groups)/n.layers].Layers)...)
	}
	return out
}

func (l *albertBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	return (*bertBlock)(l).forward(p, x)
}
