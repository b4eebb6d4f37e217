package pareto

import (
	"context"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
)

// settings are those of a size.
type settings struct {
	debates.Recipe
	// K members learn each kind of preference, and K learn both.
	K     int `json:"k"`
	Steps int `json:"steps"` // from one kind to the other
}

func settingsOf(size lab.Size) settings {
	s := settings{Recipe: debates.Recipes[size], K: 2, Steps: 8}
	switch size {
	case lab.Tiny:
		s.K, s.Steps = 1, 2
	case lab.Paper:
		s.K, s.Steps = 4, 20
	}
	return s
}

// Experiment asks whether one average serves two kinds of preference.
func Experiment() *lab.Experiment {
	return &lab.Experiment{
		Name:  "pareto",
		Title: "Two kinds of preference",
		Question: "Members learned two kinds of preference from one initialisation. How accurate on both are the averages between them, " +
			"against the ensembles between them and against members that learned both?",
		Minutes:  2,
		Settings: func(s lab.Size) any { return settingsOf(s) },
		Trainings: debates.Trainings(func(l *lab.Lab, c *debates.Corpus) ([]lab.Training, error) {
			clean, err := debates.Clean(l, c)
			return []lab.Training{clean}, err // the others begin at its initialisation
		}),
		Measure: func(ctx context.Context, l *lab.Lab) (any, error) { return measure(ctx, l) },
		Analyse: analyse,
	}
}

// measurements is what was measured.
type measurements struct {
	K       int      `json:"k"`
	Pairs   int      `json:"train_pairs"` // of each kind
	Debates lab.Test `json:"debates"`
	Fronts  []front  `json:"fronts"`
}

// front is between debates and one other kind of preference.
type front struct {
	Name  string   `json:"name"`
	Other lab.Test `json:"other"`
	// First are the members that learned debates, Second those that learned the
	// other kind, Both are averages of members that learned both.
	First  []both    `json:"first"`
	Second []both    `json:"second"`
	Union  kinds     `json:"union"`
	Walk   []weighed `json:"walk"`
}

// both are the rewards of a model on both tests.
type both struct {
	Debates lab.Scored `json:"debates"`
	Other   lab.Scored `json:"other"`
}

// kinds are the margins of a model on both tests.
type kinds struct {
	Debates lab.Rewards `json:"debates"`
	Other   lab.Rewards `json:"other"`
}

// weighed is the average of all members, the second kind's weighing lambda.
type weighed struct {
	Lambda float64 `json:"lambda"`
	kinds
}

// preferences are the other kinds: where pairs to learn from and to judge on are.
// One file is divided by the text of the rejected answer.
var preferences = []struct{ name, train, test string }{
	{"ethics", "ethics/train.jsonl.zst", "ethics/test.jsonl.zst"},
	{"paradetox", "paradetox/pairs.jsonl.zst", "paradetox/pairs.jsonl.zst"},
}

// otherKind returns the training and test pairs of another kind of preference.
func otherKind(l *lab.Lab, c *debates.Corpus, name, trainFile, testFile string) (train, test *lab.Set,
	err error) {
	pairs, err := l.ReadPairs(trainFile)
	if err != nil {
		return nil, nil, err
	}
	tests := pairs
	if testFile != trainFile {
		if tests, err = l.ReadPairs(testFile); err != nil {
			return nil, nil, err
		}
	} else {
		held := func(p data.Pair) bool { return debates.ValidText(p.Rejected.Plain) }
		pairs = slices.DeleteFunc(slices.Clone(pairs), held)
		tests = slices.DeleteFunc(tests, func(p data.Pair) bool { return !held(p) })
	}
	if train, err = c.SampleSet(l, name+"-train", pairs, c.TrainPairs, debates.SeedTrain); err != nil {
		return nil, nil, err
	}
	test, err = c.SampleSet(l, name+"-test", tests, c.ValidPairs, debates.SeedJudge)
	return train, test, err
}

func measure(ctx context.Context, l *lab.Lab) (*measurements, error) {
	c, err := debates.Read(l)
	if err != nil {
		return nil, err
	}
	s := settingsOf(l.Size)
	clean, err := debates.Clean(l, c)
	if err != nil {
		return nil, err
	}
	first, err := l.Members(ctx, clean.Name, clean.Plan)
	if err != nil {
		return nil, err
	}
	begin, err := l.Init(clean.Name, clean.Plan)
	if err != nil {
		return nil, err
	}
	m := &measurements{K: s.K, Pairs: len(c.Train.Pairs), Debates: lab.NewTest("debates", c.Valid)}
	for _, p := range preferences {
		train, test, err := otherKind(l, c, p.name, p.train, p.test)
		if err != nil {
			return nil, err
		}
		union, err := l.NewSet("debates-and-"+train.Name, slices.Concat(c.Train.Pairs, train.Pairs))
		if err != nil {
			return nil, err
		}
		var dirs [2][]string
		for i, set := range []*lab.Set{train, union} {
			r := c.Recipe
			r.M = s.K
			t, err := r.Training([]string{p.name, "debates-and-" + p.name}[i], begin, set)
			if err != nil {
				return nil, err
			}
			t.Plan.Run.NoProbe = true // the head of debates is everybody's
			if dirs[i], err = l.Members(ctx, t.Name, t.Plan); err != nil {
				return nil, err
			}
		}
		f, err := walk(ctx, l, first[:s.K], dirs[0], dirs[1], c.Valid, test, s.Steps)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		f.Name, f.Other = p.name, lab.NewTest(p.name, test)
		m.Fronts = append(m.Fronts, *f)
	}
	return m, nil
}

// walk scores the members and their averages.
func walk(ctx context.Context, l *lab.Lab, first, second, union []string, debates, other *lab.Set,
	steps int) (*front, error) {
	f := &front{}
	for _, side := range []struct {
		dirs []string
		to   *[]both
	}{{first, &f.First}, {second, &f.Second}} {
		for _, dir := range side.dirs {
			a, err := l.Score(ctx, lab.Model{Members: []string{dir}}, debates)
			if err != nil {
				return nil, err
			}
			b, err := l.Score(ctx, lab.Model{Members: []string{dir}}, other)
			if err != nil {
				return nil, err
			}
			*side.to = append(*side.to, both{*a, *b})
		}
	}
	margins, err := l.Margins(ctx, lab.Model{Members: union}, debates, other)
	if err != nil {
		return nil, err
	}
	f.Union = kinds{margins[0], margins[1]}
	for i := range lab.Through(l, "walking between preferences", make([]struct{}, steps+1)) {
		lambda := float64(i) / float64(steps)
		between := lab.Model{Members: slices.Concat(first, second)}
		switch i {
		case 0: // an average leaves out whom it does not weigh
			between.Members = first
		case steps:
			between.Members = second
		default:
			for range first {
				between.Weights = append(between.Weights, (1-lambda)/float64(len(first)))
			}
			for range second {
				between.Weights = append(between.Weights, lambda/float64(len(second)))
			}
		}
		margins, err := l.Margins(ctx, between, debates, other)
		if err != nil {
			return nil, err
		}
		f.Walk = append(f.Walk, weighed{lambda, kinds{margins[0], margins[1]}})
	}
	return f, nil
}
