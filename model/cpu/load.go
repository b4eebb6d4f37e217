package cpu

import (
	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// storeRows is how many rows of a weight are packed at a time.
const storeRows = 16

// Load builds the model of a configuration from a source's tensors. The two
// must agree entirely: the error is a *[binding.Error] that names every tensor that
// is missing, unknown or mis-shaped, before any memory is taken. Weights are
// read in pieces and packed at once; there is never a second copy of the model.
func Load(n *nn.Network, src binding.Source, o binding.Options) (*Model, error) {
	m := newModel(n, o.DType)
	if err := binding.Check(n, m.weights.params, src); err != nil {
		return nil, err
	}
	for _, l := range m.weights.layers {
		if err := o.Interrupted(); err != nil {
			return nil, err
		}
		l.alloc(o.DType)
	}
	for _, s := range m.schedules {
		s.attention.bf16 = o.DType != kernel.Float32
	}
	owners := m.weights.owners
	if o.Spent == nil {
		o.Spent = new(binding.Spent)
	}
	w, err := binding.Read(n, m.weights.params, src, o, storeRows, func(param, row int, values []float32) {
		owners[param].layer.store(owners[param].i, row, values)
	})
	if err != nil {
		return nil, err
	}
	m.parameters, m.digest, m.times = w.Parameters, w.Digest, o.Spent.Times(o.Workers)
	if m.head != nil {
		m.head.loaded()
	}
	m.weights.project()
	m.bytes = m.weights.projected()
	for _, part := range m.weights.memory() {
		m.bytes += len(part)
	}
	return m, nil
}
