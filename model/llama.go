package model

import "github.com/warmserve/warmserve/model/nn"

// llama is the network of Llama, Mistral, Qwen2, Qwen3 and Gemma, which differ in
// biases, in norms, in the scale of the embedding, in sliding windows and in experts.
// Source: transformers modeling_llama.py; Touvron et al. 2023 (arXiv 2302.13971).
type llama = decoder[llamaBlock, *llamaBlock]

// llamaBlock is x += O·attention(norm(x)), then x += feed(norm(x)).
type llamaBlock struct {
	InputNorm nn.RMSNorm  `weight:"input_layernorm"`
	Q         nn.Linear   `weight:"self_attn.q_proj"`
	KV        nn.Linear   `weight:"self_attn.k_proj,self_attn.v_proj"`
	QNorm     *nn.RMSNorm `weight:"self_attn.q_norm"` // over D, Qwen3 alone
	KNorm     *nn.RMSNorm `weight:"self_attn.k_norm"`
	O         nn.Linear   `weight:"self_attn.o_proj"`
	PostNorm  nn.RMSNorm  `weight:"post_attention_layernorm"`
	Feed      feedForward `weight:""`

	attn nn.Attention
	rope *nn.Rope
}

// llamaOptions are what Llama and its relatives differ in.
type llamaOptions struct {
	qkv, o, mlp bool                        // which layers of a block have a bias
	headNorm    bool                        // queries and keys are normalised by head
	normOffset  float32                     // added to the norms' weights
	scale       float32                     // of the embedding; 0 for none
	experts     func(c *Config) feedForward // of layers that have them
}

func newLlama(c *Config) network {
	return newLlamaLike(c, llamaOptions{qkv: c.AttentionBias, o: c.AttentionBias, mlp: c.MLPBias})
}

func newLlamaLike(c *Config, b llamaOptions) *llama {
	norm := nn.RMSNorm{C: c.Hidden, Eps: float32(c.NormEps), Offset: b.normOffset}
	rope := newRope(c)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	n := newDecoder(c, norm, func(layer int) llamaBlock {
		l := llamaBlock{
			InputNorm: norm,
			Q:         nn.NewLinear(c.Hidden, b.qkv, q),
			KV:        nn.NewLinear(c.Hidden, b.qkv, kv, kv),
			O:         nn.NewLinear(q, b.o, c.Hidden),
			PostNorm:  norm,
			attn:      newAttention(c, layer, true),
			rope:      rope,
		}
		if l.Feed = newGatedFeed(c, b.mlp); c.Experts.of(layer) {
			l.Feed = b.experts(c)
		}
		if b.headNorm {
			l.QNorm = new(nn.NewRMSNorm(c.HeadDim, c.NormEps))
			l.KNorm = new(nn.NewRMSNorm(c.HeadDim, c.NormEps))
		}
		return l
	})
	n.scale = b.scale
	return n
}

func (l *llamaBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	a := &l.attn
	n := p.Norm(&l.InputNorm, x)
	q := p.Rope(l.rope, a, a.H, p.HeadNorm(l.QNorm, a.H, p.Linear(&l.Q, p.Wanted(n))))
	kv := p.Rope(l.rope, a, a.K, p.HeadNorm(l.KNorm, a.K, p.Linear(&l.KV, n)))
	y := p.AddLinear(&l.O, p.Wanted(x), p.Attend(a, q, kv))
	return l.Feed.forward(p, y, p.Norm(&l.PostNorm, y))
}
