package nn

import "github.com/warmserve/warmserve/model/kernel"

// Trainable is a layer that can learn.
type Trainable interface {
	Module
	// AllocTraining gives the layer float32 weights and gradients, all zero,
	// beside the panels that its products read, in the number format d: float32
	// or bfloat16.
	AllocTraining(d kernel.DType)
	// Learned sets Data and Grad of the layer's own parameters, in the order of
	// Params, after AllocTraining.
	Learned(p []Param)
	// Refresh makes everything that is computed from the weights follow them.
	Refresh()
}

// Collector is a trainable layer whose gradients come in other tensors than its
// parameters': Collect adds them up after a backward pass.
type Collector interface{ Collect() }

// TrainingParams returns the parameters of all layers of the struct that v points
// to with data and gradient, whose products are in the number format d. It returns the names of a layer that cannot learn,
// if there is one.
func TrainingParams(v any, d kernel.DType) (params []Param, unable []string) {
	Modules(v, func(names []string, m Module) {
		t, ok := m.(Trainable)
		if !ok {
			unable = names
			return
		}
		p := t.Params(names)
		t.AllocTraining(d)
		t.Learned(p)
		params = append(params, p...)
	})
	return params, unable
}

func learned(p *Param, data, grad []float32) { p.Data, p.Grad = data, grad }
