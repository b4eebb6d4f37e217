package model

import "github.com/warmserve/warmserve/model/nn"

// decoder is what Llama and its relatives have around their blocks: an embedding before, and an RMS
// norm behind them.
type decoder[B any, P interface {
	*B
	block
}] struct {
	Embed  nn.Embedding `weight:"model.embed_tokens"`
	Layers []B          `weight:"model.layers"`
	Norm   nn.RMSNorm   `weight:"model.norm"`

	scale float32 // of the embedding; 0 for none
}

// newDecoder returns a decoder whose blocks of returns by layer.
func newDecoder[B any, P interface {
	*B
	block
}](c *Config, norm nn.RMSNorm, of func(layer int) B) *decoder[B, P] {
	n := &decoder[B, P]{Embed: nn.NewEmbedding(c.VocabSize, c.Hidden), Norm: norm}
	for i := range c.Layers {
		n.Layers = append(n.Layers, of(i))
	}
	return n
}

func (n *decoder[B, P]) embedding() *nn.Embedding { return &n.Embed }

func (n *decoder[B, P]) embed(p *nn.Program) nn.Value {
	x := p.Lookup(&n.Embed, nn.Tokens, nn.NoValue)
	if n.scale == 0 {
		return x
	}
	return p.Scale(n.scale, x)
}

func (n *decoder[B, P]) features(p *nn.Program, x nn.Value) nn.Value { return p.Norm(&n.Norm, x) }

func (n *decoder[B, P]) blocks() []block { return blocksOf[B, P](n.Layers) }
