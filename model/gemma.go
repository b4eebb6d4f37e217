package model

import "math"

// newGemma returns a Llama whose norms add 1 to their weights and whose embedding
// is scaled. Source: transformers modeling_gemma.py; Gemma Team 2024 (arXiv
// 2403.08295).
func newGemma(c *Config) network {
	return newLlamaLike(c, llamaOptions{qkv: c.AttentionBias, o: c.AttentionBias, normOffset: 1,
		scale: gemmaScale(c.Hidden)})
}

// gemmaScale is what Gemma multiplies its embedding by: √C.
func gemmaScale(hidden int) float32 { return float32(math.Sqrt(float64(hidden))) }
