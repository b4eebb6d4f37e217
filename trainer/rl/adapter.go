package rl

import (
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/state"
)

// beside are the directories that a run writes besides Out: with LoRA the change alone.
func (c *Config) beside() []string {
	if c.LoRA == nil {
		return nil
	}
	return []string{state.AdapterDir(c.Out)}
}

// learning returns what learns: all weights, or the low-rank change.
func (r *run) learning() []nn.Param {
	if r.lora != nil {
		return r.lora.Params()
	}
	return r.m.Params()
}

// refresh makes the policy follow what learns.
func (r *run) refresh() {
	if r.lora != nil {
		r.lora.Refresh()
		return
	}
	r.m.Refresh()
}

func (r *run) zeroGrads() {
	if r.lora != nil {
		r.lora.ZeroGrads()
		return
	}
	r.m.ZeroGrads()
}

// saveAdapter writes the low-rank change, if that is what learned.
func (r *run) saveAdapter() error {
	c := r.config.LoRA
	if c == nil {
		return nil
	}
	p := r.writer.policy
	contents := p.Contents
	contents.Source = p.Source
	base, err := state.AdapterBase(r.config.Out, r.config.Policy, contents)
	if err != nil {
		return err
	}
	a := state.Adapter{Task: "CAUSAL_LM", Base: base, Rank: c.Rank, Alpha: c.Alpha, Targets: c.Targets,
		Params: r.lora.Params()}
	return a.Save(r.config.Out)
}
