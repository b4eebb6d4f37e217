package plan

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
)

// Sequence is one input: token ids, and the tokens that the head reads.
type Sequence struct {
	IDs   []int32
	Types []int32 // token types of an encoder, nil for all 0
	// Read are the tokens whose outputs make the reward, in the order in which the
	// head wants them: for most one, the token that is scored; for an encoder 0, the
	// token that its pooler reads.
	Read []int32
	// Outputs, unless nil, takes the outputs of the tokens in Read, N each: what the
	// reward is made of. With Every it takes those of all tokens; the reward stays
	// that of Read. A model whose tokens see later ones has no Every.
	Outputs []float32
	Every   bool
}

// Rows returns how many tokens of the sequence have outputs.
func (s *Sequence) Rows() int {
	if s.Every {
		return len(s.IDs)
	}
	return len(s.Read)
}

// Row returns the i-th of them.
func (s *Sequence) Row(i int) int32 {
	if s.Every {
		return int32(i)
	}
	return s.Read[i]
}

// Needed returns the ids up to the last that anything depends on.
func (s *Sequence) Needed(n *nn.Network) []int32 {
	if s.Every || n.SeesAhead() {
		return s.IDs
	}
	return s.IDs[:slices.Max(s.Read)+1]
}

// Validate says whether a model of the network can score the sequence.
func Validate(n *nn.Network, s *Sequence) error {
	switch {
	case len(s.IDs) == 0:
		return fmt.Errorf("model: no token")
	case len(s.IDs) > n.Positions:
		return fmt.Errorf("model: %d tokens, the context holds %d", len(s.IDs), n.Positions)
	case len(s.Read) == 0:
		return fmt.Errorf("model: no token is read")
	case s.Every && n.SeesAhead():
		return fmt.Errorf("model: %s has no reward after each token: its tokens see those behind them", n.Name)
	case s.Types != nil && (n.Types == 0 || len(s.Types) != len(s.IDs)):
		return fmt.Errorf("model: %d token types for %d tokens of a model with %d types",
			len(s.Types), len(s.IDs), n.Types)
	}
	for _, at := range s.Read {
		if at < 0 || int(at) >= len(s.IDs) {
			return fmt.Errorf("model: scored token %d of %d", at, len(s.IDs))
		}
	}
	if n.Head != nil {
		if want := n.Head.Reads(len(s.Read)); want != len(s.Read) {
			return fmt.Errorf("model: %d tokens are read, %s reads %d", len(s.Read), n.Name, want)
		}
		if want := s.Rows() * n.Head.Outputs(); s.Outputs != nil && len(s.Outputs) != want {
			panic(fmt.Sprintf("plan: room for %d outputs of %d", len(s.Outputs), want))
		}
	}
	for i, id := range s.IDs {
		if id < 0 || int(id) >= n.Vocab {
			return fmt.Errorf("model: token id %d at position %d, want 0 to %d", id, i, n.Vocab-1)
		}
	}
	for i, t := range s.Types {
		if t < 0 || int(t) >= n.Types {
			return fmt.Errorf("model: token type %d at position %d, want 0 to %d", t, i, n.Types-1)
		}
	}
	return nil
}
