package members

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
)

// costing are the settings of experiment cost: of the members that it serves, and of what they are asked.
type costing struct {
	settings
	Answers int `json:"answers"`            // of unseen debates that a round asks for, no two equal: those are computed once
	OfLarge int `json:"of_large,omitempty"` // as many instead, of a large base; see settings.Large
	Rounds  int `json:"rounds"`             // of each server, in turn; odd, so that one is the median
}

func costingOf(size lab.Size) costing {
	c := costing{settings: settingsOf(size), Answers: 256, Rounds: 5}
	switch size {
	case lab.Tiny:
		c.Answers, c.Rounds = 8, 3
	case lab.Small:
		c.Answers = 128
	case lab.Standard:
		c.OfLarge = 64
	}
	return c
}

// What is served of the members.
const (
	average  = "WA"
	ensemble = "ENS"
	alone    = "a member alone"
)

// Cost measures what the average and the ensemble of one fold's members cost where they are served.
func Cost() *lab.Experiment {
	return &lab.Experiment{
		Name:     "cost",
		Title:    "What the average and the ensemble cost",
		Question: "Servers of the members on gold preferences of the first fold are asked for the same rewards in turn: how many tokens a second, and how much memory, by their average, by their ensemble and by one alone?",
		Minutes:  1,
		Settings: func(s lab.Size) any { return costingOf(s) },
		Trainings: func(l *lab.Lab) ([]lab.Training, error) {
			p, err := plan(l)
			if err != nil {
				return nil, err
			}
			return p.trainings[0][:1], nil
		},
		Measure: func(ctx context.Context, l *lab.Lab) (any, error) { return measureCost(ctx, l) },
		Analyse: analyseCost,
	}
}

// cost is what was measured.
type cost struct {
	M      int      `json:"m"`
	Served []served `json:"served"`
}

// served is one server: its model's bytes, and each round's tokens and seconds.
type served struct {
	What    string    `json:"what"`
	Memory  int64     `json:"memory_bytes"`
	Tokens  int       `json:"tokens"`
	Seconds []float64 `json:"seconds"`
}

func measureCost(ctx context.Context, l *lab.Lab) (out *cost, err error) {
	if l.Serve == nil {
		return nil, errors.New("what serving costs is measured on a server, and this lab has none")
	}
	p, err := plan(l)
	if err != nil {
		return nil, err
	}
	t := p.trainings[0][0]
	dirs, err := l.Members(ctx, t.Name, t.Plan)
	if err != nil {
		return nil, err
	}
	c := costingOf(l.Size)
	if p.large {
		c.Answers = c.OfLarge
	}
	asked := &api.RewardRequest{Inputs: c.inputs(p.near[0].Pairs)}
	out = &cost{M: p.m}
	var clients []*api.Client
	for _, s := range []struct{ what, mode string }{{average, "wa"}, {ensemble, "ens"}, {alone, "member:member-1"}} {
		url, stop, err := l.Serve(ctx, "cost", dirs, s.mode)
		if err != nil {
			return nil, fmt.Errorf("serving %s: %w", s.what, err)
		}
		defer func() { err = errors.Join(err, stop()) }()
		client, err := api.NewClient(url)
		if err != nil {
			return nil, err
		}
		of, err := client.ModelDetail(ctx, "cost")
		if err != nil {
			return nil, fmt.Errorf("serving %s: %w", s.what, err)
		}
		clients = append(clients, client)
		out.Served = append(out.Served, served{What: s.what, Memory: of.MemoryBytes})
	}
	for round := range lab.Through(l, "rounds of three servers", make([]int, c.Rounds+1)) {
		for i, client := range clients {
			began := time.Now()
			reply, err := client.Reward(ctx, asked)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", out.Served[i].What, err)
			}
			if s := &out.Served[i]; round > 0 { // the first warms up
				s.Tokens, s.Seconds = reply.Usage.TotalTokens, append(s.Seconds, time.Since(began).Seconds())
			}
		}
	}
	return out, nil
}

// inputs are the first answers of pairs, each prompt with its own.
func (c *costing) inputs(pairs []data.Pair) []api.Input {
	var prompts []string
	answers, n := map[string][]string{}, 0
	for _, pair := range pairs {
		prompt := pair.Prompt.Plain
		for _, a := range []string{pair.Chosen.Plain, pair.Rejected.Plain} {
			if n == c.Answers || slices.Contains(answers[prompt], a) {
				continue
			}
			if answers[prompt] == nil {
				prompts = append(prompts, prompt)
			}
			answers[prompt], n = append(answers[prompt], a), n+1
		}
	}
	var out []api.Input
	for _, prompt := range prompts {
		out = append(out, api.Answers(prompt, answers[prompt]...))
	}
	return out
}

// check reports measurements that do not fit together.
func (c *cost) check() error {
	if len(c.Served) == 0 || c.Served[0].What != average {
		return errors.New("the average was not measured")
	}
	wa := &c.Served[0]
	for _, s := range c.Served {
		switch {
		case len(s.Seconds) == 0 || len(s.Seconds) != len(wa.Seconds) || slices.Min(s.Seconds) <= 0:
			return fmt.Errorf("%s: times %v beside %v", s.What, s.Seconds, wa.Seconds)
		case s.Tokens <= 0 || s.Tokens != wa.Tokens || s.Memory <= 0:
			return fmt.Errorf("%s: %d tokens in %d bytes, WA %d", s.What, s.Tokens, s.Memory, wa.Tokens)
		}
	}
	return nil
}

var analyseCost = lab.Analysis(func(c *cost) (*lab.Findings, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("measurements: %w", err)
	}
	t := lab.Table{Name: "cost", Title: fmt.Sprintf("Served, M = %d, float32", c.M), Columns: []string{"", "tokens/s", "memory (MB)", "beside WA"}}
	wa := &c.Served[0]
	for _, s := range c.Served {
		speed := func(x *served) float64 { return float64(x.Tokens) / middle(x.Seconds) }
		var times []float64 // as long as WA, round by round
		for i, v := range s.Seconds {
			times = append(times, v/wa.Seconds[i])
		}
		t.Rows = append(t.Rows, []string{s.What, fmt.Sprintf("%.0f", speed(&s)), fmt.Sprintf("%.0f", float64(s.Memory)/1e6),
			fmt.Sprintf("%.2f [%.2f, %.2f] times as long, %.2f times the memory; %.0f tokens/s for %.0f", middle(times), slices.Min(times), slices.Max(times),
				float64(s.Memory)/float64(wa.Memory), speed(&s), speed(wa))})
	}
	return &lab.Findings{Tables: []lab.Table{t}, Notes: []string{fmt.Sprintf(
		"%d rounds of %d tokens in one request each, in turn; medians, and between brackets the least and the greatest round. No two answers are equal; client and servers share the machine.",
		len(wa.Seconds), wa.Tokens)}}, nil
})

// middle is the median of an odd number of values, else the upper of the two in the middle.
func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
