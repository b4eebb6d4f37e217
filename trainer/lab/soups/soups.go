package soups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

// settings are those of a size.
type settings struct {
	debates.Recipe
	debates.Starts
	// Share of the labels is wrong for one pool of members; the other pool are members
	// of gold labels and those at FastRates.
	Share float64 `json:"share"`
}

func settingsOf(size lab.Size) settings {
	return settings{Recipe: debates.Recipes[size], Starts: debates.StartsOf(size), Share: 0.25}
}

// Experiment asks which members to average, and what an ensemble can that an average
// cannot.
func Experiment() *lab.Experiment {
	return &lab.Experiment{
		Name:  "soups",
		Title: "Which members to average",
		Question: "Is an average of chosen or weighted members, judged on validation pairs, better on unseen debates than the average of all? " +
			"And does an ensemble of members that were pre-trained apart, which cannot be averaged, do better than either?",
		Minutes:   1,
		Settings:  func(s lab.Size) any { return settingsOf(s) },
		Trainings: debates.Trainings(trainings),
		Measure:   func(ctx context.Context, l *lab.Lab) (any, error) { return measure(ctx, l) },
		Analyse:   analyse,
	}
}

// measurements is what was measured.
type measurements struct {
	M     int      `json:"m"`
	Pairs int      `json:"train_pairs"`
	Valid lab.Test `json:"valid"`
	Near  lab.Test `json:"near"`
	Pools []pool   `json:"pools"`
	// Apart compares members that were pre-trained apart; nil with the reason in
	// Skipped.
	Apart   *apart `json:"apart,omitempty"`
	Skipped string `json:"skipped,omitempty"`
}

// pool are the averages of a pool of members.
type pool struct {
	Name    string            `json:"name"`
	Members []scores          `json:"members"`
	Soups   []soup            `json:"soups"`
	Trials  []methods.Average `json:"trials"` // of the greedy soup on validation pairs, in order
}

// scores are the rewards of a model on both sets.
type scores struct {
	Valid lab.Scored `json:"valid"`
	Near  lab.Scored `json:"near"`
}

// soup is a weight average and its margins.
type soup struct {
	Kind    string      `json:"kind"`
	Members []int       `json:"members"`
	Weights []float64   `json:"weights,omitempty"`
	Valid   lab.Rewards `json:"valid"`
	Near    lab.Rewards `json:"near"`
}

// Kinds of soups.
const (
	soupUniform  = "uniform"
	soupGreedy   = "greedy"
	soupWeighted = "weighted by accuracy"
)

// apart are members of two bases that share nothing.
type apart struct {
	Ours   []scores `json:"ours"`
	Theirs []scores `json:"theirs"`
	// WA averages Ours, Mixed all of both.
	WA    soup `json:"wa"`
	Mixed soup `json:"mixed"`
}

func trainings(l *lab.Lab, c *debates.Corpus) ([]lab.Training, error) {
	s := settingsOf(l.Size)
	_, trainings, err := debates.Labellings(l, c, []float64{0, s.Share})
	if err != nil {
		return nil, err
	}
	if len(trainings) != 2 {
		return nil, fmt.Errorf("%d trainings of the shares 0 and %g, want 2", len(trainings), s.Share)
	}
	fast, err := debates.Fast(l, c, s.FastRates)
	return append(trainings, fast), err
}

func measure(ctx context.Context, l *lab.Lab) (*measurements, error) {
	c, err := debates.Read(l)
	if err != nil {
		return nil, err
	}
	trainings, err := trainings(l, c)
	if err != nil {
		return nil, err
	}
	var dirs [3][]string
	for i, t := range trainings {
		if dirs[i], err = l.Members(ctx, t.Name, t.Plan); err != nil {
			return nil, err
		}
	}
	s := settingsOf(l.Size)
	m := &measurements{M: c.M, Pairs: len(c.Train.Pairs), Valid: lab.NewTest("valid", c.Valid),
		Near: lab.NewTest("near", c.Near)}
	for _, p := range []struct {
		name    string
		members []string
	}{
		{fmt.Sprintf("%.0f %% of the labels swapped", 100*s.Share), dirs[1]},
		{"gold labels, some members at several times the usual rate", slices.Concat(dirs[0], dirs[2])},
	} {
		one, err := averages(ctx, l, c, p.members)
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
	m.Apart, err = scoreApart(ctx, l, c, dirs[0])
	if errors.Is(err, debates.ErrNoOther) {
		m.Skipped, err = fmt.Sprintf("no base that was pre-trained apart: %v", err), nil
	}
	return m, err
}

// score scores a model on both sets.
func score(ctx context.Context, l *lab.Lab, c *debates.Corpus, m lab.Model) (*scores, error) {
	valid, err := l.Score(ctx, m, c.Valid)
	if err != nil {
		return nil, err
	}
	near, err := l.Score(ctx, m, c.Near)
	if err != nil {
		return nil, err
	}
	return &scores{*valid, *near}, nil
}

// average averages members with weights, nil for equal ones.
func average(ctx context.Context, l *lab.Lab, c *debates.Corpus, kind string, dirs []string,
	places []int, weights []float64) (*soup, error) {
	margins, err := l.Margins(ctx, lab.Model{Members: methods.Pick(dirs, places), Weights: weights},
		c.Valid, c.Near)
	if err != nil {
		return nil, err
	}
	return &soup{Kind: kind, Members: places, Weights: weights, Valid: margins[0], Near: margins[1]}, nil
}

// accuracy is the share of pairs that margins rank right.
func accuracy(margins []float64) float64 {
	sum := 0.0
	for _, w := range lab.Wins(margins) {
		sum += w
	}
	return sum / float64(len(margins))
}

// averages makes the soups of a pool.
//
// The greedy soup takes members in the order of their accuracy, each that does not
// lower the soup's. Source: Wortsman et al. 2022 (arXiv 2203.05482), recipe 1.
func averages(ctx context.Context, l *lab.Lab, c *debates.Corpus, dirs []string) (*pool, error) {
	out := &pool{}
	var valid []float64
	for _, dir := range dirs {
		t, err := score(ctx, l, c, lab.Model{Members: []string{dir}})
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, *t)
		valid = append(valid, accuracy(t.Valid.Margins()))
	}
	greedy, err := greedy(ctx, l, c, dirs, valid, out)
	if err != nil {
		return nil, err
	}
	weighed, weights := weightsByAccuracy(valid)
	for _, s := range []struct {
		kind    string
		places  []int
		weights []float64
	}{
		{soupUniform, methods.Everyone(len(dirs)), nil},
		{soupGreedy, greedy, nil},
		{soupWeighted, weighed, weights},
	} {
		one, err := average(ctx, l, c, s.kind, dirs, s.places, s.weights)
		if err != nil {
			return nil, err
		}
		out.Soups = append(out.Soups, *one)
	}
	return out, nil
}

func greedy(ctx context.Context, l *lab.Lab, c *debates.Corpus, dirs []string, valid []float64,
	out *pool) ([]int, error) {
	order := ranked(valid)
	chosen, best := order[:1:1], valid[order[0]]
	for _, next := range lab.Through(l, "a greedy soup", order[1:]) {
		trial := slices.Sorted(slices.Values(append(chosen, next)))
		margins, err := l.Margins(ctx, lab.Model{Members: methods.Pick(dirs, trial)}, c.Valid)
		if err != nil {
			return nil, err
		}
		out.Trials = append(out.Trials, methods.Average{Members: trial, Margins: margins[0]})
		if a := accuracy(margins[0].Values()); a >= best {
			chosen, best = trial, a
		}
	}
	return slices.Sorted(slices.Values(chosen)), nil
}

// ranked are the places of values, the largest first.
func ranked(values []float64) []int {
	order := methods.Everyone(len(values))
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	return order
}

// weightsByAccuracy weigh members by how far their accuracy lies above chance, and leave
// out those that are no better; all weigh the same where none is.
func weightsByAccuracy(accuracy []float64) (places []int, weights []float64) {
	sum := 0.0
	for i, a := range accuracy {
		if a > 0.5 {
			places, weights, sum = append(places, i), append(weights, a-0.5), sum+a-0.5
		}
	}
	if places == nil {
		return methods.Everyone(len(accuracy)), nil
	}
	for i := range weights {
		weights[i] /= sum
	}
	return places, weights
}

// scoreApart compares members of the lab's base with those of one pre-trained
// apart.
func scoreApart(ctx context.Context, l *lab.Lab, c *debates.Corpus, ours []string) (*apart, error) {
	theirs, err := debates.Others(ctx, l, c, debates.StartsOf(l.Size))
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
		t, err := score(ctx, l, c, lab.Model{Members: []string{dir}})
		if err != nil {
			return nil, err
		}
		if i < 2*n {
			out.Ours = append(out.Ours, *t)
		} else {
			out.Theirs = append(out.Theirs, *t)
		}
	}
	wa, err := average(ctx, l, c, soupUniform, ours, methods.Everyone(2*n), nil)
	if err != nil {
		return nil, err
	}
	mixed, err := average(ctx, l, c, soupUniform, slices.Concat(ours[:n], theirs), methods.Everyone(2*n), nil)
	if err != nil {
		return nil, err
	}
	out.WA, out.Mixed = *wa, *mixed
	return out, nil
}
