package cpu

import (
	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// Model is a reward model with its weights, immutable after [Load] and safe for
// concurrent use.
type Model struct {
	Net *nn.Network

	dtype     kernel.DType
	weights   *weights
	head      *head // nil below a language model's output layer
	embed     *schedule
	schedules []*schedule // of the blocks
	each      *schedule   // nil where the head reads one token
	features  *schedule

	parameters int
	bytes      int
	digest     string
	times      []binding.LoadTime
}

// newModel is the model of a network without memory for its weights.
func newModel(n *nn.Network, d kernel.DType) *Model {
	w := newWeights(n)
	m := &Model{Net: n, dtype: d, weights: w, embed: compile(n.Embed, w), features: compile(n.Features, w)}
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

// Network returns what the model computes.
func (m *Model) Network() *nn.Network { return m.Net }

// DType returns the number format of the weights.
func (m *Model) DType() kernel.DType { return m.dtype }

// Parameters returns the number of weights.
func (m *Model) Parameters() int { return m.parameters }

// Bytes returns the memory that the packed weights take.
func (m *Model) Bytes() int { return m.bytes }

// Longest returns how many tokens a sequence has at most.
func (m *Model) Longest() int { return m.Net.Positions }

// Digest names the weights as they were read, before the conversion to the
// model's number format: "sha256:" and 64 hexadecimal digits. Equal tensors
// under equal names give equal digests, whatever files they came from.
func (m *Model) Digest() string { return m.digest }

// Times returns what each worker of the load spent on averaging or reading, on hashing and on
// packing.
func (m *Model) Times() []binding.LoadTime { return m.times }

// Constants are the values that the head's readout reads beside outputs.
func (m *Model) Constants() [][]float32 { return m.head.values }

// Close does nothing: the collector takes a model that nobody holds any more.
func (m *Model) Close() {}

// Causal says whether tokens see only those before them.
func (m *Model) Causal() bool { return m.Net.Causal }

// Sequence is one input: token ids, and the tokens that the head reads.
type Sequence = plan.Sequence

// Validate says whether the model can score the sequence.
func (m *Model) Validate(s Sequence) error { return plan.Validate(m.Net, &s) }

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
