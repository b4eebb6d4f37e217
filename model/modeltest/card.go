// Package modeltest is a device for tests of what stands above devices: a [Card]
// that computes on the CPU and otherwise behaves as a card does.
package modeltest

import (
	"sync"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
)

// Card is an engine whose models are of no other device, take its memory until they
// are closed, and cannot be scored while its worker is said to be away.
type Card struct {
	cpu model.CPU
	// Memory is what all models together may take; 0 is without a bound.
	Memory int
	// Longest bounds the tokens of a sequence; 0 does not.
	Longest int

	mu     sync.Mutex
	used   int
	loaded int
	away   error
}

// NewCard returns a card of one worker. Close it.
func NewCard() *Card { return &Card{cpu: model.NewEngine(1)} }

// loaded is a model on a card.
type loaded struct {
	model.Model
	card   *Card
	closed bool
}

// Load implements [model.Engine].
func (c *Card) Load(cfg *model.Config, src model.Source, o model.LoadOptions) (model.Model, error) {
	m, err := c.cpu.Load(cfg, src, o)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if free := c.Memory - c.used; c.Memory > 0 && m.Bytes() > free {
		return nil, &model.MemoryError{Device: c.Device(), Need: int64(m.Bytes()), Free: int64(free)}
	}
	c.used += m.Bytes()
	c.loaded++
	return &loaded{Model: m, card: c}, nil
}

// Score implements [model.Engine].
func (c *Card) Score(m model.Model, dst []float32, seqs []model.Sequence) error {
	on, ok := m.(*loaded)
	if !ok || on.card != c {
		return model.OtherDevice(c, m)
	}
	c.mu.Lock()
	away, closed := c.away, on.closed
	c.mu.Unlock()
	switch {
	case away != nil:
		return away
	case closed:
		panic("modeltest: a model that was closed is scored")
	}
	return c.cpu.Score(on.Model, dst, seqs)
}

// Longest implements [model.Model].
func (m *loaded) Longest() int {
	n := m.Model.Longest()
	if m.card.Longest > 0 {
		n = min(n, m.card.Longest)
	}
	return n
}

// Close implements [model.Model].
func (m *loaded) Close() {
	m.card.mu.Lock()
	defer m.card.mu.Unlock()
	if !m.closed {
		m.closed = true
		m.card.used -= m.Bytes()
		m.card.loaded--
	}
}

// Away makes every Score fail with an error; nil ends that.
func (c *Card) Away(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = err
}

// Loaded returns how many models are on the card.
func (c *Card) Loaded() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loaded
}

// DTypes implements [model.Engine].
func (*Card) DTypes() []kernel.DType { return []kernel.DType{kernel.BFloat16, kernel.Float32} }

// Workers implements [model.Engine].
func (c *Card) Workers() int { return c.cpu.Workers() }

// Device implements [model.Engine].
func (*Card) Device() string { return "cuda:0 Test Card" }

// Close implements [model.Engine].
func (c *Card) Close() { c.cpu.Close() }
