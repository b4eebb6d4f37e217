package reward

import (
	"github.com/warmserve/warmserve/model"
)

// Score encodes and scores inputs with one model of a deployment: the batch path
// of commands, where there is no queue. The rewards are in the inputs' order.
func (d *Deployment) Score(e model.Engine, m model.Model, in []Encoded) ([]float32, error) {
	seqs := make([]model.Sequence, len(in))
	for i, x := range in {
		seqs[i] = x.Sequence
	}
	dst := make([]float32, len(in))
	return dst, e.Score(m, dst, seqs)
}
