package score

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
)

// comparison is a request on its way through the scorers of one model.
type comparison struct {
	call     *Call // whose it is
	req      *api.CompareRequest
	model    live.Model
	info     live.Info
	as       string // what the request calls the model
	lambda   float64
	seqs     []batch.Sequence // the chosen and the rejected answer of each pair in turn
	tokens   int
	cut      int // answers that were truncated
	queue    time.Duration
	compute  time.Duration
	wa       *scores
	members  []*scores
	ensemble []*scores
	std      []float64 // of the members, by answer
}

// scores is what one scorer made of a comparison's sequences.
type scores struct {
	name             string
	chosen, rejected []float64
	compute          time.Duration
}

// all returns the rewards of the chosen answers, and then of the rejected ones.
func (s *scores) all() []float64 { return slices.Concat(s.chosen, s.rejected) }

func (s *scores) margins() []float64 {
	out := make([]float64, len(s.chosen))
	for i := range out {
		out[i] = s.chosen[i] - s.rejected[i]
	}
	return out
}

// Compare scores the pairs in every way that the model offers. The rewards are
// not observed: pairs are chosen by hand.
func (s *Service) Compare(ctx context.Context, call *Call,
	req *api.CompareRequest) (*api.CompareResponse, error) {
	if err := req.Validate(s.cfg.MaxSequences); err != nil {
		return nil, err
	}
	i, as, err := s.models.Acquire(ctx, req.Model, call.Pin)
	if err != nil {
		return nil, err
	}
	defer i.Release()
	c := &comparison{call: call, req: req, model: i.Model(), info: i.Info(), as: as,
		lambda: api.DefaultLambda}
	if req.Lambda != nil {
		c.lambda = *req.Lambda
	}
	call.Model, call.Mode, call.Revision = c.info.ID, "compare", c.info.Revision
	lanes := len(c.info.Lanes())
	if err := s.reserveTokens(ctx, call, i, 2*len(req.Pairs), lanes, req.All()); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := c.prepare(ctx, s.cfg.MaxTokens); err != nil {
		return nil, err
	}
	call.Tokenize, call.Sequences, call.Tokens = time.Since(start), len(c.seqs), c.tokens
	call.step(Step{Name: "tokenize", Began: start, Ended: start.Add(call.Tokenize)})
	if err := s.charge(call, c.tokens*lanes); err != nil {
		return nil, err
	}
	if err := s.keepTokens(ctx, call, len(c.seqs), lanes, c.tokens, 0); err != nil {
		return nil, err
	}
	err = c.scoreAll(ctx, s.queue)
	call.Queue, call.Compute = c.queue, c.compute
	if err != nil {
		return nil, err
	}
	return c.reply(call.ID), nil
}

// prepare turns the pairs into sequences, within maxTokens together.
func (c *comparison) prepare(ctx context.Context, maxTokens int) error {
	for i := range c.req.Pairs {
		p := &c.req.Pairs[i]
		req := &api.RewardRequest{Truncate: c.req.Truncate, ParseSpecial: c.req.ParseSpecial,
			Inputs: p.Inputs()}
		t := &task{model: c.model, info: c.info, req: req}
		if err := t.prepare(ctx, maxTokens-c.tokens); err != nil {
			if e, ok := errors.AsType[*api.Error](err); ok {
				out := *e
				out.Param = pairParam(i, p, e.Param)
				return &out
			}
			return err
		}
		for _, a := range t.prepared {
			c.seqs = append(c.seqs, a.Sequence)
			c.tokens += len(a.Sequence.IDs)
			if a.Truncated {
				c.cut++
			}
		}
	}
	return nil
}

// pairParam turns a place in the inputs of a pair, as Pair.Inputs lays them
// out, into the place in the request.
func pairParam(i int, p *api.Pair, param string) string {
	pair := fmt.Sprintf("pairs[%d]", i)
	for _, side := range []struct{ input, answer, name string }{
		{"inputs[0]", "inputs[0].responses[0]", "chosen"},
		{"inputs[1]", "inputs[0].responses[1]", "rejected"},
	} {
		if rest, ok := strings.CutPrefix(param, side.input); ok && p.Chosen.Input != nil {
			return pair + "." + side.name + rest
		} else if ok && p.Chosen.Messages != nil {
			return pair + "." + side.name // the message's place counts those of the prompt, too
		}
		if strings.HasPrefix(param, side.answer) {
			return pair + "." + side.name
		}
	}
	return pair
}

// scoreAll scores the sequences on one lane after the other, so that the time
// of each is its own.
func (c *comparison) scoreAll(ctx context.Context, q *batch.Queue) error {
	has := func(mode string) bool { return slices.Contains(c.info.Modes, mode) }
	ensemble := has(api.ModeEns) || has(api.ModeBoth)
	if has(api.ModeWA) || has(api.ModeBoth) {
		wa, err := c.score(ctx, q, api.ModeWA)
		if err != nil {
			return err
		}
		c.wa = wa
	}
	for _, m := range c.info.Members {
		if !ensemble && !has(api.ModeMember+m) {
			continue
		}
		member, err := c.score(ctx, q, api.ModeMember+m)
		if err != nil {
			return err
		}
		c.members = append(c.members, member)
	}
	if !ensemble {
		return nil
	}
	how := c.req.Aggregates
	if len(how) == 0 {
		how = api.Aggregates()
	}
	for _, h := range how {
		if err := c.aggregate(h); err != nil {
			return err
		}
	}
	return nil
}

// score scores the sequences on the lane called name.
func (c *comparison) score(ctx context.Context, q *batch.Queue, name string) (*scores, error) {
	lane, err := c.model.Lane(name)
	if err != nil {
		return nil, fmt.Errorf("score: model %q: lane %q: %w", c.info.ID, name, err)
	}
	rewards, stats, err := q.SubmitAll(ctx, []batch.Job{{Lane: lane, Seqs: c.seqs, Client: c.call.Client}})
	c.queue += stats.Queue
	c.compute += stats.Compute
	c.call.computed(stats, name, c.info.Device)
	if err != nil {
		return nil, err
	}
	out := newScores(name, len(c.seqs)/2)
	out.compute = stats.Compute
	for k, r := range rewards[0] {
		if err := out.set(k, r, c.info.ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func newScores(name string, pairs int) *scores {
	return &scores{name: name, chosen: make([]float64, pairs), rejected: make([]float64, pairs)}
}

// set keeps the reward of the k-th sequence.
func (s *scores) set(k int, reward float32, model string) error {
	side, at := "chosen", &s.chosen[k/2]
	if k%2 == 1 {
		side, at = "rejected", &s.rejected[k/2]
	}
	if !finite(reward) {
		return api.Errorf(api.CodeNonFinite, fmt.Sprintf("pairs[%d].%s", k/2, side),
			"%s of model %q answered %v", s.name, model, reward)
	}
	*at = float64(reward)
	return nil
}

// aggregate makes the ensemble's scores of its members'.
func (c *comparison) aggregate(how string) error {
	out := newScores(api.ModeEns+":"+how, len(c.seqs)/2)
	c.std = make([]float64, len(c.seqs))
	row := make([]float32, len(c.members))
	for k := range c.seqs {
		for m, s := range c.members {
			row[m] = float32(s.chosen[k/2])
			if k%2 == 1 {
				row[m] = float32(s.rejected[k/2])
			}
		}
		reward, std, err := c.model.Aggregate(row, how, c.lambda)
		if err != nil {
			return fmt.Errorf("score: model %q: aggregate: %w", c.info.ID, err)
		}
		if err := out.set(k, float32(reward), c.info.ID); err != nil {
			return err
		}
		c.std[k] = std
	}
	for _, s := range c.members {
		out.compute += s.compute
	}
	c.ensemble = append(c.ensemble, out)
	return nil
}

// reply makes the figures of the scores.
func (c *comparison) reply(id string) *api.CompareResponse {
	out := &api.CompareResponse{
		ID: "cmp-" + id, Object: "comparison", Created: time.Now().Unix(),
		Model: c.as, Revision: c.info.Revision, Normalized: c.info.Normalized,
		Pairs: len(c.req.Pairs), Truncated: c.cut, Lambda: c.lambda,
		Usage: api.Usage{PromptTokens: c.tokens, TotalTokens: c.tokens},
	}
	var all []*scores
	if c.wa != nil {
		all = append(all, c.wa)
	}
	all = slices.Concat(all, c.ensemble, c.members)
	for _, s := range all {
		out.Scorers = append(out.Scorers, s.wire(c.wa))
	}
	if c.std != nil {
		out.Members = c.spread()
	}
	if slices.Contains(c.req.Return, api.ReturnPairs) {
		out.Data = c.rows(all)
	}
	return out
}

func (c *comparison) rows(all []*scores) []api.PairRow {
	rows := make([]api.PairRow, len(c.req.Pairs))
	for i := range rows {
		rows[i] = api.PairRow{Index: i, ID: c.req.Pairs[i].ID}
		for _, s := range all {
			rows[i].Chosen = append(rows[i].Chosen, float32(s.chosen[i]))
			rows[i].Rejected = append(rows[i].Rejected, float32(s.rejected[i]))
		}
	}
	return rows
}

// spread says how far the members agree with each other.
func (c *comparison) spread() *api.Spread {
	pairs := len(c.req.Pairs)
	unanimous := 0
	for i := range pairs {
		prefers := func(m *scores) int { return cmp.Compare(m.chosen[i], m.rejected[i]) }
		differs := func(m *scores) bool { return prefers(m) != prefers(c.members[0]) }
		if !slices.ContainsFunc(c.members, differs) {
			unanimous++
		}
	}
	out := &api.Spread{Unanimous: api.Estimate(eval.Share(unanimous, pairs))}
	for _, std := range c.std {
		out.MeanStd += std / float64(len(c.std))
	}
	return out
}

// wire returns a scorer's figures, set against wa's unless it is wa or there is none.
func (s *scores) wire(wa *scores) api.Scorer {
	a := eval.Count(s.chosen, s.rejected)
	out := api.Scorer{
		Name: s.name, Accuracy: api.Estimate(a.Strict()), Wins: a.Wins, Ties: a.Ties, Losses: a.Losses,
		TiesAsHalf: a.Half(), MeanMargin: a.Margin, ComputeSeconds: s.compute.Seconds(),
	}
	if wa == nil || wa == s {
		return out
	}
	mine, its := s.all(), wa.all()
	pairs := len(s.chosen)
	diff, pValue := eval.AccuracyDifference(wa.margins(), s.margins())
	out.AgainstWA = &api.Contrast{
		AccuracyDifference: api.Estimate(diff), McNemarP: pValue,
		Agreement:              api.Estimate(eval.Agreement(wa.margins(), s.margins())),
		Pearson:                orNil(eval.Pearson(its, mine, pairs)),
		Spearman:               orNil(eval.Spearman(its, mine, pairs)),
		Kendall:                orNil(eval.Kendall(its, mine, pairs)),
		MeanAbsoluteDifference: eval.MeanAbsolute(its, mine),
	}
	if wa.compute > 0 {
		out.AgainstWA.Cost = s.compute.Seconds() / wa.compute.Seconds()
	}
	return out
}

func orNil(e eval.Estimate, ok bool) *api.Estimate {
	if !ok {
		return nil
	}
	out := api.Estimate(e)
	return &out
}
