package model

// FLOPs returns the floating-point operations of the matrix products that
// scoring one sequence of n tokens takes, a multiply-add being two: what must be
// computed, with the tokens and layers that the score does not need left out.
func (c *Config) FLOPs(n int) float64 {
	a := architectures[c.Architecture]
	C, F, hd, kd := float64(c.Hidden), float64(c.Intermediate), float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim)
	ffn := 2 * C * F
	if !a.layerNorm {
		ffn = 3 * C * F // gated
	}
	keys := 2 * C * kd
	rest := 2*C*hd + ffn // queries, attention output, feed-forward
	sum := 0.0
	for l := range c.Layers {
		rows, first := n, 0
		if l == c.Layers-1 {
			rows = 1
			if !a.encoder {
				first = n - 1
			}
		}
		pairs := 0.0
		for i := range rows {
			switch w := c.Window(l); {
			case a.encoder:
				pairs += float64(n)
			case w > 0:
				pairs += float64(min(first+i+1, w))
			default:
				pairs += float64(first + i + 1)
			}
		}
		sum += 2*(float64(n)*keys+float64(rows)*rest) + 4*hd*pairs
	}
	return sum
}
