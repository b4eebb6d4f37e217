package nn

// FLOPs returns the floating-point operations of the matrix products that
// scoring one sequence of n tokens takes, a multiply-add being two: what must be
// computed, with the tokens and layers that the score does not need left out.
func (n *Network) FLOPs(tokens int) float64 {
	sum := 0.0
	for i, p := range n.Blocks {
		wanted := tokens
		if i == len(n.Blocks)-1 {
			wanted = 1
		}
		for j := range p.Ops {
			op := &p.Ops[j]
			rows := float64(tokens)
			if p.OfWanted(op.Out) || op.Kind == Attend {
				rows = float64(wanted)
			}
			switch op.Kind {
			case Multiply, MultiplyAdd:
				sum += rows * op.Linear.flops()
			case MultiplyGated:
				sum += rows * op.Gated.flops()
			case Route:
				sum += rows * op.Mixture.flops()
			case Attend:
				sum += 4 * float64(op.Attention.H*op.Attention.D) * op.Attention.pairs(tokens, wanted)
			}
		}
	}
	return sum
}

// pairs counts the keys that the last queries of a sequence see.
func (a *Attention) pairs(tokens, queries int) float64 {
	sum := 0.0
	for i := tokens - queries; i < tokens; i++ {
		switch {
		case a.Reach > 0:
			sum += float64(min(i, a.Reach) + min(tokens-1-i, a.Reach) + 1)
		case !a.Causal:
			sum += float64(tokens)
		case a.Window > 0:
			sum += float64(min(i+1, a.Window))
		default:
			sum += float64(i + 1)
		}
	}
	return sum
}
