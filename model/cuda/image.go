package cuda

import (
	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/nn"
)

// Image is a model's weights as a card reads them, in host memory.
type Image struct {
	Bytes     []byte
	Weights   binding.Weights
	Constants [][]float32 // what the head's readout reads beside outputs
}

// Pack reads the weights of a network from a source, whose tensors must be the model's own, and packs
// them for a card at once. room gives memory, all zero, for so many bytes.
func Pack(n *nn.Network, src binding.Source, o binding.Options, room func(bytes int) ([]byte, error)) (*Image, error) {
	l, err := newLayout(n, o.DType)
	if err != nil {
		return nil, err
	}
	if err := binding.Check(n, l.params, src); err != nil {
		return nil, err
	}
	b, err := room(l.size)
	if err != nil {
		return nil, err
	}
	w, err := binding.Read(n, l.params, src, o, func(param, row int, values []float32) {
		l.stores[param](b, row, values)
	})
	if err != nil {
		return nil, err
	}
	for _, f := range l.folds {
		f(b)
	}
	return &Image{Bytes: b, Weights: w, Constants: l.values}, nil
}
