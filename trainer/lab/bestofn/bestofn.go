package bestofn

import (
	"context"
	"fmt"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/contest"
)

// settings are those of the best-of-N experiment.
type settings struct {
	contest.Settings
	// Samples are drawn for each prompt; N are the numbers of which the best is
	// taken, Samples at most.
	Samples int   `json:"samples"`
	N       []int `json:"n"`
	// Ms are the numbers of members that are averaged and ensembled.
	Ms []int `json:"ms"`
	// Swapped are the shares of labels that are wrong.
	Swapped []float64 `json:"swapped"`
}

func settingsOf(size lab.Size) settings {
	s := settings{Settings: contest.SettingsOf(size), Samples: 256,
		N: []int{1, 2, 4, 8, 16, 32, 64, 128, 256}, Ms: []int{2, 4, 6}, Swapped: []float64{0, 0.25}}
	switch size {
	case lab.Tiny:
		s.Samples, s.N, s.Ms = 8, []int{1, 2, 4, 8}, []int{2}
	case lab.Standard:
		s.Samples, s.N = 128, []int{1, 2, 4, 8, 16, 32, 64, 128}
	case lab.Paper:
		s.Samples, s.Ms = 512, []int{2, 6, 10}
	}
	return s
}

// measurements is what the experiment measures.
type measurements struct {
	Samples int   `json:"samples"` // to each prompt
	N       []int `json:"n"`
	Ms      []int `json:"ms"`
	// Unseen tells of each prompt whether it belongs to a debate that the proxies
	// did not learn from.
	Unseen []bool `json:"unseen"`
	// Halves says that proxies and control learned from debates apart, and Apart that they are
	// of different bases.
	Halves bool `json:"halves,omitempty"`
	Apart  bool `json:"apart,omitempty"`
	// Tokens are the lengths of all samples, one prompt's behind the other's, and
	// Control their rewards by the control.
	Tokens  []int       `json:"tokens"`
	Control lab.Rewards `json:"control"`
	// Valid are the control's rewards for the pairs of UKP.Valid, and Groups the
	// clusters of those pairs.
	Valid  *lab.Scored `json:"valid"`
	Groups []string    `json:"groups"`
	// Fresh and FreshGroups are the same of pairs of the debates that the proxies do
	// not know, with arguments that the control does not know either.
	Fresh       *lab.Scored `json:"fresh,omitempty"`
	FreshGroups []string    `json:"fresh_groups,omitempty"`
	Proxies     []proxies   `json:"proxies"`
}

// proxies are the reward models that learned from one set of labels.
type proxies struct {
	Swapped  float64        `json:"swapped"`
	Members  []proxy        `json:"members"`
	Averages []averageProxy `json:"averages"`
}

// proxy is what one model says of all samples and of the pairs of UKP.Valid
// and of Fresh.
type proxy struct {
	Samples lab.Rewards `json:"samples"`
	Valid   *lab.Scored `json:"valid"`
	Fresh   *lab.Scored `json:"fresh,omitempty"`
}

// averageProxy is the weight average of some members, by their numbers from 0.
type averageProxy struct {
	Of []int `json:"of"`
	proxy
}

// Experiment is the experiment on the best of N samples.
func Experiment() *lab.Experiment {
	return &lab.Experiment{
		Name:  "bon",
		Title: "Best of N",
		Question: "A policy writes N arguments and a reward model picks one. How good is the pick in the eyes of a control reward model, " +
			"when the reward model is a single one, an ensemble or a weight average?",
		Minutes: 5,
		Contest: func(size lab.Size) (written, learned int64) {
			s := settingsOf(size)
			return s.Written(s.Samples), 0
		},
		Settings: func(size lab.Size) any { return settingsOf(size) },
		Trainings: func(l *lab.Lab) ([]lab.Training, error) {
			s := settingsOf(l.Size)
			return contest.Trainings(l, s.Settings, s.Swapped)
		},
		Measure: measure,
		Analyse: analyse,
	}
}

func measure(ctx context.Context, l *lab.Lab) (any, error) {
	s := settingsOf(l.Size)
	a, err := contest.Open(ctx, l, s.Settings)
	if err != nil {
		return nil, err
	}
	drawn, err := contest.Draw(ctx, l, a.Policy, "", a.Prompts, s.Samples, s.Tokens, contest.SeedSamples)
	if err != nil {
		return nil, err
	}
	judge := func(m lab.Model) (p proxy, err error) {
		if p.Samples, err = contest.Score(ctx, l, m, drawn); err != nil {
			return p, err
		}
		if p.Valid, err = l.Score(ctx, m, a.Valid); err != nil {
			return p, err
		}
		p.Fresh, err = l.Score(ctx, m, a.Fresh)
		return p, err
	}
	out := measurements{Samples: s.Samples, N: s.N, Ms: s.Ms, Unseen: a.Unseen, Tokens: drawn.Tokens,
		Halves: s.Halves, Apart: l.Control != l.Base, Groups: lab.Shorten(a.Valid.Clusters), FreshGroups: lab.Shorten(a.Fresh.Clusters)}
	control, err := judge(a.Control)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	out.Control, out.Valid, out.Fresh = control.Samples, control.Valid, control.Fresh
	for _, share := range s.Swapped {
		t, err := contest.ProxyTraining(l, a.Corpus, share)
		if err != nil {
			return nil, err
		}
		members, err := l.Members(ctx, t.Name, t.Plan)
		if err != nil {
			return nil, err
		}
		what := fmt.Sprintf("scoring samples, %.0f %% swapped", 100*share)
		proxies, err := judgeProxies(members, s.Ms, func(m lab.Model, done, of int) (proxy, error) {
			l.Tell(what, done, of)
			return judge(m)
		})
		l.Ended(what)
		if err != nil {
			return nil, err
		}
		proxies.Swapped = share
		out.Proxies = append(out.Proxies, *proxies)
	}
	return out, nil
}

// judgeProxies has every member and the averages of each number of members judge.
func judgeProxies(members []string, ms []int,
	judge func(m lab.Model, done, of int) (proxy, error)) (*proxies, error) {
	out := &proxies{}
	var groups [][]int
	for _, m := range ms {
		groups = append(groups, rotations(len(members), m)...)
	}
	of := len(members) + len(groups)
	for i, dir := range members {
		p, err := judge(lab.Model{Members: []string{dir}}, i, of)
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, p)
	}
	for i, group := range groups {
		m := lab.Model{}
		for _, k := range group {
			m.Members = append(m.Members, members[k])
		}
		p, err := judge(m, len(members)+i, of)
		if err != nil {
			return nil, err
		}
		out.Averages = append(out.Averages, averageProxy{group, p})
	}
	return out, nil
}

// rotations are groups of m among n members, so many that every member is in one:
// neighbours, counted around.
func rotations(n, m int) [][]int {
	var out [][]int
	for at := 0; at < n; at += m {
		var group []int
		for i := range m {
			group = append(group, (at+i)%n)
		}
		out = append(out, group)
	}
	return out
}
