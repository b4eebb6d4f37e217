package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// soupsSettings are those of a size.
type soupsSettings struct {
	recipe
	starts
	// Share of the labels is wrong for one pool of members; the other pool are members
	// of gold labels and those at FastRates.
	Share     float64   `json:"share"`
	FastRates []float64 `json:"fast_rates"`
	Others    int       `json:"others,omitempty"`
}

func soupsOf(size Size) soupsSettings {
	c := connectivityOf(size)
	return soupsSettings{recipe: c.recipe, starts: c.starts, Share: 0.25, FastRates: c.FastRates, Others: c.Others}
}

// Soups asks which members to average, and what an ensemble can that an average
// cannot.
func Soups() *Experiment {
	return &Experiment{
		Name:  "soups",
		Title: "Which members to average",
		Question: "Is an average of chosen or weighted members, judged on validation pairs, better on unseen debates than the average of all? " +
			"And does an ensemble of members that were pre-trained apart, which cannot be averaged, do better than either?",
		Minutes:  1,
		Settings: func(s Size) any { return soupsOf(s) },
		Trainings: func(l *Lab) ([]Training, error) {
			c, err := l.corpus()
			if err != nil {
				return nil, err
			}
			return l.soupTrainings(c)
		},
		Measure: func(ctx context.Context, l *Lab) (any, error) { return l.measureSoups(ctx) },
		Analyse: analyseSoups,
	}
}

// soupsMeasured is what was measured.
type soupsMeasured struct {
	M     int    `json:"m"`
	Pairs int    `json:"train_pairs"`
	Valid test   `json:"valid"`
	Near  test   `json:"near"`
	Pools []pots `json:"pools"`
	// Apart compares members that were pre-trained apart; nil with the reason in
	// Skipped.
	Apart   *apart `json:"apart,omitempty"`
	Skipped string `json:"skipped,omitempty"`
}

// pots are the averages of a pool of members.
type pots struct {
	Name    string     `json:"name"`
	Members []tasted   `json:"members"`
	Soups   []soup     `json:"soups"`
	Trials  []averaged `json:"trials"` // of the greedy soup on validation pairs, in order
}

// tasted are the rewards of a model on both sets.
type tasted struct {
	Valid Scored `json:"valid"`
	Near  Scored `json:"near"`
}

// soup is a weight average and its margins.
type soup struct {
	Kind    string    `json:"kind"`
	Members []int     `json:"members"`
	Weights []float64 `json:"weights,omitempty"`
	Valid   Rewards   `json:"valid"`
	Near    Rewards   `json:"near"`
}

// Kinds of soups.
const (
	soupUniform  = "uniform"
	soupGreedy   = "greedy"
	soupWeighted = "weighted by accuracy"
)

// apart are members of two bases that share nothing.
type apart struct {
	Ours   []tasted `json:"ours"`
	Theirs []tasted `json:"theirs"`
	// WA averages Ours, Mixed all of both.
	WA    soup `json:"wa"`
	Mixed soup `json:"mixed"`
}

func (l *Lab) soupTrainings(c *corpus) ([]Training, error) {
	s := soupsOf(l.Size)
	_, trainings, err := l.labelled(c, []float64{0, s.Share})
	if err != nil {
		return nil, err
	}
	if len(trainings) != 2 {
		return nil, fmt.Errorf("%d trainings of the shares 0 and %g, want 2", len(trainings), s.Share)
	}
	fast, err := l.fast(c, s.FastRates)
	return append(trainings, fast), err
}

func (l *Lab) measureSoups(ctx context.Context) (*soupsMeasured, error) {
	c, err := l.corpus()
	if err != nil {
		return nil, err
	}
	trainings, err := l.soupTrainings(c)
	if err != nil {
		return nil, err
	}
	var dirs [3][]string
	for i, t := range trainings {
		if dirs[i], err = l.Members(ctx, t.Name, t.Plan); err != nil {
			return nil, err
		}
	}
	s := soupsOf(l.Size)
	m := &soupsMeasured{M: c.M, Pairs: len(c.Train.Pairs), Valid: newTest("valid", c.Valid), Near: newTest("near", c.Near)}
	for _, p := range []struct {
		name    string
		members []string
	}{
		{fmt.Sprintf("%.0f %% of the labels swapped", 100*s.Share), dirs[1]},
		{"gold labels, some members at several times the usual rate", slices.Concat(dirs[0], dirs[2])},
	} {
		one, err := l.cook(ctx, c, p.members)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		one.Name = p.name
		m.Pools = append(m.Pools, *one)
	}
	if s.Others == 0 {
		m.Skipped = "no base that was pre-trained apart: this size makes none"
		return m, nil
	}
	m.Apart, err = l.tasteApart(ctx, c, dirs[0])
	return m, err
}

// taste scores a model on both sets.
func (l *Lab) taste(ctx context.Context, c *corpus, m Model) (*tasted, error) {
	valid, err := l.Score(ctx, m, c.Valid)
	if err != nil {
		return nil, err
	}
	near, err := l.Score(ctx, m, c.Near)
	if err != nil {
		return nil, err
	}
	return &tasted{*valid, *near}, nil
}

// pour averages members with weights, nil for equal ones.
func (l *Lab) pour(ctx context.Context, c *corpus, kind string, dirs []string, places []int, weights []float64) (*soup, error) {
	margins, err := l.margins(ctx, Model{Members: pick(dirs, places), Weights: weights}, c.Valid, c.Near)
	if err != nil {
		return nil, err
	}
	return &soup{Kind: kind, Members: places, Weights: weights, Valid: margins[0], Near: margins[1]}, nil
}

// accuracy is the share of pairs that margins rank right.
func accuracy(margins []float64) float64 {
	sum := 0.0
	for _, w := range wins(margins) {
		sum += w
	}
	return sum / float64(len(margins))
}

// cook makes the soups of a pool.
//
// The greedy soup takes members in the order of their accuracy, each that does not
// lower the soup's. Source: Wortsman et al. 2022 (arXiv 2203.05482), recipe 1.
func (l *Lab) cook(ctx context.Context, c *corpus, dirs []string) (*pots, error) {
	out := &pots{}
	var valid []float64
	for _, dir := range dirs {
		t, err := l.taste(ctx, c, Model{Members: []string{dir}})
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, *t)
		valid = append(valid, accuracy(t.Valid.Margins()))
	}
	greedy, err := l.greedy(ctx, c, dirs, valid, out)
	if err != nil {
		return nil, err
	}
	weighed, weights := soupWeights(valid)
	for _, s := range []struct {
		kind    string
		places  []int
		weights []float64
	}{
		{soupUniform, everyone(len(dirs)), nil},
		{soupGreedy, greedy, nil},
		{soupWeighted, weighed, weights},
	} {
		one, err := l.pour(ctx, c, s.kind, dirs, s.places, s.weights)
		if err != nil {
			return nil, err
		}
		out.Soups = append(out.Soups, *one)
	}
	return out, nil
}

func (l *Lab) greedy(ctx context.Context, c *corpus, dirs []string, valid []float64, out *pots) ([]int, error) {
	order := ranked(valid)
	chosen, best := order[:1:1], valid[order[0]]
	for i, next := range order[1:] {
		l.progress("a greedy soup", i, len(order)-1)
		trial := slices.Sorted(slices.Values(append(chosen, next)))
		margins, err := l.margins(ctx, Model{Members: pick(dirs, trial)}, c.Valid)
		if err != nil {
			return nil, err
		}
		out.Trials = append(out.Trials, averaged{trial, margins[0]})
		if a := accuracy(margins[0].Values()); a >= best {
			chosen, best = trial, a
		}
	}
	return slices.Sorted(slices.Values(chosen)), nil
}

// ranked are the places of values, the largest first.
func ranked(values []float64) []int {
	order := everyone(len(values))
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case values[a] > values[b]:
			return -1
		case values[a] < values[b]:
			return 1
		}
		return 0
	})
	return order
}

// soupWeights weigh members by how far their accuracy lies above chance, and leave
// out those that are no better; all weigh the same where none is.
func soupWeights(accuracy []float64) (places []int, weights []float64) {
	sum := 0.0
	for i, a := range accuracy {
		if a > 0.5 {
			places, weights, sum = append(places, i), append(weights, a-0.5), sum+a-0.5
		}
	}
	if places == nil {
		return everyone(len(accuracy)), nil
	}
	for i := range weights {
		weights[i] /= sum
	}
	return places, weights
}

// tasteApart compares members of the lab's base with those of one pre-trained
// apart.
func (l *Lab) tasteApart(ctx context.Context, c *corpus, ours []string) (*apart, error) {
	s := connectivityOf(l.Size)
	theirs, err := l.others(ctx, c, s)
	if err != nil {
		return nil, err
	}
	n := len(theirs)
	if len(ours) < 2*n {
		return nil, errors.New("too few members to compare with twice as many as the other base has")
	}
	ours = ours[:2*n]
	out := &apart{}
	for i, dir := range slices.Concat(ours, theirs) {
		t, err := l.taste(ctx, c, Model{Members: []string{dir}})
		if err != nil {
			return nil, err
		}
		if i < 2*n {
			out.Ours = append(out.Ours, *t)
		} else {
			out.Theirs = append(out.Theirs, *t)
		}
	}
	wa, err := l.pour(ctx, c, soupUniform, ours, everyone(2*n), nil)
	if err != nil {
		return nil, err
	}
	mixed, err := l.pour(ctx, c, soupUniform, slices.Concat(ours[:n], theirs), everyone(2*n), nil)
	if err != nil {
		return nil, err
	}
	out.WA, out.Mixed = *wa, *mixed
	return out, nil
}
