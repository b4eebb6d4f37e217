//go:build noasm || !amd64

package kernel

import "math"

func bf16Row(dst []uint32, x []float32) { bf16RowGeneric(dst, x) }

func maxAbs(x []float32) float32 { return math.Float32frombits(maxAbsGeneric(x)) }

func quantRow(dst []uint32, x []float32, inv float32, zero int32) (sum int32) {
	return quantRowGeneric(quads(dst), x, inv, zero)
}

func packHalf(dst []uint32, col int, src []uint32, lds, rows, k int) {
	packHalfGeneric(dst, col, src, lds, rows, k)
}

// No level of this build wants activations wide, see wideSteps.

func quantInt16([]uint32, []float32, float32) { panic("kernel: no assembly in this build") }

func bf16Floats([]uint32, []float32) { panic("kernel: no assembly in this build") }

func pairRows(dst []uint32, src []float32, lds, pairs, cols int) {
	pairRowsGeneric(dst, src, lds, pairs, cols)
}
