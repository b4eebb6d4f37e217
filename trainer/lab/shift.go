package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/warmserve/warmserve/trainer/data"
)

// shiftSettings are those of a size.
type shiftSettings struct {
	recipe
	// Shares of wrong labels of which members are compared.
	Shares []float64 `json:"shares"`
	// Splits is the number of random divisions of the members into halves, whose
	// averages are compared with each other.
	Splits int `json:"splits"`
}

func shiftOf(size Size) shiftSettings {
	s := shiftSettings{recipe: recipes[size], Shares: []float64{0, 0.25}, Splits: 3}
	switch size {
	case Tiny:
		s.Splits = 1
	case Paper:
		s.Splits = 10
	}
	return s
}

// Shift asks how accuracy and agreement fall as texts move away from those that
// members learned from.
func Shift() *Experiment {
	return &Experiment{
		Name:  "shift",
		Title: "Further and further from the training pairs",
		Question: "How do accuracy and agreement fall from training pairs over validation pairs and unseen debates to other kinds of text and preference, " +
			"for a member alone, for the weight average and for the ensemble?",
		Minutes:  1,
		Settings: func(s Size) any { return shiftOf(s) },
		Trainings: func(l *Lab) ([]Training, error) {
			c, err := l.corpus()
			if err != nil {
				return nil, err
			}
			_, trainings, err := l.labelled(c, shiftOf(l.Size).Shares)
			return trainings, err
		},
		Measure: func(ctx context.Context, l *Lab) (any, error) { return l.measureShift(ctx) },
		Analyse: analyseShift,
	}
}

// labelled are the labellings of some shares, and the trainings of members on
// them.
func (l *Lab) labelled(c *corpus, shares []float64) ([]labelling, []Training, error) {
	all, trainings, err := l.labellings(c)
	if err != nil {
		return nil, nil, err
	}
	var some []labelling
	var of []Training
	for i, b := range all {
		if b.name != realVotes && slices.Contains(shares, b.share) {
			some, of = append(some, b), append(of, trainings[2*i])
		}
	}
	return some, of, nil
}

// shiftMeasured is what was measured.
type shiftMeasured struct {
	M          int              `json:"m"`
	Pairs      int              `json:"train_pairs"`
	Tests      []shiftTest      `json:"tests"`
	Conditions []shiftCondition `json:"conditions"`
}

// shiftTest is a test and how far its texts are from the training pairs'.
type shiftTest struct {
	test
	// Distance is the Jensen–Shannon divergence of the frequencies of words, in bits,
	// in [0, 1], of equally many words of both sides.
	Distance float64 `json:"distance"`
}

// shiftCondition is what members did that learned from one labelling.
type shiftCondition struct {
	Name    string    `json:"name"`
	Results []methods `json:"results"` // in the order of the tests
}

// shiftPart is a part of a set that is a test of its own.
type shiftPart struct {
	set   *Set
	index []int
}

func (l *Lab) measureShift(ctx context.Context) (*shiftMeasured, error) {
	c, err := l.corpus()
	if err != nil {
		return nil, err
	}
	s := shiftOf(l.Size)
	m := &shiftMeasured{M: c.M, Pairs: len(c.Train.Pairs)}
	parts, err := l.shiftTests(c, m)
	if err != nil {
		return nil, err
	}
	labellings, trainings, err := l.labelled(c, s.Shares)
	if err != nil {
		return nil, err
	}
	for i, b := range labellings {
		members, err := l.Members(ctx, trainings[i].Name, trainings[i].Plan)
		if err != nil {
			return nil, err
		}
		one := shiftCondition{Name: b.name}
		for k, p := range parts {
			l.progress("scoring "+b.name, k, len(parts))
			r, err := l.halves(ctx, members, p.set, s.Splits)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.name, err)
			}
			one.Results = append(one.Results, r.part(p.index))
		}
		m.Conditions = append(m.Conditions, one)
	}
	return m, nil
}

// shiftTests are the sets, unseen debates apart, with their distances.
func (l *Lab) shiftTests(c *corpus, m *shiftMeasured) ([]shiftPart, error) {
	var parts []shiftPart
	add := func(name string, s *Set, index []int) {
		t := newTest(name, s)
		t.Clusters = pick(t.Clusters, index)
		parts = append(parts, shiftPart{s, index})
		m.Tests = append(m.Tests, shiftTest{test: t})
	}
	add("training pairs", c.Fit, everyone(len(c.Fit.Pairs)))
	add("same debates", c.Valid, everyone(len(c.Valid.Pairs)))
	debates := map[string][]int{}
	for i, p := range c.Near.Pairs {
		var debate string
		if err := json.Unmarshal(p.Meta["debate"], &debate); err != nil {
			return nil, fmt.Errorf("pair %s: debate: %w", p.ID, err)
		}
		debates[debate] = append(debates[debate], i)
	}
	for _, d := range sortedKeys(debates) {
		add("debate: "+brief(d), c.Near, debates[d])
	}
	for _, other := range []struct{ name, file string }{
		{"ethics", "ethics/test.jsonl.zst"}, {"hh-harmless", "hh/harmless.jsonl.zst"}, {"paradetox", "paradetox/pairs.jsonl.zst"},
	} {
		s, err := l.far(c, other.name, other.file)
		if err != nil {
			return nil, err
		}
		if len(s.Pairs) > 0 {
			add(other.name, s, everyone(len(s.Pairs)))
		}
	}
	words := make([][]string, len(parts))
	shortest := len(wordsOf(c.Train.Pairs))
	for i, p := range parts {
		words[i] = wordsOf(pick(p.set.Pairs, p.index))
		shortest = min(shortest, len(words[i]))
	}
	for i := range parts {
		m.Tests[i].Distance = divergence(wordsOf(c.Train.Pairs)[:shortest], words[i][:shortest])
	}
	return parts, nil
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// brief is the beginning of a debate's name, two words or three.
func brief(name string) string {
	words := strings.Split(name, "-")
	for len(words) > 1 && len(strings.Join(words, " ")) > 16 {
		words = words[:len(words)-1]
	}
	return strings.Join(words, " ")
}

// wordsOf are the words of the answers of pairs, in lower case.
func wordsOf(pairs []data.Pair) []string {
	var out []string
	for _, p := range pairs {
		for _, t := range []data.Text{p.Chosen, p.Rejected} {
			out = append(out, strings.FieldsFunc(strings.ToLower(t.Plain), func(r rune) bool { return !unicode.IsLetter(r) })...)
		}
	}
	return out
}

// divergence is the Jensen–Shannon divergence of the frequencies of words, in
// bits: 0 for equal ones, 1 for texts without a common word. Texts of few words
// diverge by chance, the more the fewer they are.
// Source: Lin, Divergence measures based on the Shannon entropy, 1991.
func divergence(a, b []string) float64 {
	counts := map[string][2]float64{}
	for side, words := range [][]string{a, b} {
		for _, w := range words {
			c := counts[w]
			c[side] += 1 / float64(len(words))
			counts[w] = c
		}
	}
	sum := 0.0
	for _, w := range sortedKeys(counts) { // sums in one order on every run
		p := counts[w]
		mean := (p[0] + p[1]) / 2
		for _, x := range p {
			if x > 0 {
				sum += x / 2 * math.Log2(x/mean)
			}
		}
	}
	return sum
}

// halves scores a set with members, the average of all, and the averages of
// complementary halves of them.
func (l *Lab) halves(ctx context.Context, members []string, set *Set, splits int) (*methods, error) {
	out := &methods{}
	for _, dir := range members {
		scored, err := l.Score(ctx, Model{Members: []string{dir}}, set)
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, *scored)
	}
	half := len(members) / 2
	wanted := [][]int{everyone(len(members))}
	for _, o := range orders(len(members), splits, seedSubsets) {
		if half > 0 {
			wanted = append(wanted, slices.Sorted(slices.Values(o[:half])), slices.Sorted(slices.Values(o[half:2*half])))
		}
	}
	for _, places := range wanted {
		margins, err := l.margins(ctx, Model{Members: pick(members, places)}, set)
		if err != nil {
			return nil, err
		}
		out.Averages = append(out.Averages, averaged{places, margins[0]})
	}
	return out, nil
}

// part keeps some of the pairs.
func (r *methods) part(index []int) methods {
	var out methods
	for _, s := range r.Members {
		out.Members = append(out.Members, Scored{pick(s.Chosen, index), pick(s.Rejected, index)})
	}
	for _, a := range r.Averages {
		out.Averages = append(out.Averages, averaged{a.Members, pick(a.Margins, index)})
	}
	return out
}
