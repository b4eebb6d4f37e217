package live

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/api"
)

// The guard holds a new average to what makes averaging weights work at all:
// that the members are linearly mode connected, so that the average is at least
// as accurate as its members are on average (Ramé et al., arXiv 2401.12187,
// observation 1). An average that lost accuracy to that interpolation on the
// guard's preference pairs is refused, with the figures.

// pairChunk is how many pairs are queued at a time, between everyone's requests.
const pairChunk = 32

// verdict is what the members of a model do on the guard's pairs.
type verdict struct {
	pairs  []api.Pair
	names  []string
	shares []float64 // of the pairs each member wins, in [0, 1]; nil until they are known
	weight []float64 // of each member in the average; they sum to 1
}

// judgeMembers has the guard's pairs read and scores them with each member. A
// member that the model will not hold is built by itself, before the
// average is, so that memory holds one model beside the live one.
func (cs *Changes) judgeMembers(c *Change) (*verdict, error) {
	pairs, err := cs.builder.Pairs(c.spec.Guard.Pairs)
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("guard: %s: no pair", c.spec.Guard.Pairs)
	}
	v := &verdict{pairs: pairs, weight: Weights(c.spec)}
	for _, m := range c.spec.Members {
		v.names = append(v.names, cmp.Or(m.Name, filepath.Base(m.Path)))
	}
	if c.spec.Mode == api.ModeBoth {
		return v, nil // judge asks the model
	}
	for i, member := range c.spec.Members {
		alone := api.ModelSpec{
			Members: []api.MemberSpec{{Name: v.names[i], Path: member.Path}}, Mode: api.ModeMember +
				v.names[i],
			DType: c.spec.DType, Pooling: c.spec.Pooling, MaxTokens: c.spec.MaxTokens,
			Ending: c.spec.Ending, DoubleBOS: c.spec.DoubleBOS,
			Head: c.spec.Head, Output: c.spec.Output, Backend: c.spec.Backend,
		}
		m, err := cs.builder.Build(c.ctx, c.name, &alone, c.progress)
		if err != nil {
			return nil, fmt.Errorf("guard: %w", err)
		}
		share, err := 0.0, cs.activate(c.ctx, c, m)
		if err == nil {
			share, err = cs.wins(c, m, alone.Mode, pairs)
		}
		closeModel(m)
		if err != nil {
			return nil, err
		}
		v.shares = append(v.shares, share)
		signal(cs.ended)
	}
	return v, nil
}

// judge compares the average with its members.
func (cs *Changes) judge(c *Change, m Model, v *verdict) error {
	if v.shares == nil {
		for _, name := range v.names {
			share, err := cs.wins(c, m, api.ModeMember+name, v.pairs)
			if err != nil {
				return err
			}
			v.shares = append(v.shares, share)
		}
	}
	average, err := cs.wins(c, m, api.ModeWA, v.pairs)
	if err != nil {
		return err
	}
	interpolated := 0.0
	var each []string
	for i, share := range v.shares {
		interpolated += v.weight[i] * share
		each = append(each, fmt.Sprintf("%s %.2f %%", v.names[i], 100*share))
	}
	loss := 100 * (interpolated - average)
	c.verdict = &api.Verdict{Pairs: len(v.pairs), Average: average, Interpolated: interpolated,
		Loss: loss, MaxLoss: c.spec.Guard.MaxLoss}
	for i, share := range v.shares {
		c.verdict.Members = append(c.verdict.Members, api.MemberWins{Name: v.names[i], Wins: share})
	}
	figures := fmt.Sprintf("the average wins %.2f %% of %d pairs and its members %.2f %% on average (%s)",
		100*average, len(v.pairs), 100*interpolated, strings.Join(each, ", "))
	cs.log.InfoContext(c.ctx, "guard", "model", c.name, "loss", loss, "allowed", c.spec.Guard.MaxLoss, "figures", figures)
	if loss > c.spec.Guard.MaxLoss {
		return api.Errorf(api.CodeGuardRefused, "",
			"%s: a loss of %.2f points, at most %.2f is allowed", figures, loss, c.spec.Guard.MaxLoss)
	}
	return nil
}

// Weights returns the shares of spec's members in their average.
func Weights(spec *api.ModelSpec) []float64 {
	w := make([]float64, len(spec.Members))
	sum := 0.0
	for i, m := range spec.Members {
		w[i] = m.Weight
		if spec.Weights != nil {
			w[i] = spec.Weights[i]
		}
		sum += w[i]
	}
	for i := range w {
		if sum == 0 {
			w[i] = 1 / float64(len(w))
		} else {
			w[i] /= sum
		}
	}
	return w
}

// wins returns the share of the pairs whose chosen answer has the higher
// reward. A tie is no win: a reward that does not tell the two apart is of no
// use to who asks.
func (cs *Changes) wins(c *Change, m Model, lane string, pairs []api.Pair) (float64, error) {
	won := 0
	for at := 0; at < len(pairs); at += pairChunk {
		chunk := pairs[at:min(at+pairChunk, len(pairs))]
		inputs := make([]api.Input, 0, 2*len(chunk))
		for i := range chunk {
			inputs = append(inputs, chunk[i].Inputs()...)
		}
		c.progress("guard: "+lane, float64(at)/float64(len(pairs)))
		r, err := cs.rewards(c.ctx, m, lane, inputs)
		if err != nil {
			return 0, fmt.Errorf("guard: pairs %d to %d with %s: %w", at+1, at+len(chunk), lane, err)
		}
		for i := range chunk {
			if !finite(r[2*i]) || !finite(r[2*i+1]) {
				return 0, fmt.Errorf("guard: pair %d with %s: the rewards are %v and %v", at+i+1,
					lane, r[2*i], r[2*i+1])
			}
			if r[2*i] > r[2*i+1] {
				won++
			}
		}
	}
	return float64(won) / float64(len(pairs)), nil
}
