package corruption

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

// settings are those of a size.
type settings struct {
	debates.Recipe
	// Shares of the training pairs are swapped, the larger share's including the
	// smaller's.
	Shares []float64 `json:"shares"`
	// EMA is the decay of the moving average of the weights of one run, the first
	// member's.
	EMA float64 `json:"ema"`
	// Orders is the number of random orders of the members, whose beginnings are
	// averaged for each of Sizes; the average of all members is one more.
	Orders int   `json:"orders"`
	Sizes  []int `json:"sizes"`
}

func settingsOf(size lab.Size) settings {
	s := settings{Recipe: debates.Recipes[size], Shares: []float64{0, 0.1, 0.25, 0.5}, EMA: 0.95,
		Orders: 3, Sizes: []int{2, 3, 4}}
	switch size {
	case lab.Tiny:
		s.Shares, s.Orders, s.Sizes = []float64{0, 0.25}, 2, []int{2}
	case lab.Standard:
		s.Shares = []float64{0, 0.25}
	case lab.Paper:
		s.EMA, s.Orders, s.Sizes = 0.999, 5, []int{2, 3, 4, 5, 6, 7, 8, 9}
	}
	return s
}

// Experiment asks what averaging does to wrong labels.
func Experiment() *lab.Experiment {
	return &lab.Experiment{
		Name:  "corruption",
		Title: "Wrong labels",
		Question: "When preferences contradict each other, does the weight average memorise less than the ensemble and its members, " +
			"and is it more accurate out of distribution? Labels are swapped at random, or are one real vote each.",
		Minutes:  12,
		Settings: func(s lab.Size) any { return settingsOf(s) },
		Trainings: debates.Trainings(func(l *lab.Lab, c *debates.Corpus) ([]lab.Training, error) {
			_, trainings, err := conditions(l, c)
			return trainings, err
		}),
		Measure: func(ctx context.Context, l *lab.Lab) (any, error) { return measure(ctx, l) },
		Analyse: analyse,
	}
}

// measurements is what was measured.
type measurements struct {
	M          int         `json:"m"`
	Pairs      int         `json:"train_pairs"`
	Tests      []lab.Test  `json:"tests"`
	Conditions []condition `json:"conditions"`
}

// The tests of a condition, by name.
const (
	testTrain = "train" // the training pairs, as gold has them
	testValid = "valid"
	testNear  = "near"
	testFar   = "ethics"
)

// condition is what members did that learned from one labelling.
type condition struct {
	Name string `json:"name"`
	// Share of the training pairs was to be swapped; 0 for the votes.
	Share float64 `json:"share"`
	// Wrong are the training pairs whose label was not gold's, by index.
	Wrong []int `json:"wrong"`
	// Results are in the order of Tests.
	Results []methods.Scores `json:"results"`

	parts []methods.Part // that it is judged by
}

// conditions returns the labellings and the trainings on them, each with its moving
// average as one more member at the end.
func conditions(l *lab.Lab, c *debates.Corpus) ([]debates.Labelling, []lab.Training, error) {
	s := settingsOf(l.Size)
	usual, err := debates.UsualRate(l.Base)
	if err != nil {
		return nil, nil, err
	}
	out, trainings, err := debates.Labellings(l, c, s.Shares)
	if err != nil {
		return nil, nil, err
	}
	votes, voting, err := debates.Voted(l, c)
	if err != nil {
		return nil, nil, err
	}
	var both []lab.Training
	for _, t := range append(trainings, voting) {
		moving := t
		moving.Name += "-ema"
		moving.Plan.Members = []json.RawMessage{c.Member(0, usual, s.EMA)}
		both = append(both, t, moving)
	}
	return append(out, votes), both, nil
}

func measure(ctx context.Context, l *lab.Lab) (*measurements, error) {
	c, err := debates.Read(l)
	if err != nil {
		return nil, err
	}
	s := settingsOf(l.Size)
	far, err := debates.Far(l, c, testFar, "ethics/test.jsonl.zst")
	if err != nil {
		return nil, err
	}
	labellings, trainings, err := conditions(l, c)
	if err != nil {
		return nil, err
	}
	m := &measurements{M: c.M, Pairs: len(c.Train.Pairs), Tests: []lab.Test{
		lab.NewTest(testTrain, c.Train), lab.NewTest(testValid, c.Valid), lab.NewTest(testNear, c.Near),
		lab.NewTest(testFar, far)}}
	sets := []*lab.Set{c.Train, c.Valid, c.Near, far}
	for i, b := range labellings {
		members, err := l.Members(ctx, trainings[2*i].Name, trainings[2*i].Plan)
		if err != nil {
			return nil, err
		}
		moving, err := l.Members(ctx, trainings[2*i+1].Name, trainings[2*i+1].Plan)
		if err != nil {
			return nil, err
		}
		one := condition{Name: b.Name, Share: b.Share, Wrong: b.Wrong}
		for _, set := range lab.Through(l, "scoring "+b.Name, sets) {
			r, err := scoreMethods(ctx, l, members, moving[0], set, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.Name, err)
			}
			one.Results = append(one.Results, *r)
		}
		m.Conditions = append(m.Conditions, one)
	}
	return m, nil
}

// scoreMethods scores a set with members, their averages and a moving average.
func scoreMethods(ctx context.Context, l *lab.Lab, members []string, moving string, set *lab.Set,
	s settings) (*methods.Scores, error) {
	out, err := methods.Score(ctx, l, set, members, slices.All(beginnings(len(members), s.Orders, s.Sizes)))
	if err != nil {
		return nil, err
	}
	margins, err := l.Margins(ctx, lab.Model{Members: []string{moving}}, set)
	if err != nil {
		return nil, err
	}
	out.EMA = margins[0]
	return out, nil
}

// beginnings are the sets of members to average: the beginnings of some sizes of
// random orders, each once, and all members.
func beginnings(m, n int, sizes []int) [][]int {
	var out [][]int
	seen := map[string]bool{}
	add := func(places []int) {
		places = slices.Sorted(slices.Values(places))
		if key := fmt.Sprint(places); !seen[key] {
			seen[key] = true
			out = append(out, places)
		}
	}
	for _, size := range sizes {
		for _, o := range methods.Orders(m, n, debates.SeedSubsets) {
			if size < m {
				add(o[:size])
			}
		}
	}
	all := methods.Orders(m, 1, debates.SeedSubsets)[0]
	add(all)
	return out
}
