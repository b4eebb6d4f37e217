package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// norm is a layer that normalises rows.
type norm interface {
	layer
	Width() int
	// forward normalises m rows of x (stride ldx) into y (stride ldy). y may be x.
	forward(y []float32, ldy int, x []float32, ldx, m int)
	// backward computes dx of m rows of groups neighbouring vectors each (one, or the
	// heads of a token), and accumulates the gradients of the weights.
	//
	// Shapes: dx, dy and x are (m, groups·C) with strides lddx, lddy and ldx.
	// Aliasing: dx may be dy with the same stride. Writes dx, or with add
	// accumulates into it.
	backward(w *Work, dx []float32, lddx int, add bool, dy []float32, lddy int, x []float32, ldx, m,
		groups int)
}

type rmsNorm struct {
	*nn.RMSNorm
	w []float32 // (C) offset and weight together

	learned, dw []float32 // (C) the weight alone and its gradient, nil when the layer serves
}

func (n *rmsNorm) alloc(kernel.DType) { n.w = make([]float32, n.C) }

func (n *rmsNorm) memory() [][]byte { return [][]byte{kernel.Bytes(n.w)} }

func (n *rmsNorm) store(_, row int, values []float32) {
	for i, v := range values {
		n.w[row+i] = n.Offset + v
	}
}

func (n *rmsNorm) forward(y []float32, ldy int, x []float32, ldx, m int) {
	kernel.RMSNormRows(y, ldy, x, ldx, m, n.w, n.Eps)
}

type layerNorm struct {
	*nn.LayerNorm
	w, b   []float32 // (C)
	dw, db []float32 // (C), nil when the layer serves
}

func (n *layerNorm) alloc(kernel.DType) { n.w, n.b = make([]float32, n.C), make([]float32, n.C) }

func (n *layerNorm) memory() [][]byte { return [][]byte{kernel.Bytes(n.w), kernel.Bytes(n.b)} }

func (n *layerNorm) store(i, row int, values []float32) {
	if i == 0 {
		copy(n.w[row:], values)
	} else {
		copy(n.b[row:], values)
	}
}

func (n *layerNorm) forward(y []float32, ldy int, x []float32, ldx, m int) {
	kernel.LayerNormRows(y, ldy, x, ldx, m, n.w, n.b, n.Eps)
}
