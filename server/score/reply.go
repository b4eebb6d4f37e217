package score

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/warmserve/warmserve/api"
)

// reply assembles the response of a scored task.
func (t *task) reply(id string) (*api.RewardResponse, error) {
	out := &api.RewardResponse{
		ID: "rwd-" + id, Object: "reward.list", Created: time.Now().Unix(),
		Model: t.as, Revision: t.info.Revision, Mode: t.mode, Normalized: t.info.Normalized && t.ensemble,
		Data: make([]api.Reward, 0, len(t.prepared)+len(t.refused)),
	}
	refused := t.refused
	for k := 0; k < len(t.prepared) || len(refused) > 0; {
		r := api.Reward{}
		if len(refused) > 0 && (k == len(t.prepared) || refused[0].before(t.places[k])) {
			r = api.Reward{Input: refused[0].input, Answer: refused[0].answer, Error: refused[0].err}
			refused = refused[1:]
		} else {
			var err error
			if r, err = t.entry(k); err != nil && t.req.OnError != api.OnErrorItem {
				return nil, err
			}
			if err != nil {
				r, t.faults = api.Reward{Input: r.Input, Answer: r.Answer,
					Error: Error(err)}, append(t.faults, err)
			}
			k++
		}
		r.Index = len(out.Data)
		out.Data = append(out.Data, r)
		out.Usage.PromptTokens += r.Tokens
	}
	out.Usage.TotalTokens = out.Usage.PromptTokens
	return out, nil
}

// entry makes the data's entry of the k-th prepared answer.
func (t *task) entry(k int) (api.Reward, error) {
	p := &t.prepared[k]
	r := api.Reward{
		Input: t.places[k].input, Answer: t.places[k].answer,
		Tokens: len(p.Sequence.IDs), Truncated: p.Truncated,
	}
	if slices.Contains(t.req.Return, api.ReturnTokens) {
		r.TokenIDs, r.AnswerTokens = p.Sequence.IDs, []int{p.AnswerFrom, p.AnswerTo}
	}
	if t.rewards != nil {
		r.Reward = t.rewards[k]
		if !finite(r.Reward) {
			return r, t.nonFinite(k, t.single(), r.Reward)
		}
	}
	if err := t.details(&r, k); err != nil || !t.ensemble {
		return r, err
	}
	return r, t.addEnsemble(&r, k)
}

// addEnsemble sets what the members say of the k-th answer.
func (t *task) addEnsemble(r *api.Reward, k int) error {
	members := make([]float32, len(t.members))
	for m := range t.members {
		if members[m] = t.members[m][k]; !finite(members[m]) {
			return t.nonFinite(k, api.ModeMember+t.info.Members[m], members[m])
		}
	}
	lambda := api.DefaultLambda
	if t.req.Lambda != nil {
		lambda = *t.req.Lambda
	}
	mean, std, err := t.model.Aggregate(members, cmp.Or(t.req.Aggregate, api.AggregateMean), lambda)
	if err != nil {
		return fmt.Errorf("score: model %q: aggregate: %w", t.info.ID, err)
	}
	whole, spread := float32(mean), float32(std)
	if !finite(whole) || !finite(spread) {
		return t.nonFinite(k, api.ModeEns, whole)
	}
	r.Std = &spread
	if t.mode == api.ModeBoth {
		r.Ensemble = &whole
	} else {
		r.Reward = whole
	}
	if t.mode == api.ModeBoth || slices.Contains(t.req.Return, api.ReturnMembers) {
		r.Members = make([]api.MemberReward, len(members))
		for m, v := range members {
			r.Members[m] = api.MemberReward{Name: t.info.Members[m], Reward: v}
		}
	}
	return nil
}

func (t *task) nonFinite(k int, who string, got float32) error {
	return api.Errorf(api.CodeNonFinite, t.places[k].param(t.req),
		"%s of model %q answered %v", who, t.info.ID, got)
}

func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
