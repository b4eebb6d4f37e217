package model

// newMistral returns a Llama without biases whose queries see a sliding window.
// Source: transformers modeling_mistral.py; Jiang et al. 2023 (arXiv 2310.06825).
func newMistral(c *Config) network { return newLlamaLike(c, llamaOptions{}) }
