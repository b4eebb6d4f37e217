package rl

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
	"github.com/warmserve/warmserve/trainer/rl"
)

// settings are those of the experiment on reinforcement learning.
type settings struct {
	contest.Settings
	// Swapped is the share of the proxies' labels that are wrong.
	Swapped float64 `json:"swapped"`
	// Algorithms are how policies learn, each in runs of its own; none is RLOO.
	Algorithms []rl.Algorithm `json:"algorithms,omitempty"`
	// Runs have the seeds 1, 2 and so on; that of seed i is scored, where a single
	// proxy scores, by member i.
	Runs int `json:"runs"`
	// Best has a single proxy be the most accurate member on the valid pairs, in every run.
	Best bool `json:"best,omitempty"`
	// NoENS leaves out the runs by an ensemble.
	NoENS bool `json:"no_ens,omitempty"`
	// SecondPairs of ETHICS are what the second control learned from; 0 for no second control.
	SecondPairs int `json:"second_pairs,omitempty"`
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
	// Unwatched has the control judge checkpoints alone, not the answers of every step that are
	// learned from: of a large control that is a good part of a step's time.
	Unwatched bool `json:"unwatched,omitempty"`
}

// paperAndGRPO are REINFORCE, which the paper has, and the algorithm that most use today.
var paperAndGRPO = []rl.Algorithm{rl.Reinforce, rl.GRPO}

func settingsOf(size lab.Size) settings {
	s := settings{Settings: contest.SettingsOf(size), Swapped: 0.25, Runs: 5, KL: []float64{0.01},
		Batch: 10, Answers: 4, Steps: 30, LR: 3e-4, Kept: 2, Judged: 8}
	switch size {
	case lab.Tiny:
		s.Algorithms, s.Best, s.SecondPairs = paperAndGRPO, true, 32
		s.Runs, s.Batch, s.Answers, s.Steps, s.Kept, s.Judged, s.Unwatched = 2, 4, 2, 3, 1, 2, true
	case lab.Standard:
		s.ControlM, s.ControlPairs, s.Tokens = 2, 1024, 48
		s.Algorithms, s.Best, s.NoENS, s.SecondPairs = paperAndGRPO, true, true, 1024
		s.Runs, s.Batch, s.Answers, s.Steps, s.LR, s.Kept, s.Judged = 3, 4, 4, 30, 5e-5, 1, 4
		s.Unwatched = true
	case lab.Paper:
		s.Algorithms, s.Best, s.SecondPairs = paperAndGRPO, true, 8192
		s.Runs, s.KL, s.Batch, s.Answers, s.Steps, s.LR, s.Kept, s.Judged = 5,
			[]float64{0.003, 0.01, 0.03}, 28, 8, 1000, 2e-5, 9, 32
	}
	return s
}

// several names the proxies that are made of all members.
func (s *settings) several() []string {
	if s.NoENS {
		return []string{"wa"}
	}
	return []string{"wa", "ens"}
}

// measurements is what the experiment measures.
type measurements struct {
	M      int `json:"m"`
	Judged int `json:"judged"` // answers to each prompt
	// Unseen tells of each prompt whether it belongs to a debate that the proxies did
	// not learn from.
	Unseen  []bool  `json:"unseen"`
	Swapped float64 `json:"swapped"`
	// Apart says that proxies and controls are of different bases.
	Apart bool `json:"apart,omitempty"`
	// Unwatched says that steps have no control reward.
	Unwatched bool `json:"unwatched,omitempty"`
	// Start are the rewards of the policy's answers before any step, by the control
	// and by each proxy of Proxies: what all rewards are compared with.
	Start   judgedAnswers `json:"start"`
	Proxies []proxy       `json:"proxies"`
	Runs    []fineTuning  `json:"runs"`
	// Best is the single proxy of every run, where one was chosen by Valid.
	Best  string `json:"best,omitempty"`
	Valid *valid `json:"valid,omitempty"`
}

// valid is how judges do on pairs of the proxies' debates whose arguments none learned from.
type valid struct {
	Groups  []string     `json:"groups"`
	Members []lab.Scored `json:"members"`
	Control lab.Scored   `json:"control"`
	Second  *lab.Scored  `json:"second,omitempty"`
}

// best is the most accurate of the members; of equals the first.
func (v *valid) best() (place int) {
	most := -1.0
	for i, s := range v.Members {
		right := 0.0
		for _, w := range lab.Wins(s.Margins()) {
			right += w
		}
		if right > most {
			place, most = i, right
		}
	}
	return place
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
	Second  lab.Rewards `json:"second,omitempty"` // by the second control
	Proxy   lab.Rewards `json:"proxy,omitempty"`  // by the run's own proxy
	KL      lab.Rewards `json:"kl,omitempty"`     // of each answer from the policy before any step
	Tokens  []int       `json:"tokens"`
}

// fineTuning is one fine-tuning.
type fineTuning struct {
	Kind  string `json:"kind"`  // of selectors: one member, WA or the mean of ENS
	Proxy string `json:"proxy"` // of Proxies
	Seed  uint64 `json:"seed"`
	// Algorithm is that of the run; "" is RLOO.
	Algorithm rl.Algorithm    `json:"algorithm,omitempty"`
	KL        float64         `json:"kl_coef"`
	Steps     []stepMetrics   `json:"steps"`
	Judged    []judgedAnswers `json:"judged"` // checkpoints, the last step's at the end
}

// stepMetrics is what one step saw, as rl.Metrics has it.
type stepMetrics struct {
	Reward  float64 `json:"reward"`
	Control float64 `json:"control,omitempty"` // none where it was not watched
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
		Minutes: 6,
		Contest: func(size lab.Size) (written, learned int64) {
			s := settingsOf(size)
			runs := (1 + len(s.several())) * s.Runs * len(s.KL) * max(1, len(s.Algorithms)) // by a single proxy and by several
			learned = int64(runs * s.Steps * s.Batch * s.Answers * s.Tokens)
			return learned + s.Written(s.Judged*(1+runs*(s.Kept+1))), learned // the start and checkpoints are judged
		},
		Settings: func(size lab.Size) any { return settingsOf(size) },
		Trainings: func(l *lab.Lab) ([]lab.Training, error) {
			s := settingsOf(l.Size)
			out, err := contest.Trainings(l, s.Settings, []float64{s.Swapped})
			if err != nil || s.SecondPairs == 0 {
				return out, err
			}
			second, err := contest.SecondTraining(l, s.Settings, s.SecondPairs)
			return append(out, second), err
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
	best    int       // place of the single proxy of every run; -1 where run i has member i
	second  lab.Model // the second control; no members where there is none
	prompts string    // file
}

func measure(ctx context.Context, l *lab.Lab) (any, error) {
	if l.Serve == nil {
		return nil, errors.New("the lab has no way to serve a reward model")
	}
	t := &tuning{settings: settingsOf(l.Size), l: l}
	var err error
	if t.a, err = contest.Open(ctx, l, t.Settings); err != nil {
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
	out := &measurements{M: len(t.members), Judged: t.Judged, Unseen: t.a.Unseen, Swapped: t.Swapped, Apart: l.Control != l.Base,
		Unwatched: t.Unwatched}
	if t.SecondPairs > 0 {
		second, err := contest.SecondTraining(l, t.Settings, t.SecondPairs)
		if err != nil {
			return nil, err
		}
		if t.second.Members, err = l.Members(ctx, second.Name, second.Plan); err != nil {
			return nil, err
		}
	}
	if t.best = -1; t.Best {
		if err := t.choose(ctx, out); err != nil {
			return nil, err
		}
	}
	if err := t.start(ctx, out); err != nil {
		return nil, err
	}
	if t.prompts, err = t.writePrompts(); err != nil {
		return nil, err
	}
	out.Runs, err = t.runs(ctx)
	return out, err
}

// choose judges the judges, and takes the best member as the single proxy.
func (t *tuning) choose(ctx context.Context, out *measurements) error {
	out.Valid = &valid{Groups: lab.Shorten(t.a.Valid.Clusters)}
	for _, dir := range t.members {
		s, err := t.l.Score(ctx, lab.Model{Members: []string{dir}}, t.a.Valid)
		if err != nil {
			return err
		}
		out.Valid.Members = append(out.Valid.Members, *s)
	}
	control, err := t.l.Score(ctx, t.a.Control, t.a.Valid)
	if err != nil {
		return err
	}
	out.Valid.Control = *control
	if len(t.second.Members) > 0 {
		if out.Valid.Second, err = t.l.Score(ctx, t.second, t.a.Valid); err != nil {
			return err
		}
	}
	t.best = out.Valid.best()
	out.Best = single(t.best)
	return nil
}

// start judges the policy before any step.
func (t *tuning) start(ctx context.Context, out *measurements) error {
	s, err := contest.Draw(ctx, t.l, t.a.Policy, "", t.a.Prompts, t.Judged, t.Tokens, contest.SeedJudged)
	if err != nil {
		return err
	}
	out.Start.Tokens = s.Tokens
	if out.Start.Control, err = contest.Score(ctx, t.l, t.a.Control, s); err != nil {
		return err
	}
	if len(t.second.Members) > 0 {
		if out.Start.Second, err = contest.Score(ctx, t.l, t.second, s); err != nil {
			return err
		}
	}
	for _, name := range append(t.singles(), t.several()...) {
		r, err := t.proxyRewards(ctx, name, s)
		if err != nil {
			return err
		}
		out.Proxies = append(out.Proxies, proxy{name, r})
	}
	return nil
}

// single names the member at a place, counted from 0, as servers do.
func single(place int) string { return fmt.Sprintf("member-%d", place+1) }

// singles names the members that score alone.
func (t *tuning) singles() []string {
	if t.best >= 0 {
		return []string{single(t.best)}
	}
	var out []string
	for i := range t.Runs {
		out = append(out, single(i))
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
	for i, dir := range t.members {
		if single(i) == name {
			return contest.Score(ctx, t.l, lab.Model{Members: []string{dir}}, s)
		}
	}
	return nil, fmt.Errorf("no proxy is called %s", name)
}
