package worker

import (
	"fmt"
	"io"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/driver"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/plan"
)

// engine is the backend of a device.
type engine struct {
	*cuda.Engine
	device cuda.Device
	said   hello
	stats  func() (driver.Stats, error)
}

// openCard opens a real card.
func openCard(ordinal int) (backend, error) {
	c, err := driver.Open(ordinal)
	if err != nil {
		return nil, err
	}
	if err := suits(c.Limits()); err != nil {
		return nil, err
	}
	n, err := driver.Count()
	if err != nil {
		return nil, err
	}
	e := newEngine(c)
	e.said.Driver, e.said.Cards, e.stats = c.Driver(), n, c.Stats
	return e, nil
}

// leastCapability is that of the oldest cards that the kernels are made for.
const leastCapability = 80

// suits says whether the kernels run on a card.
func suits(l cuda.Limits) error {
	if l.Capability < leastCapability {
		return fmt.Errorf("%s has compute capability %d.%d, kernels need %d.%d", l.Name,
			l.Capability/10, l.Capability%10, leastCapability/10, leastCapability%10)
	}
	return nil
}

// newEngine is the backend of any device, whose driver tells nothing.
func newEngine(d cuda.Device) *engine {
	l := d.Limits()
	return &engine{
		Engine: cuda.NewEngine(d), device: d,
		said:  hello{Name: l.Name, Capability: l.Capability, SMs: l.SMs, Memory: int64(l.Memory), Cards: 1},
		stats: func() (driver.Stats, error) { return driver.Stats{}, nil },
	}
}

func (e *engine) hello() hello { return e.said }

func (e *engine) Stats() (driver.Stats, error) { return e.stats() }

func (e *engine) load(c *model.Config, d kernel.DType, weights io.ReaderAt, bytes int) (resident, error) {
	n := c.Network()
	m, err := e.Begin(n, d, bytes)
	if err != nil {
		return nil, err
	}
	return &onEngine{e.Engine, m, weights, n.Head.Outputs()}, nil
}

// onEngine is a model of an engine.
type onEngine struct {
	engine  *cuda.Engine
	model   *cuda.Model
	weights io.ReaderAt
	n       int
}

func (m *onEngine) bytes() int64 { return int64(m.model.Bytes()) }
func (m *onEngine) longest() int { return m.model.Longest() }
func (m *onEngine) outputs() int { return m.n }
func (m *onEngine) free()        { m.engine.Free(m.model) }

func (m *onEngine) fill(at, bytes int) error { return m.engine.Fill(m.model, m.weights, at, bytes) }
func (m *onEngine) finish() error            { return m.engine.Finish(m.model) }

func (m *onEngine) score(seqs []plan.Sequence, outputs []float32) error {
	for i := range seqs {
		if err := m.model.Validate(&seqs[i]); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	return m.engine.Outputs(m.model, outputs, seqs)
}
