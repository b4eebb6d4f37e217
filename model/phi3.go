package model

import "github.com/warmserve/warmserve/model/nn"

// phi3Block is InternLM2's under other names.
type phi3Block struct {
	InputNorm nn.RMSNorm  `weight:"input_layernorm"`
	QKV       nn.FusedQKV `weight:"self_attn.qkv_proj"`
	O         nn.Linear   `weight:"self_attn.o_proj"`
	PostNorm  nn.RMSNorm  `weight:"post_attention_layernorm"`
	GateUp    nn.Gated    `weight:"mlp.gate_up_proj"`
	Down      nn.Linear   `weight:"mlp.down_proj"`

	attn nn.Attention
	rope *nn.Rope
}

// newPhi3 returns the network of Phi-3 and Phi-4: Llama's, with queries, keys and values
// in one tensor and gate and up projection in another. Source: transformers
// modeling_phi3.py; Abdin et al. 2024 (arXiv 2404.14219).
func newPhi3(c *Config) network {
	rope := newRope(c)
	return newDecoder(c, nn.NewRMSNorm(c.Hidden, c.NormEps), func(layer int) phi3Block {
		b := newFusedBlock(c, layer, rope, 1, false)
		b.GateUp.Fused = true
		return phi3Block(b)
	})
}

func (l *phi3Block) forward(p *nn.Program, x nn.Value) nn.Value {
	return (*internLM2Block)(l).forward(p, x)
}
