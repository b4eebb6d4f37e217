package rl

import (
	"github.com/warmserve/warmserve/trainer/state"
)

// saveAdapter writes the low-rank change, if that is what learned.
func (r *run) saveAdapter() error {
	c := r.config.LoRA
	if c == nil {
		return nil
	}
	p := r.writer.policy
	contents := p.Contents
	contents.Source = p.Source
	base, err := state.AdapterBase(r.config.Out, r.config.Policy, contents, r.config.Store)
	if err != nil {
		return err
	}
	a := state.Adapter{Task: "CAUSAL_LM", Base: base, Rank: c.Rank, Alpha: c.Alpha, Targets: c.Targets,
		Params: r.lora.Params()}
	return a.Save(r.config.Out)
}
