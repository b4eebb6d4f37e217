package nn

import "math"

// Attention is scaled dot-product attention over packed spans, with several
// query heads to a key head (GQA). Source: Vaswani et al. 2017, eq. 1; Ainslie
// et al. 2023 (arXiv 2305.13245).
type Attention struct {
	H, K, D int // query heads, key heads, size of a head
	Scale   float32
	Causal  bool
	Window  int // tokens a query sees, itself included; 0 for all
	Reach   int // without Causal: how far from a query the keys may be that it sees; 0 for all
	// SoftCap c > 0 bounds the scaled scores s to c·tanh(s/c); 0 leaves them.
	// Source: Bello et al. 2016; transformers Gemma 2 (attn_logit_softcapping).
	SoftCap float32
	// Relative adds what scores are by distance; nil for nothing.
	Relative *Relative
}

// DefaultScale is 1/√D.
func DefaultScale(d int) float32 { return float32(1 / math.Sqrt(float64(d))) }
