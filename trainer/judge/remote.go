package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/warmserve/warmserve/api"
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
	remoteBatch    = 64 // pairs in a request
	remoteInFlight = 2  // one is computed while the next is on its way

	// remoteTimeout bounds one request, tries again included: what a server allows
	// at most by default. Its own default would be short for a slow model.
	remoteTimeout = 10 * time.Minute
)

// Server measures a served model on preference pairs, as [Judge] measures
// checkpoints: with the mode both its weight average, its ensemble and each
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
	rewards, served, err := m.scoreAll(ctx, j.texts, t.DropLong)
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

// pairReply is what a server answered for a pair; the zero value for one that is
// over the context.
type pairReply struct{ chosen, rejected *api.Reward }

// kept leaves out the pairs without rewards.
func kept(rewards []pairReply, texts []rm.Preference) (r []pairReply, p []rm.Preference) {
	for i := range rewards {
		if rewards[i].chosen != nil {
			r, p = append(r, rewards[i]), append(p, texts[i])
		}
	}
	return r, p
}

// scoreAll scores pairs in batches, a few at a time.
func (m *Remote) scoreAll(ctx context.Context, pairs []rm.Preference, dropLong bool) ([]pairReply, *Served, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]pairReply, len(pairs))
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		served  *Served
	)
	batches := make(chan int)
	for range remoteInFlight {
		workers.Go(func() {
			for at := range batches {
				end := min(len(pairs), at+remoteBatch)
				s, err := m.score(ctx, pairs[at:end], out[at:end], dropLong)
				mu.Lock()
				if err == nil && s != nil && served != nil && *s != *served {
					err = fmt.Errorf("%w: from %s to %s", ErrChanged, served.Revision, s.Revision)
				}
				if s != nil {
					served = s
				}
				mu.Unlock()
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for at := 0; at < len(pairs) && ctx.Err() == nil; at += remoteBatch {
		batches <- at
	}
	close(batches)
	workers.Wait()
	return out, served, context.Cause(ctx)
}

var badInput = regexp.MustCompile(`^inputs\[(\d+)\]`)

// score scores one batch into out. A nil Served says that no pair fits the context.
func (m *Remote) score(ctx context.Context, pairs []rm.Preference, out []pairReply, dropLong bool) (*Served, error) {
	left := make([]int, len(pairs))
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 {
		req := &api.RewardRequest{Model: m.Model, Mode: m.Mode, Truncate: api.TruncateError}
		if m.Mode == api.ModeEns || m.Mode == api.ModeBoth {
			req.Return = []string{api.ReturnMembers}
		}
		var owner []int // in left, of each input
		for at, i := range left {
			in, err := inputs(&pairs[i])
			if err != nil {
				return nil, &data.Error{Place: pairs[i].At, Err: err}
			}
			for range in {
				owner = append(owner, at)
			}
			req.Inputs = append(req.Inputs, in...)
		}
		one, cancel := context.WithTimeout(ctx, remoteTimeout)
		reply, err := m.Client.Reward(one, req)
		cancel()
		if err == nil {
			return distribute(reply, left, out)
		}
		at, ok := inputOf(err, owner)
		if !ok {
			return nil, err
		}
		if !dropLong || !api.IsCode(err, api.CodeTooLong) {
			if api.IsCode(err, api.CodeTooLong) {
				err = fmt.Errorf("%w; --drop-long leaves such pairs out", err)
			}
			return nil, &data.Error{Place: pairs[left[at]].At, Err: err}
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

// distribute hands the rewards of a reply to their pairs.
func distribute(reply *api.RewardResponse, left []int, out []pairReply) (*Served, error) {
	if len(reply.Data) != 2*len(left) {
		return nil, fmt.Errorf("the server answered %d rewards for %d answers", len(reply.Data), 2*len(left))
	}
	for k, i := range left {
		out[i] = pairReply{&reply.Data[2*k], &reply.Data[2*k+1]}
	}
	return &Served{reply.Model, reply.Revision, reply.Mode, reply.Normalized}, nil
}

// inputs are a pair's answers as the wire has them, chosen first.
func inputs(p *rm.Preference) ([]api.Input, error) {
	if !p.Chosen.IsChat() {
		return []api.Input{api.Answers(p.Prompt.Plain, p.Chosen.Plain, p.Rejected.Plain)}, nil
	}
	var out []api.Input
	for _, answer := range []data.Text{p.Chosen, p.Rejected} {
		text, err := json.Marshal(slices.Concat(p.Prompt.Messages, answer.Messages))
		if err != nil {
			return nil, err
		}
		var messages []api.Message
		if err := jsonv2.Unmarshal(text, &messages); err != nil {
			return nil, err
		}
		out = append(out, api.Conversation(messages...))
	}
	return out, nil
}

// remote judges everything that the replies hold.
func (j *judge) remote(r *Report, replies []pairReply) error {
	judged := func(name string, reward func(a *api.Reward) (float32, bool)) (*Judged, error) {
		chosen, rejected := make([]float64, len(replies)), make([]float64, len(replies))
		for i, p := range replies {
			c, okC := reward(p.chosen)
			d, okD := reward(p.rejected)
			if !okC || !okD {
				return nil, fmt.Errorf("a reply holds no reward of %s", name)
			}
			chosen[i], rejected[i] = float64(c), float64(d)
		}
		return j.judged(name, chosen, rejected)
	}
	reward := func(a *api.Reward) (float32, bool) { return a.Reward, true }
	var err error
	switch mode := r.Served.Mode; mode {
	case api.ModeWA, api.ModeBoth:
		if r.WA, err = judged(NameWA, reward); err != nil {
			return err
		}
	case api.ModeEns:
		if r.Ens, err = judged(NameEns, reward); err != nil {
			return err
		}
	default:
		one, err := judged(strings.TrimPrefix(mode, api.ModeMember), reward)
		if err != nil {
			return err
		}
		r.Members = append(r.Members, *one)
	}
	if r.Served.Mode == api.ModeBoth {
		r.Ens, err = judged(NameEns, func(a *api.Reward) (float32, bool) {
			if a.Ensemble == nil {
				return 0, false
			}
			return *a.Ensemble, true
		})
		if err != nil {
			return err
		}
	}
	for k, member := range replies[0].chosen.Members {
		one, err := judged(member.Name, func(a *api.Reward) (float32, bool) {
			if k >= len(a.Members) || a.Members[k].Name != member.Name {
				return 0, false
			}
			return a.Members[k].Reward, true
		})
		if err != nil {
			return err
		}
		r.Members = append(r.Members, *one)
	}
	return nil
}
