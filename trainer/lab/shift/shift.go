package shift

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

// settings are those of a size.
type settings struct {
	debates.Recipe
	// Shares of wrong labels of which members are compared.
	Shares []float64 `json:"shares"`
	// Splits is the number of random divisions of the members into halves, whose
	// averages are compared with each other.
	Splits int `json:"splits"`
}

func settingsOf(size lab.Size) settings {
	s := settings{Recipe: debates.Recipes[size], Shares: []float64{0, 0.25}, Splits: 3}
	switch size {
	case lab.Tiny:
		s.Splits = 1
	case lab.Paper:
		s.Splits = 10
	}
	return s
}

// Experiment asks how accuracy and agreement fall as texts move away from those that
// members learned from.
func Experiment() *lab.Experiment {
	return &lab.Experiment{
		Name:  "shift",
		Title: "Further and further from the training pairs",
		Question: "How do accuracy and agreement fall from training pairs over validation pairs and unseen debates to other kinds of text and preference, " +
			"for a member alone, for the weight average and for the ensemble?",
		Minutes:  1,
		Settings: func(s lab.Size) any { return settingsOf(s) },
		Trainings: debates.Trainings(func(l *lab.Lab, c *debates.Corpus) ([]lab.Training, error) {
			_, trainings, err := debates.Labellings(l, c, settingsOf(l.Size).Shares)
			return trainings, err
		}),
		Measure: func(ctx context.Context, l *lab.Lab) (any, error) { return measure(ctx, l) },
		Analyse: analyse,
	}
}

// measurements is what was measured.
type measurements struct {
	M          int           `json:"m"`
	Pairs      int           `json:"train_pairs"`
	Tests      []distantTest `json:"tests"`
	Conditions []condition   `json:"conditions"`
}

// distantTest is a test and how far its texts are from the training pairs'.
type distantTest struct {
	lab.Test
	// Distance is the Jensen–Shannon divergence of the frequencies of words, in bits,
	// in [0, 1], of equally many words of both sides.
	Distance float64 `json:"distance"`
}

// condition is what members did that learned from one labelling.
type condition struct {
	Name    string           `json:"name"`
	Results []methods.Scores `json:"results"` // in the order of the tests
}

// testPart is a part of a set that is a test of its own.
type testPart struct {
	set   *lab.Set
	index []int
}

func measure(ctx context.Context, l *lab.Lab) (*measurements, error) {
	c, err := debates.Read(l)
	if err != nil {
		return nil, err
	}
	s := settingsOf(l.Size)
	m := &measurements{M: c.M, Pairs: len(c.Train.Pairs)}
	parts, err := readTests(l, c, m)
	if err != nil {
		return nil, err
	}
	labellings, trainings, err := debates.Labellings(l, c, s.Shares)
	if err != nil {
		return nil, err
	}
	for i, b := range labellings {
		members, err := l.Members(ctx, trainings[i].Name, trainings[i].Plan)
		if err != nil {
			return nil, err
		}
		one := condition{Name: b.Name}
		for _, p := range lab.Through(l, "scoring "+b.Name, parts) {
			r, err := halves(ctx, l, members, p.set, s.Splits)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.Name, err)
			}
			one.Results = append(one.Results, part(r, p.index))
		}
		m.Conditions = append(m.Conditions, one)
	}
	return m, nil
}

// readTests are the sets, unseen debates apart, with their distances.
func readTests(l *lab.Lab, c *debates.Corpus, m *measurements) ([]testPart, error) {
	var parts []testPart
	add := func(name string, s *lab.Set, index []int) {
		t := lab.NewTest(name, s)
		t.Clusters = methods.Pick(t.Clusters, index)
		parts = append(parts, testPart{s, index})
		m.Tests = append(m.Tests, distantTest{Test: t})
	}
	add("training pairs", c.Fit, methods.Everyone(len(c.Fit.Pairs)))
	add("same debates", c.Valid, methods.Everyone(len(c.Valid.Pairs)))
	byDebate := map[string][]int{}
	for i, p := range c.Near.Pairs {
		var debate string
		if err := json.Unmarshal(p.Meta["debate"], &debate); err != nil {
			return nil, fmt.Errorf("pair %s: debate: %w", p.ID, err)
		}
		byDebate[debate] = append(byDebate[debate], i)
	}
	for _, d := range slices.Sorted(maps.Keys(byDebate)) {
		add("debate: "+brief(d), c.Near, byDebate[d])
	}
	for _, other := range []struct{ name, file string }{
		{"ethics", "ethics/test.jsonl.zst"}, {"hh-harmless", "hh/harmless.jsonl.zst"},
		{"paradetox", "paradetox/pairs.jsonl.zst"},
	} {
		s, err := debates.Far(l, c, other.name, other.file)
		if err != nil {
			return nil, err
		}
		if len(s.Pairs) > 0 {
			add(other.name, s, methods.Everyone(len(s.Pairs)))
		}
	}
	words := make([][]string, len(parts))
	shortest := len(wordsOf(c.Train.Pairs))
	for i, p := range parts {
		words[i] = wordsOf(methods.Pick(p.set.Pairs, p.index))
		shortest = min(shortest, len(words[i]))
	}
	for i := range parts {
		m.Tests[i].Distance = divergence(wordsOf(c.Train.Pairs)[:shortest], words[i][:shortest])
	}
	return parts, nil
}

// brief is the beginning of a debate's name, two words or three.
func brief(name string) string {
	words := strings.Split(name, "-")
	for len(words) > 1 && len(strings.Join(words, " ")) > 16 {
		words = words[:len(words)-1]
	}
	return strings.Join(words, " ")
}

// halves scores a set with members, the average of all, and the averages of
// complementary halves of them.
func halves(ctx context.Context, l *lab.Lab, members []string, set *lab.Set,
	splits int) (*methods.Scores, error) {
	half := len(members) / 2
	wanted := [][]int{methods.Everyone(len(members))}
	for _, o := range methods.Orders(len(members), splits, debates.SeedSubsets) {
		if half > 0 {
			wanted = append(wanted, slices.Sorted(slices.Values(o[:half])),
				slices.Sorted(slices.Values(o[half:2*half])))
		}
	}
	return methods.Score(ctx, l, set, members, slices.All(wanted))
}

// part keeps some of the pairs.
func part(r *methods.Scores, index []int) methods.Scores {
	var out methods.Scores
	for _, s := range r.Members {
		out.Members = append(out.Members, lab.Scored{Chosen: methods.Pick(s.Chosen, index),
			Rejected: methods.Pick(s.Rejected, index)})
	}
	for _, a := range r.Averages {
		out.Averages = append(out.Averages, methods.Average{Members: a.Members,
			Margins: methods.Pick(a.Margins, index)})
	}
	return out
}
