package nn

import "github.com/warmserve/warmserve/model/kernel"

// ScoreHead is the linear layer from a hidden state to one reward. It stays in
// float32 whatever the number format of the model.
type ScoreHead struct {
	C    int
	bias bool
	W    []float32 // (C)
	B    [1]float32

	dw []float32 // (C), nil when the layer serves
	db [1]float32
}

// NewScoreHead returns a head over c values.
func NewScoreHead(c int, bias bool) ScoreHead { return ScoreHead{C: c, bias: bias} }

// Alloc implements [Module].
func (h *ScoreHead) Alloc(kernel.DType) { h.W = make([]float32, h.C) }

// Bytes implements [Module].
func (h *ScoreHead) Bytes() int { return 4 * (len(h.W) + 1) }

// Params names the weight, of shape [1, C], and the bias.
func (h *ScoreHead) Params(names []string) []Param {
	p := []Param{{
		Name: names[0] + ".weight", Shape: []int{1, h.C},
		Store: func(_ int, values []float32) { copy(h.W, values) },
	}}
	if h.bias {
		p = append(p, vector(names[0]+".bias", 1, func() []float32 { return h.B[:] }))
	}
	return p
}

// Score returns the reward of one hidden state.
func (h *ScoreHead) Score(x []float32) float32 { return kernel.Dot(h.W, x) + h.B[0] }
