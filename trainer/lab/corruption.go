package lab

import (
	"context"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/data"
)

// corruptionSettings are those of a size.
type corruptionSettings struct {
	recipe
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

func corruptionOf(size Size) corruptionSettings {
	s := corruptionSettings{recipe: recipes[size], Shares: []float64{0, 0.1, 0.25, 0.5}, EMA: 0.95, Orders: 3, Sizes: []int{2, 3, 4}}
	switch size {
	case Tiny:
		s.Shares, s.Orders, s.Sizes = []float64{0, 0.25}, 2, []int{2}
	case Paper:
		s.EMA, s.Orders, s.Sizes = 0.999, 5, []int{2, 3, 4, 5, 6, 7, 8, 9}
	}
	return s
}

// Corruption asks what averaging does to wrong labels.
func Corruption() *Experiment {
	return &Experiment{
		Name:  "corruption",
		Title: "Wrong labels",
		Question: "When preferences contradict each other, does the weight average memorise less than the ensemble and its members, " +
			"and is it more accurate out of distribution? Labels are swapped at random, or are one real vote each.",
		Minutes:  12,
		Settings: func(s Size) any { return corruptionOf(s) },
		Trainings: func(l *Lab) ([]Training, error) {
			c, err := l.corpus()
			if err != nil {
				return nil, err
			}
			_, trainings, err := l.labellings(c)
			return trainings, err
		},
		Measure: func(ctx context.Context, l *Lab) (any, error) { return l.measureCorruption(ctx) },
		Analyse: analyseCorruption,
	}
}

// corruptionMeasured is what was measured.
type corruptionMeasured struct {
	M          int         `json:"m"`
	Pairs      int         `json:"train_pairs"`
	Tests      []test      `json:"tests"`
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
	Results []methods `json:"results"`
}

// methods are the scores of one test.
type methods struct {
	Members  []Scored   `json:"members"`
	EMA      Rewards    `json:"ema,omitempty"` // margins
	Averages []averaged `json:"averages"`      // of members
}

// averaged are the margins of a weight average of members.
type averaged struct {
	Members []int   `json:"members"`
	Margins Rewards `json:"margins"`
}

// realVotes is the name of the labelling by votes.
const realVotes = "real votes"

// labelling is the training pairs with some labels wrong.
type labelling struct {
	name  string
	share float64
	set   *Set
	wrong []int
}

// labellings returns the labellings and the trainings on them, each with its
// moving average as one more member at the end. The members of gold labels are
// those that other experiments have.
func (l *Lab) labellings(c *corpus) ([]labelling, []Training, error) {
	s := corruptionOf(l.Size)
	usual, err := usualRate(l.Base)
	if err != nil {
		return nil, nil, err
	}
	var out []labelling
	for _, share := range s.Shares {
		out = append(out, labelling{name: "gold labels", share: share, set: c.Train})
		if share > 0 {
			out[len(out)-1].name = fmt.Sprintf("%.0f %% swapped", 100*share)
			pairs := swap(c.Train.Pairs, share, seedFlip)
			if out[len(out)-1].set, err = l.NewSet(fmt.Sprintf("%s-c%02.0f", c.Train.Name, 100*share), pairs); err != nil {
				return nil, nil, err
			}
		}
	}
	votes, err := l.NewSet(c.Train.Name+"-votes", vote(c.Train.Pairs, c.votes, seedVote))
	if err != nil {
		return nil, nil, err
	}
	out = append(out, labelling{name: realVotes, set: votes})
	var trainings []Training
	for i := range out {
		b := &out[i]
		for j, p := range b.set.Pairs {
			if p.Chosen.Plain != c.Train.Pairs[j].Chosen.Plain {
				b.wrong = append(b.wrong, j)
			}
		}
		name := "clean"
		if b.set != c.Train {
			name = b.set.Name[len(c.Train.Name)+1:]
		}
		t, err := c.training(name, l.Base, b.set)
		if err != nil {
			return nil, nil, err
		}
		moving := t
		moving.Name = name + "-ema"
		moving.Plan.Members = append(slices.Clone(t.Plan.Members[:0:0]), c.member(0, usual, s.EMA))
		trainings = append(trainings, t, moving)
	}
	return out, trainings, nil
}

// vote gives each pair the label of one of its votes, drawn by a seed among those
// that prefer an answer.
func vote(pairs []data.Pair, votes map[string]data.Votes, seed uint64) []data.Pair {
	out := slices.Clone(pairs)
	for i := range out {
		p := &out[i]
		v := votes[p.ID]
		var preferred []data.Text
		for _, one := range v.Votes {
			switch one {
			case data.First:
				preferred = append(preferred, v.A1)
			case data.Second:
				preferred = append(preferred, v.A2)
			}
		}
		if len(preferred) == 0 {
			continue
		}
		if drawn := preferred[nn.Mix(seed, uint64(i))%uint64(len(preferred))]; drawn.Plain == p.Rejected.Plain {
			p.Chosen, p.Rejected = p.Rejected, p.Chosen
		}
	}
	return out
}

func (l *Lab) measureCorruption(ctx context.Context) (*corruptionMeasured, error) {
	c, err := l.corpus()
	if err != nil {
		return nil, err
	}
	s := corruptionOf(l.Size)
	far, err := l.far(c, testFar, "ethics/test.jsonl.zst")
	if err != nil {
		return nil, err
	}
	labellings, trainings, err := l.labellings(c)
	if err != nil {
		return nil, err
	}
	m := &corruptionMeasured{M: c.M, Pairs: len(c.Train.Pairs), Tests: []test{
		newTest(testTrain, c.Train), newTest(testValid, c.Valid), newTest(testNear, c.Near), newTest(testFar, far)}}
	sets := []*Set{c.Train, c.Valid, c.Near, far}
	for i, b := range labellings {
		members, err := l.Members(ctx, trainings[2*i].Name, trainings[2*i].Plan)
		if err != nil {
			return nil, err
		}
		moving, err := l.Members(ctx, trainings[2*i+1].Name, trainings[2*i+1].Plan)
		if err != nil {
			return nil, err
		}
		one := condition{Name: b.name, Share: b.share, Wrong: b.wrong}
		for _, set := range sets {
			l.progress("scoring "+b.name, len(one.Results), len(sets))
			r, err := l.methods(ctx, members, moving[0], set, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.name, err)
			}
			one.Results = append(one.Results, *r)
		}
		m.Conditions = append(m.Conditions, one)
	}
	return m, nil
}

// methods scores a set with members, their averages and a moving average.
func (l *Lab) methods(ctx context.Context, members []string, moving string, set *Set, s corruptionSettings) (*methods, error) {
	out := &methods{}
	for _, dir := range members {
		scored, err := l.Score(ctx, Model{Members: []string{dir}}, set)
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, *scored)
	}
	margins, err := l.margins(ctx, Model{Members: []string{moving}}, set)
	if err != nil {
		return nil, err
	}
	out.EMA = margins[0]
	for _, places := range beginnings(len(members), s.Orders, s.Sizes) {
		margins, err := l.margins(ctx, Model{Members: pick(members, places)}, set)
		if err != nil {
			return nil, err
		}
		out.Averages = append(out.Averages, averaged{places, margins[0]})
	}
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
		for _, o := range orders(m, n, seedSubsets) {
			if size < m {
				add(o[:size])
			}
		}
	}
	all := orders(m, 1, seedSubsets)[0]
	add(all)
	return out
}
