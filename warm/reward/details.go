package reward

import (
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model"
)

// Want is what is wanted of an answer beside its reward.
type Want struct {
	Attributes bool // what the reward is made of, where the head has several outputs
	Steps      bool // the reward at the mark of each step, of models that read steps
	Trajectory bool // the reward after each token
}

// Details are what was wanted beside a reward; nil is what was not.
type Details struct {
	Attributes []float32 // under the names of [model.Config.AttributeNames]
	Steps      []float32
	// Trajectory has the reward as it would be if the text ended after each token.
	// Before the token that a gate reads there is none: nil.
	Trajectory []*float32
}

// Offers says what of it the deployment's models do not have.
func (d *Deployment) Offers(w Want) error {
	c := d.config
	switch {
	case w != (Want{}) && d.unlike != "":
		return fmt.Errorf("the heads of %s and %s have different outputs, and nothing but rewards in common",
			d.members[0].Name, d.unlike)
	case w.Attributes && len(c.AttributeNames()) == 0:
		return fmt.Errorf("attributes: the reward of %s is made of one output", c.Architecture)
	case w.Steps && !c.Stepwise():
		return fmt.Errorf("steps: %s is read at one token, and not at the mark of each step", c.Architecture)
	case w.Trajectory && (!d.causal || c.Averages()):
		return fmt.Errorf("trajectory: %s reads all tokens at once, so that there is no reward after each", c.Architecture)
	case w.Trajectory && d.pooled():
		return errors.New("trajectory: the engine that computes the model gives outputs of the scored token alone")
	}
	return nil
}

// pooled reports whether a model's device gives no outputs but those of read tokens.
func (d *Deployment) pooled() bool {
	return slices.ContainsFunc(d.loaded(), func(m model.Model) bool {
		_, ok := m.(model.Pooled)
		return ok
	})
}

// Ask makes room in x for what is wanted, which the deployment offers, so that
// scoring it with one of its models leaves that there: see [Deployment.Details]. An
// x is scored by one model at a time.
func (d *Deployment) Ask(x *Encoded, w Want) {
	if w == (Want{}) {
		return
	}
	x.Every = w.Trajectory
	rows := len(x.Read)
	if x.Every {
		rows = len(x.IDs)
	}
	x.Outputs = make([]float32, rows*d.config.Outputs())
}

// Details returns what [Deployment.Ask] made room for, of x as it was scored by m.
func (d *Deployment) Details(m model.Model, x *Encoded, w Want) Details {
	var out Details
	n, read := d.config.Outputs(), x.Outputs
	if x.Every { // of which those that the reward is made of are picked
		read = nil
		for _, at := range x.Read {
			read = append(read, x.Outputs[int(at)*n:][:n]...)
		}
	}
	if w.Attributes {
		out.Attributes = model.Attributes(m, read)
	}
	if w.Steps {
		out.Steps = model.Rewards(m, read, 0)
	}
	if w.Trajectory {
		rewards := model.Rewards(m, x.Outputs, int(x.Read[len(x.Read)-1]))
		out.Trajectory = make([]*float32, len(rewards))
		for i, v := range rewards {
			if v-v == 0 {
				out.Trajectory[i] = &rewards[i]
			}
		}
	}
	return out
}
