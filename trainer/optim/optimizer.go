package optim

import (
	"fmt"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/nn"
)

// Optimizer changes weights by their gradients.
type Optimizer interface {
	// Step makes one step with a learning rate.
	Step(w *cpu.Work, lr float64)
	// State calls f for each tensor of the state, in a fixed order. f may change
	// the values: that is how a state is put back, before Resume.
	State(f func(name string, shape []int, values []float32) error) error
	// Resume goes on after a number of steps.
	Resume(steps int)
}

// Kind names an optimiser.
type Kind string

const (
	KindAdamW     Kind = "adamw"
	KindAdafactor Kind = "adafactor"
)

// ParseKind reads the name of an optimiser; "" is AdamW.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case "":
		return KindAdamW, nil
	case KindAdamW, KindAdafactor:
		return k, nil
	}
	return "", fmt.Errorf("optimizer %q: want adamw or adafactor", s)
}

// New returns an optimiser of some parameters. Adafactor takes of the settings
// the weight decay alone.
func New(k Kind, c AdamWConfig, params []nn.Param) Optimizer {
	if k == KindAdafactor {
		a := DefaultAdafactor()
		a.Decay = c.Decay
		return NewAdafactor(a, params)
	}
	return NewAdamW(c, params)
}

// Resume implements [Optimizer].
func (o *AdamW) Resume(steps int) { o.Steps = steps }

// Resume implements [Optimizer].
func (o *Adafactor) Resume(steps int) { o.Steps = steps }
