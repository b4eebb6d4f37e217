package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda/worker"
	"github.com/warmserve/warmserve/model/device"
	"github.com/warmserve/warmserve/server"
)

// deviceVariable names what computes where --device and a configuration do not.
const deviceVariable = "WARM_DEVICE"

// deviceFlag is the flag of what computes.
func deviceFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "device", "", "what computes, a `device`: "+device.Forms+
		" (default the variable WARM_DEVICE, else auto: the first card that can be used, else the CPU)")
}

// device opens what computes. why is as [device.Open] has it.
func (p *program) device(name string, o device.Options) (e model.Engine, why, err error) {
	name = cmp.Or(name, p.getenv(deviceVariable))
	open := p.devices
	if open == nil {
		open = device.Open
	}
	if err := device.Check(name); err != nil {
		return nil, nil, usageError{err}
	}
	return open(name, o)
}

// compute opens what computes for a command that ends. What nobody asked for by name it tells, as
// serve does: a card, or why it is none.
func (p *program) compute(name string, threads int) (model.Engine, error) {
	e, why, err := p.device(name, device.Options{Threads: threads, Log: func(card, event string) {
		fmt.Fprintf(p.stderr, "%s: %s\n", card, event)
	}})
	switch {
	case err != nil:
		return nil, err
	case !onCPU(e):
		fmt.Fprintln(p.stderr, "computing on", e.Device())
	case errors.Is(why, device.ErrNoCard): // as on most machines, so that it is said in few words
		fmt.Fprintln(p.stderr, "computing on the CPU: no card found (--device cuda says why)")
	case why != nil:
		fmt.Fprintln(p.stderr, "computing on the CPU:", why)
	}
	return e, nil
}

// onCPU reports whether an engine is that of the CPU.
func onCPU(e model.Engine) bool {
	_, ok := e.(model.CPU)
	return ok
}

// watched is an engine that says how its cards are doing.
type watched interface{ Stats() []worker.Stats }

// cardsOf returns what says how the cards of an engine are doing; nil where it has none.
func cardsOf(e model.Engine) func() []server.Card {
	w, ok := e.(watched)
	if !ok {
		return nil
	}
	return func() (out []server.Card) {
		for _, s := range w.Stats() {
			out = append(out, server.Card{
				Name: fmt.Sprintf("cuda:%d %s", s.Card, s.Name), Up: s.Up, Restarts: s.Restarts, Batches: s.Batches, Tokens: s.Tokens,
				Memory: float64(s.Total), Free: float64(s.Free), Clock: float64(s.SM) * 1e6, Power: s.Power, Temperature: float64(s.Temperature),
			})
		}
		return out
	}
}

// cardTokens is what a batch holds for each card, unless it is said: what one computes at once.
const cardTokens = 16384

// batchTokens is how many tokens a batch holds, 0 for the queue's own default.
func batchTokens(said int, e model.Engine) int {
	if w, ok := e.(watched); ok && said == 0 {
		return cardTokens * len(w.Stats())
	}
	return said
}

// dtypeOn is the number format of a device for a name, as words: "" is the device's own.
func dtypeOn(e model.Engine, name string) string { return cmp.Or(name, e.DTypes()[0].String()) }
