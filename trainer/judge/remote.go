package judge

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Remote is a model behind a reward server.
type Remote struct {
	Client *api.Client
	Model  string // its name; "" where one is served
	Mode   string // "" is both where the model offers it, else the model's own
}

// Served is what a server says of the model that it scored with.
type Served struct {
	Model      string `json:"model"`
	Revision   string `json:"revision"`
	Mode       string `json:"mode"`
	Normalized bool   `json:"normalized"` // whether the ensemble's members are calibrated already
}

// ErrChanged is returned when the server's model changed while it was judged.
var ErrChanged = errors.New("the model changed while it was judged")

const (
	remoteBatch    = 128 // answers in a request
	remoteInFlight = 2   // one is computed while the next is on its way

	// remoteTimeout bounds one request, tries again included: what a server allows
	// at most by default. Its own default would be short for a slow model.
	remoteTimeout = 10 * time.Minute
)

// Server measures a served model on preference pairs, as [Checkpoints] does those on
// disk: with the mode both its weight average, its ensemble and each
// member, from one request for each pair. Text over the context is an error, or
// left out with DropLong.
func Server(ctx context.Context, m Remote, t Test) (*Report, error) {
	j, err := newJudge(t)
	if err != nil {
		return nil, err
	}
	if len(j.texts) == 0 {
		return nil, fmt.Errorf("no pair to judge on in %v", t.Files)
	}
	if err := m.choose(ctx); err != nil {
		return nil, err
	}
	queries := make([]query, len(j.texts))
	for i := range j.texts {
		p := &j.texts[i]
		queries[i] = query{at: p.At, answers: 2, inputs: func() ([]api.Input, error) { return inputs(p) }}
	}
	rewards, served, err := m.scoreAll(ctx, queries, long{truncate: api.TruncateError, drop: t.DropLong}, t.told)
	if err != nil {
		return nil, err
	}
	all := len(j.texts)
	rewards, j.texts = kept(rewards, j.texts)
	if len(j.texts) == 0 {
		return nil, fmt.Errorf("every pair is over the model's context")
	}
	r, err := j.begin(all - len(j.texts))
	if err != nil {
		return nil, err
	}
	r.Served = served
	if err := j.remote(r, rewards); err != nil {
		return nil, err
	}
	return r, j.finish(r)
}

// choose settles model and mode where they are not named.
func (m *Remote) choose(ctx context.Context) error {
	list, err := m.Client.Models(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, x := range list.Data {
		names = append(names, x.ID)
		if m.Model != "" && x.ID != m.Model || m.Model == "" && len(list.Data) > 1 {
			continue
		}
		m.Model = x.ID
		if m.Mode == "" && slices.Contains(x.Modes, api.ModeBoth) {
			m.Mode = api.ModeBoth
		}
		if m.Mode == "" {
			m.Mode = x.Mode
		}
		return nil
	}
	if m.Model == "" {
		return fmt.Errorf("the server has the models %s: name one", strings.Join(names, ", "))
	}
	return fmt.Errorf("the server has no model %q; it has %s", m.Model, strings.Join(names, ", "))
}

// query is what a server is asked about one pair, or one question.
type query struct {
	at      data.Place
	answers int
	inputs  func() ([]api.Input, error)
}

// long says what becomes of text over the context.
type long struct {
	truncate string
	drop     bool // with TruncateError: leave out the query
}

// reply is what a server answered to a query, by answer; nil for one that is over the context.
type reply []api.Reward

// kept leaves out the pairs without rewards.
func kept(rewards []reply, texts []rm.Preference) (r []reply, p []rm.Preference) {
	for i := range rewards {
		if rewards[i] != nil {
			r, p = append(r, rewards[i]), append(p, texts[i])
		}
	}
	return r, p
}

// batches cuts queries so that each part has remoteBatch answers at most, or is one query.
func batches(queries []query) (ends []int) {
	answers := 0
	for i, q := range queries {
		if answers > 0 && answers+q.answers > remoteBatch {
			ends, answers = append(ends, i), 0
		}
		answers += q.answers
	}
	return append(ends, len(queries))
}

// scoreAll answers queries in batches, a few at a time, and tells how many are answered.
func (m *Remote) scoreAll(ctx context.Context, queries []query, l long,
	told func(model string, done, of int)) ([]reply, *Served, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]reply, len(queries))
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		served  *Served
		done    int
	)
	told(m.Model, 0, len(queries))
	parts := make(chan [2]int)
	for range remoteInFlight {
		workers.Go(func() {
			for p := range parts {
				s, err := m.score(ctx, queries[p[0]:p[1]], out[p[0]:p[1]], l)
				mu.Lock()
				if err == nil && s != nil && served != nil && *s != *served {
					err = fmt.Errorf("%w: from %s to %s", ErrChanged, served.Revision, s.Revision)
				}
				if s != nil {
					served = s
				}
				if done += p[1] - p[0]; err == nil {
					told(m.Model, done, len(queries))
				}
				mu.Unlock()
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	at := 0
	for _, end := range batches(queries) {
		if ctx.Err() != nil {
			break
		}
		parts <- [2]int{at, end}
		at = end
	}
	close(parts)
	workers.Wait()
	return out, served, context.Cause(ctx)
}

var badInput = regexp.MustCompile(`^inputs\[(\d+)\]`)

// score scores one batch into out. A nil Served says that no query fits the context.
func (m *Remote) score(ctx context.Context, queries []query, out []reply, l long) (*Served, error) {
	left := make([]int, len(queries))
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 {
		req := &api.RewardRequest{Model: m.Model, Mode: m.Mode, Truncate: l.truncate}
		if m.Mode == api.ModeEns || m.Mode == api.ModeBoth {
			req.Return = []string{api.ReturnMembers}
		}
		var owner []int // in left, of each input
		for at, i := range left {
			in, err := queries[i].inputs()
			if err != nil {
				return nil, &data.Error{Place: queries[i].at, Err: err}
			}
			for range in {
				owner = append(owner, at)
			}
			req.Inputs = append(req.Inputs, in...)
		}
		one, cancel := context.WithTimeout(ctx, remoteTimeout)
		response, err := m.Client.Reward(one, req)
		cancel()
		if err == nil {
			return distribute(response, queries, left, out)
		}
		at, ok := inputOf(err, owner)
		if !ok {
			return nil, err
		}
		if tooLong := api.IsCode(err, api.CodeTooLong); !l.drop || !tooLong {
			if tooLong && l.truncate == api.TruncateError {
				err = fmt.Errorf("%w; --drop-long leaves such pairs out", err)
			}
			return nil, &data.Error{Place: queries[left[at]].at, Err: err}
		}
		left = slices.Delete(left, at, at+1)
	}
	return nil, nil
}

// inputOf is the owner of the input that an error is about.
func inputOf(err error, owner []int) (int, bool) {
	var refused *api.Error
	if !errors.As(err, &refused) {
		return 0, false
	}
	match := badInput.FindStringSubmatch(refused.Param)
	if match == nil {
		return 0, false
	}
	n, err := strconv.Atoi(match[1])
	if err != nil || n >= len(owner) {
		return 0, false
	}
	return owner[n], true
}

// distribute hands the rewards of a response to their queries.
func distribute(response *api.RewardResponse, queries []query, left []int, out []reply) (*Served, error) {
	want := 0
	for _, i := range left {
		want += queries[i].answers
	}
	if len(response.Data) != want {
		return nil, fmt.Errorf("the server answered %d rewards for %d answers", len(response.Data), want)
	}
	rest := response.Data
	for _, i := range left {
		n := queries[i].answers
		out[i], rest = rest[:n:n], rest[n:]
	}
	return &Served{response.Model, response.Revision, response.Mode, response.Normalized}, nil
}

// inputs are a pair's answers as the wire has them, chosen first.
func inputs(p *rm.Preference) ([]api.Input, error) {
	if !p.Chosen.IsChat() {
		return []api.Input{api.Answers(p.Prompt.Plain, p.Chosen.Plain, p.Rejected.Plain)}, nil
	}
	return conversations(p.Prompt.Messages, p.Chosen.Messages, p.Rejected.Messages)
}

// conversations are the answers to a prompt, all of messages, as the wire has them.
func conversations(prompt []chat.Message, answers ...[]chat.Message) ([]api.Input, error) {
	var out []api.Input
	for _, answer := range answers {
		m, err := api.MessagesOf(slices.Concat(prompt, answer))
		if err != nil {
			return nil, err
		}
		out = append(out, api.Conversation(m...))
	}
	return out, nil
}

// remote judges everything that the replies hold.
func (j *judge) remote(r *Report, replies []reply) error {
	return r.Served.models(replies, func(is role, name string, rewards [][]float64) error {
		chosen, rejected := make([]float64, len(rewards)), make([]float64, len(rewards))
		for i, v := range rewards {
			chosen[i], rejected[i] = v[0], v[1]
		}
		one, err := j.judged(name, chosen, rejected)
		if err != nil {
			return err
		}
		r.add(is, one)
		return nil
	})
}

// models hands out the rewards of each model that the replies hold, by query and answer: what the
// server's mode aggregates, and the members where it names them.
func (s *Served) models(replies []reply, each func(is role, name string, rewards [][]float64) error) error {
	model := func(is role, name string, reward func(a *api.Reward) (float32, bool)) error {
		out := make([][]float64, len(replies))
		for i, r := range replies {
			out[i] = make([]float64, len(r))
			for k := range r {
				v, ok := reward(&r[k])
				if !ok {
					return fmt.Errorf("a reply holds no reward of %s", name)
				}
				out[i][k] = float64(v)
			}
		}
		return each(is, name, out)
	}
	is, name := isMember, strings.TrimPrefix(s.Mode, api.ModeMember)
	switch s.Mode {
	case api.ModeWA, api.ModeBoth:
		is, name = isWA, NameWA
	case api.ModeEns:
		is, name = isEns, NameEns
	}
	if err := model(is, name,
		func(a *api.Reward) (float32, bool) { return a.Reward, a.Error == nil }); err != nil {
		return err
	}
	if s.Mode == api.ModeBoth {
		err := model(isEns, NameEns, func(a *api.Reward) (float32, bool) {
			if a.Ensemble == nil {
				return 0, false
			}
			return *a.Ensemble, true
		})
		if err != nil {
			return err
		}
	}
	for k, member := range replies[0][0].Members {
		err := model(isMember, member.Name, func(a *api.Reward) (float32, bool) {
			if k >= len(a.Members) || a.Members[k].Name != member.Name {
				return 0, false
			}
			return a.Members[k].Reward, true
		})
		if err != nil {
			return err
		}
	}
	return nil
}
