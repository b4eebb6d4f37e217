package lab

import (
	"context"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lm"
	"github.com/warmserve/warmserve/trainer/optim"
)

// contest is what best-of-N and reinforcement learning share: a policy that
// argues, proxies that are optimised and the control that judges what came of it.
// The proxies are the members of the other experiments (see recipe): they learned
// from a part of UKP.Train, with clean or swapped labels. The control never sees a
// swapped label and learns from more: gold labels of pairs of Train and of Near, so
// that it knows the debates that the proxies do not. Of both, the arguments that are
// held out stay so: they tell how good the control is.
type contest struct {
	// PolicyEpochs is how often the base reads the arguments of UKP.Train before it
	// is the policy.
	PolicyEpochs float64 `json:"policy_epochs"`
	PolicyLR     float64 `json:"policy_lr"`
	// Tokens bounds an argument that the policy writes.
	Tokens int `json:"max_tokens"`
	// The control is the weight average of ControlM members, each trained on
	// ControlPairs for ControlEpochs.
	ControlM      int     `json:"control_m"`
	ControlPairs  int     `json:"control_pairs"`
	ControlEpochs float64 `json:"control_epochs"`
	// Members are the proxies' settings.
	Members recipe `json:"members"`
}

// contestOf returns the settings of a size.
func contestOf(size Size) contest {
	s := contest{PolicyEpochs: 4, PolicyLR: 5e-4, Tokens: 48, ControlM: 3, ControlPairs: 3072, ControlEpochs: 2, Members: recipes[size]}
	switch size {
	case Tiny:
		s.PolicyEpochs, s.Tokens, s.ControlM, s.ControlPairs, s.ControlEpochs = 0.2, 8, 1, 96, 1
	case Paper:
		s.PolicyLR, s.Tokens, s.ControlM, s.ControlPairs = 5e-5, 128, 6, 0
	}
	return s
}

// Seeds of what the experiments draw.
const (
	seedControl = 201 // of the pairs of the control
	seedPolicy  = 202
	seedSamples = 203
	seedJudged  = 204 // of the answers that judge a fine-tuned policy
)

// arena is a contest with its parts made.
type arena struct {
	contest
	*corpus
	policy  string   // checkpoint directory
	prompts []string // of all debates and sides, in order
	unseen  []bool   // of each prompt, whether it is of a debate that no proxy has seen
	control Model
	fresh   *Set // pairs of Near whose arguments no judge has learned from
}

// arena makes the policy and the control, or finds them made.
func (l *Lab) arena(ctx context.Context) (*arena, error) {
	a := &arena{contest: contestOf(l.Size)}
	u, err := l.UKP()
	if err != nil {
		return nil, err
	}
	if a.corpus, err = l.corpus(); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i, part := range [][]data.Pair{u.Train, u.Near} {
		for _, p := range part {
			if prompt := p.Prompt.Plain; !seen[prompt] {
				seen[prompt] = true
				a.prompts, a.unseen = append(a.prompts, prompt), append(a.unseen, i == 1)
			}
		}
	}
	if a.policy, err = l.policy(ctx, a.contest, u); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	t, err := l.controlTraining(a.contest, u)
	if err != nil {
		return nil, err
	}
	if a.control.Members, err = l.Members(ctx, t.Name, t.Plan); err != nil {
		return nil, err
	}
	_, fresh := byArguments(u.Near)
	if l.Size == Tiny {
		fresh = Sample(fresh, 24, seedJudge)
	}
	a.fresh, err = l.NewSet("fresh", fresh)
	return a, err
}

// policy returns a language model that argues: the base after it has read the
// arguments of UKP.Train, good ones and bad ones alike, each once an epoch and as
// the continuation of its prompt.
func (l *Lab) policy(ctx context.Context, s contest, u *UKP) (string, error) {
	set, err := l.NewSet("arguments", arguments(u.Train))
	if err != nil {
		return "", err
	}
	c := lm.Config{LR: s.PolicyLR, Schedule: optim.Cosine, Warmup: 0.1, Epochs: s.PolicyEpochs, Batch: 16, Clip: 1,
		Seed: seedPolicy, DataSeed: seedPolicy}
	base, err := l.checkpointHash(l.Base)
	if err != nil {
		return "", err
	}
	dir, there, err := l.kept("policy", c, base, set.Hash)
	if err != nil || there {
		return dir, err
	}
	c.Base, c.Pairs, c.Out, c.Workers, c.Progress = l.Base, []string{set.Path}, dir, l.workers(), l.reading("policy")
	_, err = lm.Train(ctx, c)
	return dir, err
}

// controlTraining is the training of the judge's members.
func (l *Lab) controlTraining(s contest, u *UKP) (Training, error) {
	r := s.Members
	r.M, r.Epochs = s.ControlM, s.ControlEpochs
	near, _ := byArguments(u.Near)
	pairs := r.sample(slices.Concat(u.Train, near), s.ControlPairs, seedControl)
	set, err := l.NewSet(fmt.Sprintf("control-%d", len(pairs)), pairs)
	if err != nil {
		return Training{}, err
	}
	return r.training("control", l.Base, set)
}

// contestTrainings are the trainings that a contest knows beforehand: the
// control's, and the proxies' for each share of swapped labels.
func (l *Lab) contestTrainings(shares []float64) ([]Training, error) {
	u, err := l.UKP()
	if err != nil {
		return nil, err
	}
	c, err := l.corpus()
	if err != nil {
		return nil, err
	}
	control, err := l.controlTraining(contestOf(l.Size), u)
	if err != nil {
		return nil, err
	}
	out := []Training{control}
	for _, share := range shares {
		t, err := l.proxyTraining(c, share)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// proxyTraining is that of the members that learned from labels of which a share
// is swapped: those that the experiment on corruption has.
func (l *Lab) proxyTraining(c *corpus, share float64) (Training, error) {
	if share == 0 {
		return l.clean(c)
	}
	name := fmt.Sprintf("c%02.0f", 100*share)
	set, err := l.NewSet(c.Train.Name+"-"+name, swap(c.Train.Pairs, share, seedFlip))
	if err != nil {
		return Training{}, err
	}
	return c.training(name, l.Base, set)
}
