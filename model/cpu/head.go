package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// head is an [nn.Head] with its weights.
type head struct {
	*nn.Head
	branches  []branch
	constants []*constant
	values    [][]float32 // of the constants
	outputs   int         // of a token
}

// branch is an [nn.Branch] with its weights.
type branch struct {
	layers *schedule // before the score head; nil where that reads the features
	score  *scoreHead
}

// newHead is a head without memory for its weights.
func newHead(h *nn.Head, w *weights) *head {
	out := &head{Head: h, outputs: h.Outputs()}
	for _, b := range h.Branches {
		c := branch{score: w.of[b.Score].(*scoreHead)}
		if b.Program != nil {
			c.layers = compileHead(b.Program, w)
		}
		out.branches = append(out.branches, c)
	}
	for _, c := range h.Constants {
		out.constants = append(out.constants, w.of[c].(*constant))
	}
	return out
}

// loaded takes the constants' values, once they are there.
func (h *head) loaded() {
	h.values = h.values[:0]
	for _, c := range h.constants {
		h.values = append(h.values, c.v)
	}
}

// read writes the outputs of m rows of features, up to kernel.RowBlock. A branch
// with layers of its own reads a copy: what a worker holds is written over.
//
// Shapes: dst is (m, outputs) without gaps; x is (m, C) with stride ldx.
func (h *head) read(w *worker, dst, x []float32, ldx, m int) {
	if h.branches[0].layers != nil || len(h.branches) > 1 {
		x = append(w.features[:0], x[:min(m*ldx, len(x))]...)
		w.features = x
	}
	at := 0
	for _, b := range h.branches {
		y, ldy := x, ldx
		if b.layers != nil {
			r := rowsOf{w: w, x: x, ldx: ldx, m: m, block: kernel.RowBlock}
			r.run(b.layers.rest)
			y, ldy = r.at(b.layers.out)
		}
		for i := range m {
			b.score.forward(dst[i*h.outputs+at:][:b.score.N], y[i*ldy:])
		}
		at += b.score.N
	}
}

// reward makes the reward of the outputs of a sequence's read tokens.
func (h *head) reward(outputs []float32) float32 {
	if h.Readout == nil {
		return outputs[0]
	}
	return h.Readout.Reward(outputs, h.values)
}

// scoreHead is the linear layer from a hidden state to outputs, in float32.
type scoreHead struct {
	*nn.ScoreHead
	w []float32 // (N, C)
	b []float32 // (N)

	dw, db []float32 // nil when the layer serves
}

func (h *scoreHead) alloc(kernel.DType) {
	h.w, h.b = make([]float32, h.N*h.C), make([]float32, h.N)
}

func (h *scoreHead) memory() [][]byte { return [][]byte{kernel.Bytes(h.w), kernel.Bytes(h.b)} }

func (h *scoreHead) store(i, row int, values []float32) {
	if i == 0 {
		copy(h.w[row*h.C:], values)
	} else {
		copy(h.b[row:], values)
	}
}

// forward writes the outputs of one hidden state.
func (h *scoreHead) forward(dst, x []float32) {
	for i := range dst {
		dst[i] = kernel.Dot(h.w[i*h.C:][:h.C], x[:h.C]) + h.b[i]
	}
}

// constant is an [nn.Constant] with its values.
type constant struct {
	*nn.Constant
	servesOnly
	v []float32
}

func (c *constant) alloc(kernel.DType) {
	n := 1
	for _, d := range c.Shape {
		n *= d
	}
	c.v = make([]float32, n)
}

func (c *constant) memory() [][]byte { return [][]byte{kernel.Bytes(c.v)} }

func (c *constant) store(_, row int, values []float32) {
	copy(c.v[row*(len(c.v)/c.Shape[0]):], values)
}

// servesOnly is the part of a layer that training needs, of layers without one:
// [NewTraining] refuses networks that have them.
type servesOnly struct{}

func (servesOnly) allocTraining(kernel.DType) { panic("cpu: a layer that does not learn") }
func (servesOnly) bind([]nn.Param)            { panic("cpu: a layer that does not learn") }
func (servesOnly) refresh()                   { panic("cpu: a layer that does not learn") }
