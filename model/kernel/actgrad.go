package kernel

import "fmt"

// ActivateBackward computes dx = dy · act′(x) for the activations GELU, GELUTanh,
// ReLU and Tanh; with Store dx = dy.
//
// Shapes: all are (rows, cols) with strides lddx, lddy and ldx.
// Aliasing: dx may be dy or x with the same stride. Writes dx.
// Error: below 1e-6 of |dy| (measured over [-12, 12]).
func ActivateBackward(dx []float32, lddx int, dy []float32, lddy int, x []float32, ldx, rows,
	cols int, e Epilogue) {
	if e.Gated() {
		panic(fmt.Sprintf("kernel: ActivateBackward: epilogue %d is not an activation", e))
	}
	slope(dx, lddx, x, ldx, dy, lddy, rows, cols, e)
}

// GateBackward computes the gradients of y = act(gate)·up:
// dgate = dy·up·act′(gate) and dup = dy·act(gate).
//
// Shapes: dgate and dup are (rows, cols) with stride ldd, dy with stride lddy,
// gate and up with stride ldg. Aliasing: no output may overlap an input.
// Writes dgate and dup.
// Error: below 1e-6 of |dy|, times |up| for dgate and max(1, |gate|) for dup
// (measured over [-12, 12]).
func GateBackward(dgate, dup []float32, ldd int, dy []float32, lddy int, gate, up []float32, ldg,
	rows, cols int, e Epilogue) {
	if rows == 0 || cols == 0 {
		return
	}
	checkRows("GateBackward: dgate", len(dgate), ldd, rows, cols)
	checkRows("GateBackward: dy", len(dy), lddy, rows, cols)
	checkRows("GateBackward: up", len(up), ldg, rows, cols)
	checkRows("GateBackward: dup", len(dup), ldd, rows, cols)
	checkRows("GateBackward: gate", len(gate), ldg, rows, cols)
	if e == SiLUMul {
		for r, m := 0, rowsPerCall(2*cols); r < rows; r += m {
			siluBackward(dgate[r*ldd:], dup[r*ldd:], ldd, dy[r*lddy:], lddy, gate[r*ldg:], up[r*ldg:],
				ldg, min(m, rows-r), cols)
		}
		return
	}
	Gate(dup, ldd, gate, ldg, dy, lddy, rows, cols, e)
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		times(dgate[r*ldd:], ldd, dy[r*lddy:], lddy, up[r*ldg:], ldg, min(m, rows-r), cols)
	}
	slope(dgate, ldd, gate, ldg, dgate, ldd, rows, cols, e)
}

// slope computes dst = act′(x) · dy, the activation being that of a gated
// epilogue too. dst may be dy with the same stride.
func slope(dst []float32, ldd int, x []float32, ldx int, dy []float32, ldy, rows, cols int, e Epilogue) {
	if rows == 0 || cols == 0 {
		return
	}
	if e == GELUMul {
		e = GELU
	}
	checkRows("slope: dst", len(dst), ldd, rows, cols)
	checkRows("slope: x", len(x), ldx, rows, cols)
	checkRows("slope: dy", len(dy), ldy, rows, cols)
	for r, m := 0, rowsPerCall(cols); r < rows; r += m {
		n := min(m, rows-r)
		to, in, d := dst[r*ldd:], x[r*ldx:], dy[r*ldy:]
		switch e {
		case Store:
			eachPair(to, ldd, in, ldx, d, ldy, n, cols, func(_, dy float32) float32 { return dy })
		case ReLU:
			reluSlope(to, ldd, in, ldx, d, ldy, n, cols)
		case GELU:
			geluSlope(to, ldd, in, ldx, d, ldy, n, cols)
		case SiLUMul:
			siluSlope(to, ldd, in, ldx, d, ldy, n, cols)
		case Tanh:
			tanhSlope(to, ldd, in, ldx, d, ldy, n, cols)
		default:
			geluTanhSlope(to, ldd, in, ldx, d, ldy, n, cols)
		}
	}
}
