package nn

// Head turns what a network makes of a token, its features, into outputs, and the
// outputs of a sequence's read tokens into a reward.
type Head struct {
	// Layers are the head's layers under the checkpoint's names, in the order of
	// their parameters.
	Layers []Named
	// Branches read the features side by side; their outputs stand one behind the
	// other.
	Branches []Branch
	// Constants are what Readout reads beside the outputs, in that order.
	Constants []*Constant
	// Readout makes the reward of the outputs; nil where that is the only output
	// of the only token that is read.
	Readout Readout
}

// Named is a layer with the names of its tensors, as [Module.Params] takes them.
type Named struct {
	Names []string
	Layer Module
}

// Branch is a score head with the layers before it.
type Branch struct {
	Program *Program // from the features to what Score reads; nil where those are it
	Score   *ScoreHead
}

// Readout makes a reward of outputs. It is arithmetic on few numbers, which runs
// where the outputs are read and not on a device.
type Readout interface {
	// Reward returns the reward of the read tokens' outputs, which lie one token
	// behind the other in the order in which the sequence lists them. Constants
	// are the values of the head's, in its order. It may be called by several
	// goroutines at once and keeps nothing.
	Reward(outputs []float32, constants [][]float32) float32
	// Reads returns how many tokens a sequence must list, 0 for one or more.
	Reads() int
}

// Reads returns how many tokens are read of a sequence that lists so many.
func (h *Head) Reads(listed int) int {
	if h.Readout == nil {
		return 1
	}
	if n := h.Readout.Reads(); n > 0 {
		return n
	}
	return listed
}

// Outputs returns how many outputs a token has.
func (h *Head) Outputs() int {
	n := 0
	for i := range h.Branches {
		n += h.Branches[i].Score.N
	}
	return n
}

// ScoreHead is the linear layer from C values to N outputs. It is float32 whatever
// the number format of the model.
type ScoreHead struct {
	C, N int
	Bias bool
	// Rows are the rows of the checkpoint's tensor that the outputs are, such as
	// those of some tokens in a language model's output layer; nil for all.
	Rows []int
}

// NewScoreHead returns a head over c values.
func NewScoreHead(c, n int, bias bool) ScoreHead { return ScoreHead{C: c, N: n, Bias: bias} }

// Params implements [Module]: the weight, of shape [N, C], and the bias.
func (h *ScoreHead) Params(names []string) []Param {
	wantNames("ScoreHead", names, 1)
	p := []Param{{Name: names[0] + ".weight", Shape: []int{h.N, h.C}, Rows: h.Rows}}
	if h.Bias {
		p = append(p, Param{Name: names[0] + ".bias", Shape: []int{h.N}, Rows: h.Rows})
	}
	return p
}

// Constant is a small tensor of a readout, in float32.
type Constant struct{ Shape []int }

// Params implements [Module]: the tensor under its whole name.
func (c *Constant) Params(names []string) []Param {
	wantNames("Constant", names, 1)
	return []Param{{Name: names[0], Shape: c.Shape}}
}
