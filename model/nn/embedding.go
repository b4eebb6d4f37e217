package nn

import "github.com/warmserve/warmserve/model/kernel"

// Embedding is a table of V rows of C values: float32, or bfloat16 where the
// model's number format is a smaller one.
type Embedding struct {
	V, C int
	Data []float32 // (V, C)
	Low  []uint16  // (V, C), instead of Data
	grad []float32 // (V, C), while training
}

// NewEmbedding returns a table of v rows.
func NewEmbedding(v, c int) Embedding { return Embedding{V: v, C: c} }

// Alloc implements [Module].
func (e *Embedding) Alloc(d kernel.DType) {
	if d == kernel.Float32 {
		e.Data = make([]float32, e.V*e.C)
	} else {
		e.Low = make([]uint16, e.V*e.C)
	}
}

// Bytes implements [Module].
func (e *Embedding) Bytes() int { return 4*len(e.Data) + 2*len(e.Low) }

// Params names the table.
func (e *Embedding) Params(names []string) []Param {
	return []Param{{
		Name: names[0] + ".weight", Shape: []int{e.V, e.C},
		Store: func(row int, values []float32) {
			if e.Low != nil {
				kernel.RoundBF16(e.Low[row*e.C:][:len(values)], values)
				return
			}
			copy(e.Data[row*e.C:], values)
		},
	}}
}

// Row returns the values of one id of a float32 table, in [0, V).
func (e *Embedding) Row(id int32) []float32 { return e.Data[int(id)*e.C:][:e.C] }

// Read writes the C values of one id, in [0, V), to dst.
func (e *Embedding) Read(dst []float32, id int32) {
	at := int(id) * e.C
	if e.Low != nil {
		kernel.WidenBF16(dst[:e.C], e.Low[at:at+e.C])
		return
	}
	copy(dst, e.Data[at:at+e.C])
}

// AddTo adds the C values of one id to dst; tmp holds C values.
func (e *Embedding) AddTo(dst, tmp []float32, id int32) {
	e.Read(tmp, id)
	kernel.AddTo(dst, tmp[:e.C])
}
