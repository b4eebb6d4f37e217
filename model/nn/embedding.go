package nn

import "github.com/warmserve/warmserve/model/kernel"

// Embedding is a table of V rows of C values.
type Embedding struct {
	V, C int
	Data []float32 // (V, C)

	grad []float32 // (V, C), while training
}

// NewEmbedding returns a table of v rows.
func NewEmbedding(v, c int) Embedding { return Embedding{V: v, C: c} }

// Alloc implements [Module].
func (e *Embedding) Alloc(kernel.DType) { e.Data = make([]float32, e.V*e.C) }

// Bytes implements [Module].
func (e *Embedding) Bytes() int { return 4 * len(e.Data) }

// Params names the table.
func (e *Embedding) Params(names []string) []Param {
	return []Param{{
		Name: names[0] + ".weight", Shape: []int{e.V, e.C},
		Store: func(row int, values []float32) { copy(e.Data[row*e.C:], values) },
	}}
}

// Row returns the values of one id, in [0, V).
func (e *Embedding) Row(id int32) []float32 { return e.Data[int(id)*e.C:][:e.C] }
