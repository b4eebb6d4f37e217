package cpu

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Model is a reward model with its weights, immutable after [Load] and safe for
// concurrent use.
type Model struct {
	Net   *nn.Network
	DType kernel.DType

	weights   *weights
	head      *head // nil below a language model's output layer
	embed     *schedule
	schedules []*schedule // of the blocks
	each      *schedule   // nil where the head reads one token
	features  *schedule

	parameters int
	bytes      int
	digest     string
}

// newModel is the model of a network without memory for its weights.
func newModel(n *nn.Network, d kernel.DType) *Model {
	w := newWeights(n)
	m := &Model{Net: n, DType: d, weights: w, embed: compile(n.Embed, w), features: compile(n.Features, w)}
	if n.Head != nil {
		m.head = newHead(n.Head, w)
	}
	if n.Each != nil {
		m.each = compile(n.Each, w)
	}
	for _, b := range n.Blocks {
		m.schedules = append(m.schedules, compile(b, w))
	}
	return m
}

// Parameters returns the number of weights.
func (m *Model) Parameters() int { return m.parameters }

// Bytes returns the memory that the packed weights take.
func (m *Model) Bytes() int { return m.bytes }

// Digest names the weights as they were read, before the conversion to the
// model's number format: "sha256:" and 64 hexadecimal digits. Equal tensors
// under equal names give equal digests, whatever files they came from.
func (m *Model) Digest() string { return m.digest }

// Constants are the values that the head's readout reads beside outputs.
func (m *Model) Constants() [][]float32 { return m.head.values }

// Causal says whether tokens see only those before them.
func (m *Model) Causal() bool { return m.Net.Causal }

// positions appends those of neighbouring tokens behind so many others, of a
// sequence of a reach.
func (m *Model) positions(dst positions, ids []int32, behind int, reach int32) positions {
	next := m.Net.First + int32(behind)
	for _, id := range ids {
		if m.Net.First > 0 && id == m.Net.Uncounted {
			dst.add(int(m.Net.Uncounted), 1, reach)
			continue
		}
		dst.add(int(next), 1, reach)
		next++
	}
	return dst
}

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

// rows returns how many tokens of the sequence have outputs.
func (s *Sequence) rows() int {
	if s.Every {
		return len(s.IDs)
	}
	return len(s.Read)
}

// row returns the i-th of them.
func (s *Sequence) row(i int) int32 {
	if s.Every {
		return int32(i)
	}
	return s.Read[i]
}

// needed returns the ids up to the last that anything depends on.
func (s *Sequence) needed(n *nn.Network) []int32 {
	if s.Every || n.SeesAhead() {
		return s.IDs
	}
	return s.IDs[:slices.Max(s.Read)+1]
}

// Validate says whether the model can score the sequence.
func (m *Model) Validate(s Sequence) error {
	n := m.Net
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
		if want := s.rows() * n.Head.Outputs(); s.Outputs != nil && len(s.Outputs) != want {
			panic(fmt.Sprintf("cpu: room for %d outputs of %d", len(s.Outputs), want))
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
