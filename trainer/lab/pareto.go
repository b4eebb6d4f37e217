package lab

import (
	"context"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/data"
)

// paretoSettings are those of a size.
type paretoSettings struct {
	recipe
	// K members learn each kind of preference, and K learn both.
	K     int `json:"k"`
	Steps int `json:"steps"` // from one kind to the other
}

func paretoOf(size Size) paretoSettings {
	s := paretoSettings{recipe: recipes[size], K: 2, Steps: 8}
	switch size {
	case Tiny:
		s.K, s.Steps = 1, 2
	case Paper:
		s.K, s.Steps = 4, 20
	}
	return s
}

// Pareto asks whether one average serves two kinds of preference.
func Pareto() *Experiment {
	return &Experiment{
		Name:  "pareto",
		Title: "Two kinds of preference",
		Question: "Members learned two kinds of preference from one initialisation. How accurate on both are the averages between them, " +
			"against the ensembles between them and against members that learned both?",
		Minutes:  2,
		Settings: func(s Size) any { return paretoOf(s) },
		Trainings: func(l *Lab) ([]Training, error) {
			c, err := l.corpus()
			if err != nil {
				return nil, err
			}
			clean, err := l.clean(c)
			return []Training{clean}, err // the others begin at its initialisation
		},
		Measure: func(ctx context.Context, l *Lab) (any, error) { return l.measurePareto(ctx) },
		Analyse: analysePareto,
	}
}

// paretoMeasured is what was measured.
type paretoMeasured struct {
	K       int     `json:"k"`
	Pairs   int     `json:"train_pairs"` // of each kind
	Debates test    `json:"debates"`
	Fronts  []front `json:"fronts"`
}

// front is between debates and one other kind of preference.
type front struct {
	Name  string `json:"name"`
	Other test   `json:"other"`
	// First are the members that learned debates, Second those that learned the
	// other kind, Both are averages of members that learned both.
	First  []both    `json:"first"`
	Second []both    `json:"second"`
	Union  kinds     `json:"union"`
	Walk   []weighed `json:"walk"`
}

// both are the rewards of a model on both tests.
type both struct {
	Debates Scored `json:"debates"`
	Other   Scored `json:"other"`
}

// kinds are the margins of a model on both tests.
type kinds struct {
	Debates Rewards `json:"debates"`
	Other   Rewards `json:"other"`
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
func (l *Lab) otherKind(c *corpus, name, trainFile, testFile string) (train, test *Set, err error) {
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
		held := func(p data.Pair) bool { return validText(p.Rejected.Plain) }
		pairs = slices.DeleteFunc(slices.Clone(pairs), held)
		tests = slices.DeleteFunc(tests, func(p data.Pair) bool { return !held(p) })
	}
	for _, s := range []struct {
		set   **Set
		name  string
		pairs []data.Pair
		n     int
		seed  uint64
	}{{&train, name + "-train", pairs, c.TrainPairs, seedTrain}, {&test, name + "-test", tests, c.ValidPairs, seedJudge}} {
		some := c.sample(s.pairs, s.n, s.seed)
		for i := range some {
			some[i].Group = ""
		}
		if *s.set, err = l.NewSet(fmt.Sprintf("%s-%d", s.name, len(some)), some); err != nil {
			return nil, nil, err
		}
	}
	return train, test, nil
}

func (l *Lab) measurePareto(ctx context.Context) (*paretoMeasured, error) {
	c, err := l.corpus()
	if err != nil {
		return nil, err
	}
	s := paretoOf(l.Size)
	clean, err := l.clean(c)
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
	m := &paretoMeasured{K: s.K, Pairs: len(c.Train.Pairs), Debates: newTest("debates", c.Valid)}
	for _, p := range preferences {
		train, test, err := l.otherKind(c, p.name, p.train, p.test)
		if err != nil {
			return nil, err
		}
		union, err := l.NewSet("debates-and-"+train.Name, slices.Concat(c.Train.Pairs, train.Pairs))
		if err != nil {
			return nil, err
		}
		var dirs [2][]string
		for i, set := range []*Set{train, union} {
			r := c.recipe
			r.M = s.K
			t, err := r.training([]string{p.name, "debates-and-" + p.name}[i], begin, set)
			if err != nil {
				return nil, err
			}
			t.Plan.Run.NoProbe = true // the head of debates is everybody's
			if dirs[i], err = l.Members(ctx, t.Name, t.Plan); err != nil {
				return nil, err
			}
		}
		f, err := l.front(ctx, first[:s.K], dirs[0], dirs[1], c.Valid, test, s.Steps)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		f.Name, f.Other = p.name, newTest(p.name, test)
		m.Fronts = append(m.Fronts, *f)
	}
	return m, nil
}

// front scores the members and their averages.
func (l *Lab) front(ctx context.Context, first, second, union []string, debates, other *Set, steps int) (*front, error) {
	f := &front{}
	for _, side := range []struct {
		dirs []string
		to   *[]both
	}{{first, &f.First}, {second, &f.Second}} {
		for _, dir := range side.dirs {
			a, err := l.Score(ctx, Model{Members: []string{dir}}, debates)
			if err != nil {
				return nil, err
			}
			b, err := l.Score(ctx, Model{Members: []string{dir}}, other)
			if err != nil {
				return nil, err
			}
			*side.to = append(*side.to, both{*a, *b})
		}
	}
	margins, err := l.margins(ctx, Model{Members: union}, debates, other)
	if err != nil {
		return nil, err
	}
	f.Union = kinds{margins[0], margins[1]}
	for i := range steps + 1 {
		l.progress("walking between preferences", i, steps+1)
		lambda := float64(i) / float64(steps)
		between := Model{Members: slices.Concat(first, second)}
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
		margins, err := l.margins(ctx, between, debates, other)
		if err != nil {
			return nil, err
		}
		f.Walk = append(f.Walk, weighed{lambda, kinds{margins[0], margins[1]}})
	}
	return f, nil
}
