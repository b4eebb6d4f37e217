package nn

import "slices"

// Network is a whole reward model, or language model, without weights: what its
// parts compute, and the layers that they name.
type Network struct {
	Name string // of the architecture, for messages
	// Layers points to a struct whose fields hold the layers, with the
	// checkpoint's names as `weight` tags: see [Modules].
	Layers any
	// InSource is the name of a parameter in the checkpoint, where that is not the
	// tag's; nil where all are.
	InSource func(name string) string
	// Left are tensors that a checkpoint may have and the network does without.
	Left []string
	// Leaves says of other tensors whether they are left out as well; nil for none.
	Leaves func(name string) bool

	Embed  *Program // the input of the first block, from the tokens
	Blocks []*Program
	// Each is what is averaged over a sequence's tokens for the head, from the last
	// block's output; nil where the head reads one token.
	Each     *Program
	Features *Program   // what a head reads, from the last block's output
	Head     *Head      // nil below a language model's output layer
	Tokens   *Embedding // of token ids

	Stretched []*Rope // rotary embeddings that go by a sequence's length

	Causal    bool // whether tokens see only those before them
	Hidden    int  // C
	Vocab     int  // V
	Types     int  // token types, 0 where there are none
	Positions int  // of the longest sequence
	// First is the position of a sequence's first token. Where it is not 0, tokens
	// with the id Uncounted are not counted and have that number for a position.
	First, Uncounted int32
}

// LeavesOut reports whether the network does without a tensor that a checkpoint has.
func (n *Network) LeavesOut(name string) bool {
	return slices.Contains(n.Left, name) || n.Leaves != nil && n.Leaves(name)
}

// Modules calls f for every layer, the head's last.
func (n *Network) Modules(f func(names []string, m Module)) {
	Modules(n.Layers, f)
	if n.Head != nil {
		for _, l := range n.Head.Layers {
			f(l.Names, l.Layer)
		}
	}
}

// Params returns the parameters of all layers, in the order of [Network.Modules].
func (n *Network) Params() []Param {
	var out []Param
	n.Modules(func(names []string, m Module) { out = append(out, m.Params(names)...) })
	return out
}

// Headless returns the network without its head, as a language model has it.
func (n *Network) Headless() *Network {
	body := *n
	body.Head = nil
	return &body
}

// SeesAhead says whether what a head reads of a token may depend on later ones.
func (n *Network) SeesAhead() bool { return !n.Causal || n.Each != nil }

// SourceName returns the name that a parameter has in the checkpoint.
func (n *Network) SourceName(name string) string {
	if n.InSource == nil {
		return name
	}
	return n.InSource(name)
}

// Attention returns the attention of a block.
func (n *Network) Attention(block int) *Attention {
	p := n.Blocks[block]
	return p.Ops[p.Attends()].Attention
}

// Reach says which of the networks' rotations a sequence of so many tokens has:
// those of sequences of equal reach are equal. It is 0 for all where no rotary
// embedding goes by the length.
func (n *Network) Reach(length int) int32 {
	reach := int32(0)
	for _, r := range n.Stretched {
		reach = max(reach, r.Reach(length))
	}
	return reach
}
