// Package cudatest is the CUDA engine on a device of this process, for tests: of the interpreter, or
// of a card.
package cudatest

import (
	"bytes"
	"fmt"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Engine implements [model.Engine] on a device.
type Engine struct{ *cuda.Engine }

// NewEngine returns the engine of a device.
func NewEngine(d cuda.Device) *Engine { return &Engine{cuda.NewEngine(d)} }

// loaded is a model on the device.
type loaded struct {
	engine *Engine
	on     *cuda.Model
	net    *nn.Network
	dtype  kernel.DType
	image  *cuda.Image
}

// Load implements [model.Engine].
func (e *Engine) Load(c *model.Config, src model.Source, o model.LoadOptions) (model.Model, error) {
	n := c.Network()
	var b memory
	image, err := cuda.Pack(n, c.Tensors(src), o, func(bytes int) (cuda.Room, error) {
		b = make([]byte, bytes)
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	m, err := e.Engine.Load(n, o.DType, bytes.NewReader(b), len(b))
	if err != nil {
		return nil, err
	}
	return &loaded{e, m, n, o.DType, image}, nil
}

// memory is a file.
type memory []byte

func (m memory) WriteAt(b []byte, at int64) (int, error) { return copy(m[at:], b), nil }
func (m memory) Whole(int, int)                          {}

// Score implements [model.Engine].
func (e *Engine) Score(m model.Model, dst []float32, seqs []model.Sequence) error {
	on, ok := m.(*loaded)
	if !ok {
		return model.OtherDevice(e, m)
	}
	for i := range seqs {
		if err := on.on.Validate(&seqs[i]); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	outputs := make([]float32, cuda.OutputsOf(on.net, seqs))
	if err := e.Outputs(on.on, outputs, seqs); err != nil {
		return err
	}
	cuda.Rewards(on.net, on.image.Constants, dst, seqs, outputs)
	return nil
}

// DTypes implements [model.Engine].
func (e *Engine) DTypes() []kernel.DType { return cuda.DTypes(e.Limits().Capability) }

// Workers implements [model.Engine].
func (e *Engine) Workers() int { return 1 }

// Device implements [model.Engine].
func (e *Engine) Device() string { return e.Limits().Name }

// Close implements [model.Engine].
func (e *Engine) Close() {}

func (m *loaded) Network() *nn.Network     { return m.net }
func (m *loaded) DType() kernel.DType      { return m.dtype }
func (m *loaded) Weights() binding.Weights { return m.image.Weights }
func (m *loaded) Parameters() int          { return m.image.Weights.Parameters }
func (m *loaded) Bytes() int               { return m.on.Bytes() }
func (m *loaded) Longest() int             { return m.on.Longest() }
func (m *loaded) Digest() string           { return m.image.Weights.Digest }
func (m *loaded) Constants() [][]float32   { return m.image.Constants }
func (m *loaded) Close()                   { m.engine.Free(m.on) }
