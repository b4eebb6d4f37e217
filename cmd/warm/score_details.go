package main

import (
	"slices"

	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/serve"
)

// scoredDetails are what --return asks for beside a reward.
type scoredDetails struct {
	Attributes map[string]float32 `json:"attributes,omitempty"`
	Steps      []float32          `json:"steps,omitempty"`
	Trajectory []*float32         `json:"trajectory,omitempty"` // null where a gate has not read yet
	TokenIDs   []int32            `json:"token_ids,omitempty"`  // of the trajectory
}

// parseReturns reads the words of --return.
func parseReturns(words []string) (w reward.Want, err error) {
	for _, s := range words {
		if serve.WantOf([]string{s}) == (reward.Want{}) {
			return w, usagef("--return: %q, want attributes, steps or trajectory", s)
		}
	}
	return serve.WantOf(words), nil
}

// describe adds to the answers what was asked for, of the model whose reward they have: the
// average, or the one member.
func (s *scoring) describe() {
	if s.want == (reward.Want{}) {
		return
	}
	d := s.model
	m := d.Average()
	for i := 0; m == nil; i++ {
		m = d.Member(i)
	}
	names := d.Config().AttributeNames()
	for i, a := range s.answers {
		x := &s.encoded[i]
		got := d.Details(m, x, s.want)
		a.Steps = got.Steps
		for j, v := range got.Attributes {
			if a.Attributes == nil {
				a.Attributes = make(map[string]float32, len(names))
			}
			a.Attributes[names[j]] = v
		}
		a.Trajectory = got.Trajectory
		if s.want.Trajectory {
			a.TokenIDs = slices.Clone(x.IDs)
		}
	}
}
