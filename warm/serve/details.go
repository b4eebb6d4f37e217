package serve

import (
	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/warm/reward"
)

// WantOf reads the words of a request.
func WantOf(words []string) (w reward.Want) {
	for _, s := range words {
		switch s {
		case api.ReturnAttributes:
			w.Attributes = true
		case api.ReturnSteps:
			w.Steps = true
		case api.ReturnTrajectory:
			w.Trajectory = true
		}
	}
	return w
}

// What details take, in bytes: a reward and its pointer, as numbers and in the reply;
// an attribute, with its name.
const (
	detailCost    = 32
	attributeCost = 128
)

// AskCost implements live.Describer.
func (m *Model) AskCost(p *live.Prepared, want []string) (int64, error) {
	w := WantOf(want)
	if err := m.Offers(w); err != nil {
		return 0, api.Errorf(api.CodeInvalidValue, "return", "%v", err)
	}
	rows := int64(len(p.Sequence.Read))
	if w.Trajectory {
		rows = int64(len(p.Sequence.IDs))
	}
	return rows*int64(4*m.Config().Outputs()+detailCost) +
		int64(attributeCost*len(m.Config().AttributeNames())), nil
}

// Ask implements live.Describer.
func (m *Model) Ask(p *live.Prepared, want []string) {
	x := reward.Encoded{Sequence: model.Sequence(p.Sequence)}
	m.Deployment.Ask(&x, WantOf(want))
	p.Sequence = batch.Sequence(x.Sequence)
}

// Details implements live.Describer.
func (m *Model) Details(p *live.Prepared, lane string, want []string) (out api.Details) {
	of := m.Average()
	for i, r := range m.Members() {
		if lane == api.ModeMember+r.Name {
			of = m.Member(i)
		}
	}
	x := reward.Encoded{Sequence: model.Sequence(p.Sequence)}
	got := m.Deployment.Details(of, &x, WantOf(want))
	names := m.Config().AttributeNames()
	for i, v := range got.Attributes {
		out.Attributes = append(out.Attributes, api.Attribute{Name: names[i], Value: v})
	}
	out.Steps = got.Steps
	out.Trajectory = got.Trajectory
	return out
}
