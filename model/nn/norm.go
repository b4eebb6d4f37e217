package nn

import "github.com/warmserve/warmserve/model/kernel"

// RMSNorm is x / √(mean(x²) + eps) · w. Source: Zhang and Sennrich 2019;
// transformers LlamaRMSNorm.
type RMSNorm struct {
	C   int
	Eps float32
	W   []float32 // (C)

	dw []float32 // (C), nil when the layer serves
}

// NewRMSNorm returns a norm over c values.
func NewRMSNorm(c int, eps float64) RMSNorm { return RMSNorm{C: c, Eps: float32(eps)} }

// Alloc implements [Module].
func (n *RMSNorm) Alloc(kernel.DType) { n.W = make([]float32, n.C) }

// Bytes implements [Module].
func (n *RMSNorm) Bytes() int { return 4 * len(n.W) }

// Params names the weight.
func (n *RMSNorm) Params(names []string) []Param {
	return []Param{vector(names[0]+".weight", n.C, func() []float32 { return n.W })}
}

// Width returns C.
func (n *RMSNorm) Width() int { return n.C }

// Forward normalises m rows of x (stride ldx) into y (stride ldy). y may be x.
func (n *RMSNorm) Forward(y []float32, ldy int, x []float32, ldx, m int) {
	kernel.RMSNormRows(y, ldy, x, ldx, m, n.W, n.Eps)
}

// LayerNorm is (x − mean) / √(var + eps) · w + b. Source: Ba et al. 2016.
type LayerNorm struct {
	C    int
	Eps  float32
	W, B []float32 // (C)

	dw, db []float32 // (C), nil when the layer serves
}

// NewLayerNorm returns a norm over c values.
func NewLayerNorm(c int, eps float64) LayerNorm { return LayerNorm{C: c, Eps: float32(eps)} }

// Alloc implements [Module].
func (n *LayerNorm) Alloc(kernel.DType) { n.W, n.B = make([]float32, n.C), make([]float32, n.C) }

// Bytes implements [Module].
func (n *LayerNorm) Bytes() int { return 4 * (len(n.W) + len(n.B)) }

// Params names the weight and the bias.
func (n *LayerNorm) Params(names []string) []Param {
	return []Param{
		vector(names[0]+".weight", n.C, func() []float32 { return n.W }),
		vector(names[0]+".bias", n.C, func() []float32 { return n.B }),
	}
}

// Width returns C.
func (n *LayerNorm) Width() int { return n.C }

// Forward normalises m rows of x (stride ldx) into y (stride ldy). y may be x.
func (n *LayerNorm) Forward(y []float32, ldy int, x []float32, ldx, m int) {
	kernel.LayerNormRows(y, ldy, x, ldx, m, n.W, n.B, n.Eps)
}
