package cpu

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// embedding is a table: float32, or bfloat16 where the model's number format is
// a smaller one.
type embedding struct {
	*nn.Embedding
	data []float32 // (V, C)
	half []uint16  // (V, C) in bfloat16, instead of data
	grad []float32 // (V, C), while training

	fixed bool // it does not learn: no gradient of it is wanted
}

func (e *embedding) alloc(d kernel.DType) {
	if d == kernel.Float32 {
		e.data = make([]float32, e.V*e.C)
	} else {
		e.half = make([]uint16, e.V*e.C)
	}
}

func (e *embedding) memory() [][]byte { return [][]byte{kernel.Bytes(e.data), kernel.Bytes(e.half)} }

func (e *embedding) store(_, row int, values []float32) {
	if e.half != nil {
		kernel.RoundBF16(e.half[row*e.C:][:len(values)], values)
		return
	}
	copy(e.data[row*e.C:], values)
}

// read writes the C values of one id, in [0, V), to dst.
func (e *embedding) read(dst []float32, id int32) {
	at := int(id) * e.C
	if e.half != nil {
		kernel.WidenBF16(dst[:e.C], e.half[at:at+e.C])
		return
	}
	copy(dst, e.data[at:at+e.C])
}

// addTo adds the C values of one id to dst; tmp holds C values.
func (e *embedding) addTo(dst, tmp []float32, id int32) {
	e.read(tmp, id)
	kernel.AddTo(dst, tmp[:e.C])
}
