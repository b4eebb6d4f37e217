package optim

import (
	"fmt"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/nn"
)

// EMA is the moving average of weights along one run: e ← d·e + (1−d)·w after
// each step. It begins as the weights are when it is made.
// Source: Polyak and Juditsky 1992; the baseline of WARM, section 4.
type EMA struct {
	Decay float64 // d, in [0, 1)

	params []nn.Param
	values [][]float32
	chunks []chunk
}

// NewEMA returns the moving average of some parameters.
func NewEMA(decay float64, params []nn.Param) (*EMA, error) {
	if !(decay >= 0 && decay < 1) {
		return nil, fmt.Errorf("ema: decay %v, want a number in [0, 1)", decay)
	}
	e := &EMA{Decay: decay, params: params, chunks: chunks(params)}
	for i := range params {
		e.values = append(e.values, append([]float32(nil), params[i].Data...))
	}
	return e, nil
}

// Update takes the weights in.
func (e *EMA) Update(w *cpu.Work) {
	rest := float32(1 - e.Decay)
	w.Each(len(e.chunks), 1, func(_ *cpu.Scratch, lo, hi int) {
		for _, k := range e.chunks[lo:hi] {
			avg, now := e.values[k.param][k.lo:k.hi], e.params[k.param].Data[k.lo:k.hi]
			for i, v := range now {
				avg[i] += rest * (v - avg[i])
			}
		}
	})
}

// State calls f for each tensor of the average, in the order of the parameters,
// under the parameter's own name. f may change the values.
func (e *EMA) State(f func(name string, shape []int, values []float32) error) error {
	for i := range e.params {
		if err := f(e.params[i].Name, e.params[i].Shape, e.values[i]); err != nil {
			return err
		}
	}
	return nil
}
