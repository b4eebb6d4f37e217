package nn

// Mixture is a feed-forward network of several experts, of which each token takes
// some: the Top ones by the softmax of what the router makes of it, each by its
// probability. Source: Shazeer et al. 2017 (arXiv 1701.06538); transformers
// MixtralSparseMoeBlock and Qwen2MoeSparseMoeBlock.
type Mixture struct {
	Router  *Linear // a row for each expert; float32
	Experts []Expert
	Top     int
	// Normalized says that the probabilities of the chosen experts are divided by
	// their sum.
	Normalized bool
	// Shared says that the last expert is taken by every token, by the sigmoid of what
	// the router's last row makes of it, and is none of those that are chosen from.
	Shared bool
}

// Expert is one gated feed-forward network.
type Expert struct {
	GateUp *Gated
	Down   *Linear
}

// Chosen returns how many experts there are to choose from.
func (m *Mixture) Chosen() int {
	if m.Shared {
		return len(m.Experts) - 1
	}
	return len(m.Experts)
}

// Taken returns how many experts a token takes, the shared one among them.
func (m *Mixture) Taken() int { return m.Top + len(m.Experts) - m.Chosen() }

// flops returns those of one token.
func (m *Mixture) flops() float64 {
	n := m.Router.flops() + float64(m.Top)*m.Experts[0].flops()
	if m.Shared {
		n += m.Experts[len(m.Experts)-1].flops()
	}
	return n
}

func (e *Expert) flops() float64 { return e.GateUp.flops() + e.Down.flops() }

func (l *Linear) flops() float64 { return 2 * float64(l.In*l.Out()) }

func (g *Gated) flops() float64 { return 4 * float64(g.In*g.F) }
