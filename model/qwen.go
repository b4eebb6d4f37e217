package model

// newQwen2 returns a Llama with biases on queries, keys and values alone.
// Source: transformers modeling_qwen2.py.
func newQwen2(c *Config) network { return newLlamaLike(c, llamaOptions{qkv: true}) }

// newQwen3 returns a Llama whose queries and keys are normalised by head, before
// the rotation. Source: transformers modeling_qwen3.py.
func newQwen3(c *Config) network {
	return newLlamaLike(c, llamaOptions{qkv: c.AttentionBias, o: c.AttentionBias, headNorm: true})
}
