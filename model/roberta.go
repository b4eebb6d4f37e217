package model

import "github.com/warmserve/warmserve/model/nn"

// roberta is the network of RoBERTa and XLM-RoBERTa: BERT whose positions count
// the tokens that are not padding, with two layers over the first token.
// Source: transformers modeling_roberta.py; Liu et al. 2019 (arXiv 1907.11692).
type roberta struct {
	bertBody `weight:"roberta"`
	Dense    *nn.Linear `weight:"classifier.dense"`
}

func newRoberta(c *Config) network {
	return &roberta{
		bertBody: newBertBody(c, c.Hidden),
		Dense:    c.pooler(true),
	}
}

func (n *roberta) features(p *nn.Program, x nn.Value) nn.Value {
	return pooled(p, n.Dense, x, nn.Tanh)
}
