package contest

import (
	"context"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lm"
	"github.com/warmserve/warmserve/trainer/optim"
)

// Settings is what best-of-N and reinforcement learning share: a policy that
// argues, proxies that are optimised and the control that judges what came of it.
// The proxies are the members of the other experiments (see recipe): they learned
// from a part of UKP.Train, with clean or swapped labels. The control never sees a
// swapped label and learns from more: gold labels of pairs of Train and of Near, so
// that it knows the debates that the proxies do not. Of both, the arguments that are
// held out stay so: they tell how good the control is.
type Settings struct {
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
	Members debates.Recipe `json:"members"`
	// Halves has the proxies learn from half of the debates and the control from the other
	// half alone, so that they share no text.
	Halves bool `json:"halves,omitempty"`
}

// corpus reads the debates as the settings divide them.
func (s *Settings) corpus(l *lab.Lab) (*debates.Corpus, error) {
	if s.Halves {
		return debates.ReadHalves(l)
	}
	return debates.Read(l)
}

// SettingsOf returns the settings of a size.
func SettingsOf(size lab.Size) Settings {
	s := Settings{PolicyEpochs: 4, PolicyLR: 5e-4, Tokens: 48, ControlM: 3, ControlPairs: 3072,
		ControlEpochs: 2, Members: debates.Recipes[size]}
	switch size {
	case lab.Tiny:
		s.PolicyEpochs, s.Tokens, s.ControlM, s.ControlPairs, s.ControlEpochs = 0.2, 8, 1, 96, 1
	case lab.Standard:
		s.PolicyEpochs, s.PolicyLR, s.Tokens, s.ControlPairs, s.ControlEpochs = 1, 5e-5, 64, 0, 1
		s.Halves = true
	case lab.Paper:
		s.PolicyLR, s.Tokens, s.ControlM, s.ControlPairs = 5e-5, 128, 6, 0
	}
	return s
}

// Seeds of what the experiments draw.
const (
	seedControl = 201 // of the pairs of the control
	seedPolicy  = 202
	SeedSamples = 203
	SeedJudged  = 204 // of the answers that judge a fine-tuned policy
	seedSecond  = 205 // of the pairs of the second control
)

// prompts are those of UKP: a side of a debate each.
const prompts = 28

// Written is how many tokens so many answers to every prompt have at most.
func (s *Settings) Written(answers int) int64 { return prompts * int64(answers) * int64(s.Tokens) }

// Arena is a contest with its parts made.
type Arena struct {
	Settings
	*debates.Corpus
	Policy  string   // checkpoint directory
	Prompts []string // of all debates and sides, in order
	Unseen  []bool   // of each prompt, whether it is of a debate that no proxy has seen
	Control lab.Model
	Fresh   *lab.Set // pairs of Near whose arguments no judge has learned from
}

// Open makes the policy and the control, or finds them made.
func Open(ctx context.Context, l *lab.Lab, s Settings) (*Arena, error) {
	a := &Arena{Settings: s}
	var err error
	if a.Corpus, err = a.Settings.corpus(l); err != nil {
		return nil, err
	}
	u := a.UKP
	seen := map[string]bool{}
	for i, part := range [][]data.Pair{u.Train, u.Near} {
		for _, p := range part {
			if prompt := p.Prompt.Plain; !seen[prompt] {
				seen[prompt] = true
				a.Prompts, a.Unseen = append(a.Prompts, prompt), append(a.Unseen, i == 1)
			}
		}
	}
	if a.Policy, err = policy(ctx, l, a.Settings, u); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	t, err := controlTraining(l, a.Settings, u)
	if err != nil {
		return nil, err
	}
	if a.Control.Members, err = l.Members(ctx, t.Name, t.Plan); err != nil {
		return nil, err
	}
	_, fresh := debates.ByArguments(u.Near)
	if l.Size == lab.Tiny {
		fresh = debates.Sample(fresh, 24, debates.SeedJudge)
	}
	a.Fresh, err = l.NewSet("fresh", fresh)
	return a, err
}

// policy returns a language model that argues: the base after it has read the
// arguments of UKP.Train, good ones and bad ones alike, each once an epoch and as
// the continuation of its prompt.
func policy(ctx context.Context, l *lab.Lab, s Settings, u *debates.UKP) (string, error) {
	set, err := l.NewSet("arguments", debates.Arguments(u.Train))
	if err != nil {
		return "", err
	}
	c := lm.Config{LR: s.PolicyLR, Schedule: optim.Cosine, Warmup: 0.1, Epochs: s.PolicyEpochs,
		Batch: 16, Clip: 1,
		Seed: seedPolicy, DataSeed: seedPolicy}
	base, err := l.CheckpointHash(l.Policy)
	if err != nil {
		return "", err
	}
	dir, there, err := l.KeptRun("policy", c, base, set.Hash)
	if err != nil || there {
		return dir, err
	}
	c.Base, c.Pairs, c.Out, c.Workers = l.Policy, []string{set.Path}, dir, l.Workers
	return dir, debates.Train(ctx, l, "policy", c)
}

// controlTraining is the training of the judge's members.
func controlTraining(l *lab.Lab, s Settings, u *debates.UKP) (lab.Training, error) {
	r := s.Members
	r.M, r.Epochs = s.ControlM, s.ControlEpochs
	near, _ := debates.ByArguments(u.Near)
	if !s.Halves {
		near = slices.Concat(u.Train, near)
	}
	pairs := r.Sample(near, s.ControlPairs, seedControl)
	set, err := l.NewSet(fmt.Sprintf("control-%d", len(pairs)), pairs)
	if err != nil {
		return lab.Training{}, err
	}
	return r.Training("control", l.Control, set)
}

// SecondTraining is that of the second control's members: as the control's, from the same base,
// but from n pairs of another kind of preference, ETHICS, of which neither proxies nor control
// know anything.
func SecondTraining(l *lab.Lab, s Settings, n int) (lab.Training, error) {
	pairs, err := l.ReadPairs("ethics/train.jsonl.zst")
	if err != nil {
		return lab.Training{}, err
	}
	r := s.Members
	r.M, r.Epochs = s.ControlM, s.ControlEpochs
	set, err := r.SampleSet(l, "second-control", pairs, n, seedSecond)
	if err != nil {
		return lab.Training{}, err
	}
	return r.Training("second-control", l.Control, set)
}

// Trainings are the trainings that a contest knows beforehand: the
// control's, and the proxies' for each share of swapped labels.
func Trainings(l *lab.Lab, s Settings, shares []float64) ([]lab.Training, error) {
	c, err := s.corpus(l)
	if err != nil {
		return nil, err
	}
	control, err := controlTraining(l, s, c.UKP)
	if err != nil {
		return nil, err
	}
	out := []lab.Training{control}
	for _, share := range shares {
		t, err := ProxyTraining(l, c, share)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// ProxyTraining is that of the members that learned from labels of which a share
// is swapped: those that the experiment on corruption has.
func ProxyTraining(l *lab.Lab, c *debates.Corpus, share float64) (lab.Training, error) {
	if share == 0 {
		return debates.Clean(l, c)
	}
	set, err := debates.Swapped(l, c, share)
	if err != nil {
		return lab.Training{}, err
	}
	return c.Training(fmt.Sprintf("c%02.0f", 100*share), l.Base, set)
}
