package model

import "github.com/warmserve/warmserve/model/nn"

// electra is BERT with an embedding of its own width and two layers over the first
// token. Source: transformers modeling_electra.py; Clark et al. 2020 (arXiv
// 2003.10555).
type electra struct {
	bertBody `weight:"electra"`
	Project  *nn.Linear `weight:"electra.embeddings_project"` // where the widths differ
	Dense    *nn.Linear `weight:"classifier.dense"`
}

func newElectra(c *Config) network {
	n := &electra{
		bertBody: newBertBody(c, c.Embedding),
		Dense:    c.pooler(true),
	}
	if c.Embedding != c.Hidden {
		n.Project = new(nn.NewLinear(c.Embedding, true, c.Hidden))
	}
	return n
}

func (n *electra) embed(p *nn.Program) nn.Value {
	x := n.bertBody.embed(p)
	if n.Project == nil {
		return x
	}
	return p.Linear(n.Project, x)
}

func (n *electra) features(p *nn.Program, x nn.Value) nn.Value {
	return pooled(p, n.Dense, x, nn.GELU)
}
