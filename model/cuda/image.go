package cuda

import (
	"io"

	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/nn"
)

// Image is what [Pack] made beside the weights themselves.
type Image struct {
	Weights   binding.Weights
	Constants [][]float32 // what the head's readout reads beside outputs
}

// Room is where an image is written.
type Room interface {
	io.WriterAt
	// Whole says that bytes of the image from one on are as they will be, all of the image once or,
	// where that was said too early, again. Several goroutines call it at once.
	Whole(at, bytes int)
}

// Pack reads the weights of a network from a source, whose tensors must be the model's own, and packs
// them for a card at once. room gives somewhere to write so many bytes, which are zero until then.
func Pack(n *nn.Network, src binding.Source, o binding.Options, room func(bytes int) (Room, error)) (*Image, error) {
	l, err := newLayout(n, o.DType)
	if err != nil {
		return nil, err
	}
	if err := binding.Check(n, l.params, src); err != nil {
		return nil, err
	}
	if err := l.readFolds(src, n.SourceName); err != nil {
		return nil, err
	}
	to, err := room(l.size)
	if err != nil {
		return nil, err
	}
	image := newSink(l, to)
	caller := o
	o.Interrupt = func() error {
		if err := image.failed(); err != nil {
			return err
		}
		return caller.Interrupted()
	}
	w, err := binding.Read(n, l.params, src, o, 1, func(param, row int, values []float32) { l.stores[param](image, row, values) })
	if err != nil {
		return nil, err
	}
	for _, f := range l.folds {
		f(image)
	}
	if err := image.end(); err != nil {
		return nil, err
	}
	return &Image{Weights: w, Constants: l.values}, nil
}
