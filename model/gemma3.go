package model

import "github.com/warmserve/warmserve/model/nn"

// newGemma3 returns a Gemma 2 whose queries and keys are normalised by head, and
// whose sliding layers have a rotary embedding of their own, which is never scaled.
// Source: transformers modeling_gemma3.py; Gemma Team 2025 (arXiv 2503.19786).
func newGemma3(c *Config) network {
	n := newGemma2Like(c)
	local := &nn.Rope{InvFreq: nn.InvFreq(c.LocalTheta, c.RotaryDim()), MaxPositions: c.MaxPositions}
	for i := range n.Layers {
		l := &n.Layers[i]
		norm := nn.RMSNorm{C: c.HeadDim, Eps: float32(c.NormEps), Offset: 1}
		l.QNorm, l.KNorm = new(norm), new(norm)
		if c.Window(i) > 0 {
			l.rope = local
		}
	}
	return n
}
