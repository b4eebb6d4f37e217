package score

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
)

// task is a request on its way through one model.
type task struct {
	client   string // whose it is
	req      *api.RewardRequest
	reading  live.PrepareOptions // what the request's dialect says of it
	model    live.Model
	info     live.Info
	as       string // what the request calls the model
	mode     string
	ensemble bool // whether the members are scored, as with ens and both
	prepared []live.Prepared
	places   []place     // of each prepared answer
	refused  []refusal   // with on_error: item, the answers that are not prepared, in their order
	faults   []error     // of answers that the model did not score, with on_error: item
	rewards  []float32   // of the weight average or the one member; nil with ens
	members  [][]float32 // by member, then answer; nil without an ensemble
}

// place is where in the request an answer stands.
type place struct{ input, answer int }

// before reports whether p stands before q in the request.
func (p place) before(q place) bool {
	return p.input < q.input || p.input == q.input && p.answer < q.answer
}

// refusal is an answer that cannot be scored, and why.
type refusal struct {
	place
	err *api.Error // its Param is the request's
}

func (p place) param(req *api.RewardRequest) string {
	if req.Inputs[p.input].Responses != nil {
		return fmt.Sprintf("inputs[%d].responses[%d]", p.input, p.answer)
	}
	return fmt.Sprintf("inputs[%d]", p.input)
}

func (t *task) checkMode() error {
	if !slices.Contains(t.info.Modes, t.mode) {
		return api.Errorf(api.CodeUnsupportedMode, "mode",
			"model %q does not offer the mode %q, only %q", t.info.ID, t.mode, t.info.Modes)
	}
	if err := t.req.CheckMode(t.mode); err != nil {
		return err
	}
	return nil
}

// prepare turns every input into sequences, within maxTokens together.
func (t *task) prepare(ctx context.Context, maxTokens int) error {
	options := t.reading
	options.ParseSpecial = t.req.ParseSpecial == nil || *t.req.ParseSpecial
	options.Chat.Variables = t.req.ChatTemplateKwargs
	tokens := 0
	for i := range t.req.Inputs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		answers, err := t.answers(i, options)
		if err != nil {
			return err
		}
		for j, p := range answers {
			at := place{i, j}
			if p.refused != nil {
				t.refused = append(t.refused, refusal{at, p.refused})
				continue
			}
			if tokens += len(p.Sequence.IDs); tokens > maxTokens {
				return api.Errorf(api.CodeTooManyTokens, at.param(t.req),
					"the request has more than %d tokens up to here", maxTokens)
			}
			t.prepared, t.places = append(t.prepared, p.Prepared), append(t.places, at)
		}
	}
	return nil
}

// answer is one of an input's answers, or why it cannot be scored.
type answer struct {
	live.Prepared
	refused *api.Error
}

// answers prepares the i-th input. With on_error: item what is wrong with it,
// or with some of its answers, is theirs alone.
func (t *task) answers(i int, o live.PrepareOptions) ([]answer, error) {
	in := &t.req.Inputs[i]
	o.Truncate = truncation(t.req.Truncate, in)
	param := fmt.Sprintf("inputs[%d]", i)
	if t.req.OnError != api.OnErrorItem {
		return t.whole(in, i, o)
	}
	if fault := in.Check(); fault != nil {
		return slices.Repeat([]answer{{refused: fault.Under(param)}}, in.Count()), nil
	}
	all, err := t.whole(in, i, o)
	e, bad := errors.AsType[*api.Error](err)
	switch {
	case !bad:
		return all, err
	case in.Responses == nil:
		return []answer{{refused: e}}, nil
	}
	// One answer of the group is at fault: alone, each is told of its own.
	all = make([]answer, len(in.Responses))
	for j := range in.Responses {
		one := *in
		one.Responses = in.Responses[j : j+1]
		a, err := t.whole(&one, i, o)
		if e, bad := errors.AsType[*api.Error](err); bad {
			if rest, ok := strings.CutPrefix(e.Param, param+".responses[0]"); ok {
				e = api.Errorf(e.Code, place{i, j}.param(t.req)+rest, "%s", e.Message)
			}
			all[j].refused = e
		} else if err != nil {
			return nil, err
		} else {
			all[j] = a[0]
		}
	}
	return all, nil
}

// truncation says how an input is cut, the same on every route: at the left of
// the prompt, and then of the answer. Text and tokens, which do not tell the one
// from the other, are cut at their left.
func truncation(asked string, in *api.Input) string {
	if asked == "" || asked == api.TruncatePromptLeft {
		if in.Text != nil || in.InputIDs != nil {
			return api.TruncateLeft
		}
		return api.TruncatePromptLeft
	}
	return asked
}

// whole prepares every answer of in, which is the i-th input or a part of it.
func (t *task) whole(in *api.Input, i int, o live.PrepareOptions) ([]answer, error) {
	answers, err := t.model.Prepare(in, o)
	if err != nil {
		if e, ok := err.(*api.Error); ok {
			return nil, e.Under(fmt.Sprintf("inputs[%d]", i))
		}
		return nil, fmt.Errorf("score: prepare inputs[%d]: %w", i, err)
	}
	if len(answers) != in.Count() {
		return nil, fmt.Errorf("score: model %q prepared %d answers of inputs[%d], which has %d",
			t.info.ID, len(answers), i, in.Count())
	}
	out := make([]answer, len(answers))
	for j, p := range answers {
		if err := t.checkPrepared(p, place{i, j}); err != nil {
			return nil, err
		}
		out[j].Prepared = p
	}
	return out, nil
}

// checkPrepared holds a model to its word before its sequences meet those of
// others in a batch.
func (t *task) checkPrepared(p live.Prepared, at place) error {
	n := len(p.Sequence.IDs)
	switch {
	case n == 0:
		return api.Errorf(api.CodeEmptyInput, at.param(t.req), "there is no token to score")
	case n > t.info.ContextLength:
		return fmt.Errorf("score: model %q prepared %d tokens, its context has %d", t.info.ID, n,
			t.info.ContextLength)
	case !p.Sequence.Valid():
		return fmt.Errorf("score: model %q prepared %d token types for %d tokens, of which it reads %v",
			t.info.ID, len(p.Sequence.Types), n, p.Sequence.Read)
	}
	return nil
}

func (t *task) tokens() int {
	n := 0
	for _, p := range t.prepared {
		n += len(p.Sequence.IDs)
	}
	return n
}

// lanes names what the task is scored on: the lane that answers by itself, if
// any, and then the members.
func (t *task) lanes() []string {
	var names []string
	if t.mode != api.ModeEns {
		names = append(names, t.single())
	}
	if t.ensemble {
		for _, m := range t.info.Members {
			names = append(names, api.ModeMember+m)
		}
	}
	return names
}

// jobs is the task on each of its lanes.
func (t *task) jobs() ([]batch.Job, error) {
	names := t.lanes()
	seqs := make([]batch.Sequence, len(t.prepared))
	for i, p := range t.prepared {
		seqs[i] = p.Sequence
	}
	jobs := make([]batch.Job, len(names))
	for i, name := range names {
		if i == 0 && t.mode == api.ModeEns || i == 1 { // members' lanes give rewards alone
			seqs = plain(seqs)
		}
		lane, err := t.model.Lane(name)
		if err != nil {
			return nil, fmt.Errorf("score: model %q: lane %q: %w", t.info.ID, name, err)
		}
		jobs[i] = batch.Job{Lane: lane, Seqs: seqs, Client: t.client}
	}
	return jobs, nil
}

// submit scores the task on the lanes of its mode and keeps the rewards.
func (t *task) submit(ctx context.Context, q *batch.Queue) (batch.Stats, error) {
	if len(t.prepared) == 0 {
		return batch.Stats{}, nil // every answer was refused
	}
	jobs, err := t.jobs()
	if err != nil {
		return batch.Stats{}, err
	}
	rewards, stats, err := q.SubmitAll(ctx, jobs)
	if err != nil {
		return stats, err
	}
	if t.mode != api.ModeEns {
		t.rewards, rewards = rewards[0], rewards[1:]
	}
	if t.ensemble {
		t.members = rewards
	}
	return stats, nil
}

// single returns the lane that answers by itself: the member's, or the weight average's.
func (t *task) single() string {
	if t.mode == api.ModeBoth {
		return api.ModeWA
	}
	return t.mode
}
