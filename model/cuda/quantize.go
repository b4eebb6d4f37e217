package cuda

import (
	"github.com/warmserve/warmserve/model/cuda/kernel"
	numbers "github.com/warmserve/warmserve/model/kernel"
)

// leastE4M3 is the capability of the first cards whose tensor cores multiply e4m3.
const leastE4M3 = 89

// DTypes are the number formats that cards of a capability compute in, the default first.
func DTypes(capability int) []numbers.DType {
	d := []numbers.DType{numbers.BFloat16, numbers.Float32}
	if capability >= leastE4M3 {
		d = append(d, numbers.FP8)
	}
	return d
}

// numbers are what names of kernels of a matrix's products say of its numbers, behind the epilogue.
func (w matrix) numbers() string {
	if w.e4m3 {
		return "_e4m3"
	}
	return ""
}

// quantize makes e4m3 of rows, each with its own scale. What it returns has one user.
func (l *lowering) quantize(x place, rows part) place {
	bytes := kernel.E4M3Row(x.width)
	y := place{slot: l.slot(bytes, x.slot.rows), width: x.width, kind: x.kind, e4m3: true}
	k := l.kernel("quantize_bf16")
	a := kernel.Quantize{Y: l.ptr(y), X: l.ptr(x), At: rows.at, From: rows.from, N: int32(x.width),
		K: int32(kernel.E4M3Width(x.width)), LDY: int32(bytes), LDX: l.ld(x)}
	l.steps = append(l.steps, func(c *class) (launch, error) {
		a := a
		a.Header = c.header()
		return launch{k, c.grid(k, c.count(x.kind)), kernel.Bytes(a)}, nil
	})
	return y
}
