package rl

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
)

// settings are those of the experiment on reinforcement learning.
type settings struct {
	contest.Settings
	// Swapped is the share of the proxies' labels that are wrong.
	Swapped float64 `json:"swapped"`
	// Runs have the seeds 1, 2 and so on; that of seed i is scored, where a single
	// proxy scores, by member i.
	Runs int `json:"runs"`
	// KL are the coefficients of the penalty. Rewards are divided by their standard
	// deviation, so that a coefficient means the same for every proxy.
	KL []float64 `json:"kl_coef"`
	// Each step asks Batch prompts for Answers answers; there are Steps.
	Batch   int     `json:"batch"`
	Answers int     `json:"answers"`
	Steps   int     `json:"steps"`
	LR      float64 `json:"lr"`
	// Kept checkpoints along the way, and the last, are judged by Judged answers to
	// every prompt.
	Kept   int `json:"kept"`
	Judged int `json:"judged"`
}

func settingsOf(size lab.Size) settings {
	s := settings{Settings: contest.SettingsOf(size), Swapped: 0.25, Runs: 5, KL: []float64{0.01},
		Batch: 10, Answers: 4, Steps: 30, LR: 3e-4, Kept: 2, Judged: 8}
	switch size {
	case lab.Tiny:
		s.Runs, s.Batch, s.Answers, s.Steps, s.Kept, s.Judged = 2, 4, 2, 3, 1, 2
	case lab.Standard:
		s.Runs, s.Batch, s.Answers, s.Steps, s.LR, s.Kept, s.Judged = 3, 8, 4, 60, 5e-5, 5, 4
	case lab.Paper:
		s.Runs, s.KL, s.Batch, s.Answers, s.Steps, s.LR, s.Kept, s.Judged = 5,
			[]float64{0.003, 0.01, 0.03}, 28, 8, 1000, 2e-5, 9, 32
	}
	return s
}

// measurements is what the experiment measures.
type measurements struct {
	M      int `json:"m"`
	Judged int `json:"judged"` // answers to each prompt
	// Unseen tells of each prompt whether it belongs to a debate that the proxies did
	// not learn from.
	Unseen  []bool  `json:"unseen"`
	Swapped float64 `json:"swapped"`
	// Start are the rewards of the policy's answers before any step, by the control
	// and by each proxy of Proxies: what all rewards are compared with.
	Start   judgedAnswers `json:"start"`
	Proxies []proxy       `json:"proxies"`
	Runs    []fineTuning  `json:"runs"`
}

// proxy is a proxy and its rewards for the answers of Start.
type proxy struct {
	Name  string      `json:"name"` // member-1, …, wa or ens
	Start lab.Rewards `json:"start"`
}

// judgedAnswers are answers to all prompts, those to one behind those to the one before.
type judgedAnswers struct {
	Step    int         `json:"step"`
	Control lab.Rewards `json:"control"`
	Proxy   lab.Rewards `json:"proxy,omitempty"` // by the run's own proxy
	Tokens  []int       `json:"tokens"`
}

// fineTuning is one fine-tuning.
type fineTuning struct {
	Kind   string          `json:"kind"`  // of selectors: one member, WA or the mean of ENS
	Proxy  string          `json:"proxy"` // of Proxies
	Seed   uint64          `json:"seed"`
	KL     float64         `json:"kl_coef"`
	Steps  []stepMetrics   `json:"steps"`
	Judged []judgedAnswers `json:"judged"` // checkpoints, the last step's at the end
}

// stepMetrics is what one step saw, as rl.Metrics has it.
type stepMetrics struct {
	Reward  float64 `json:"reward"`
	Control float64 `json:"control"`
	KL      float64 `json:"kl"`
	Entropy float64 `json:"entropy"`
	Length  float64 `json:"length"`
	Ended   float64 `json:"ended"`
}

// Experiment is the experiment on reinforcement learning.
func Experiment() *lab.Experiment {
	return &lab.Experiment{
		Name:  "rl",
		Title: "Reinforcement learning",
		Question: "A policy is fine-tuned on the rewards of a server. Does the control reward keep up with the reward that is optimised, " +
			"when that is of a single reward model, an ensemble or a weight average?",
		Minutes:  6,
		Contest:  true,
		Settings: func(size lab.Size) any { return settingsOf(size) },
		Trainings: func(l *lab.Lab) ([]lab.Training, error) {
			return contest.Trainings(l, []float64{settingsOf(l.Size).Swapped})
		},
		Measure: measure,
		Analyse: analyse,
	}
}

// tuning is the experiment under way.
type tuning struct {
	settings
	a       *contest.Arena
	l       *lab.Lab
	members []string
	prompts string // file
}

func measure(ctx context.Context, l *lab.Lab) (any, error) {
	if l.Serve == nil {
		return nil, errors.New("the lab has no way to serve a reward model")
	}
	t := &tuning{settings: settingsOf(l.Size), l: l}
	var err error
	if t.a, err = contest.Open(ctx, l); err != nil {
		return nil, err
	}
	training, err := contest.ProxyTraining(l, t.a.Corpus, t.Swapped)
	if err != nil {
		return nil, err
	}
	if t.members, err = l.Members(ctx, training.Name, training.Plan); err != nil {
		return nil, err
	}
	if t.Runs > len(t.members) {
		return nil, fmt.Errorf("%d runs of single members, there are %d members", t.Runs, len(t.members))
	}
	out := &measurements{M: len(t.members), Judged: t.Judged, Unseen: t.a.Unseen, Swapped: t.Swapped}
	if err := t.start(ctx, out); err != nil {
		return nil, err
	}
	if t.prompts, err = t.writePrompts(); err != nil {
		return nil, err
	}
	out.Runs, err = t.runs(ctx)
	return out, err
}

// start judges the policy before any step.
func (t *tuning) start(ctx context.Context, out *measurements) error {
	s, err := contest.Draw(ctx, t.l, t.a.Policy, t.a.Prompts, t.Judged, t.Tokens, contest.SeedJudged)
	if err != nil {
		return err
	}
	out.Start.Tokens = s.Tokens
	if out.Start.Control, err = contest.Score(ctx, t.l, t.a.Control, s); err != nil {
		return err
	}
	for _, name := range append(t.singles(), "wa", "ens") {
		r, err := t.proxyRewards(ctx, name, s)
		if err != nil {
			return err
		}
		out.Proxies = append(out.Proxies, proxy{name, r})
	}
	return nil
}

// singles names the members that score alone.
func (t *tuning) singles() []string {
	var out []string
	for i := range t.Runs {
		out = append(out, fmt.Sprintf("member-%d", i+1))
	}
	return out
}

// proxyRewards are the rewards of answers by a proxy, as its server computes them.
func (t *tuning) proxyRewards(ctx context.Context, name string, s *contest.Samples) (lab.Rewards, error) {
	switch name {
	case "wa":
		return contest.Score(ctx, t.l, lab.Model{Members: t.members}, s)
	case "ens":
		out := make(lab.Rewards, len(s.Texts))
		sums := make([]float64, len(s.Texts))
		for _, dir := range t.members {
			r, err := contest.Score(ctx, t.l, lab.Model{Members: []string{dir}}, s)
			if err != nil {
				return nil, err
			}
			for i, v := range r {
				sums[i] += float64(v)
			}
		}
		for i, v := range sums {
			out[i] = float32(v / float64(len(t.members)))
		}
		return out, nil
	}
	i := slices.Index(t.singles(), name)
	return contest.Score(ctx, t.l, lab.Model{Members: t.members[i : i+1]}, s)
}
