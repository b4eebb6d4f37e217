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
	// SoftCap c > 0 bounds the scaled scores s to c·tanh(s/c); 0 leaves them.
	// Source: Bello et al. 2016; transformers Gemma 2 (attn_logit_softcapping).
	SoftCap float32
	// Relative adds what scores are by distance; nil for nothing.
	Relative *Relative
}

// DefaultScale is 1/√D.
func DefaultScale(d int) float32 { return float32(1 / math.Sqrt(float64(d))) }

// Rope is the rotary position embedding of the first 2·len(InvFreq) elements of
// each head, in the half-split form. Source: Su et al. 2021 (arXiv 2104.09864).
type Rope struct {
	InvFreq      []float32 // radians per position, one for each rotated pair
	MaxPositions int       // positions are below it
}

// InvFreq returns theta^(-2i/d) for the d/2 pairs of d rotated elements.
func InvFreq(theta float64, d int) []float32 {
	f := make([]float32, d/2)
	for i := range f {
		f[i] = float32(1 / math.Pow(theta, float64(2*i)/float64(d)))
	}
	return f
}

// Llama3Frequencies rescales frequencies for a context factor times as long:
// waves longer than original/low are slowed by factor, those shorter than
// original/high are kept, and the rest is interpolated.
// Source: transformers modeling_rope_utils._compute_llama3_parameters.
func Llama3Frequencies(invFreq []float32, factor, low, high, original float64) {
	for i, f := range invFreq {
		wave := 2 * math.Pi / float64(f)
		switch {
		case wave > original/low:
			invFreq[i] = float32(float64(f) / factor)
		case wave >= original/high:
			smooth := (original/wave - low) / (high - low)
			invFreq[i] = float32((1-smooth)*float64(f)/factor + smooth*float64(f))
		}
	}
}
