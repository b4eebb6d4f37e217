package members

import (
	"context"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/judge"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/methods"
	"github.com/warmserve/warmserve/trainer/rm"
)

// settings are those of a size. Of the recipe, TrainPairs bounds the pairs, or votes, of each fold.
type settings struct {
	debates.Recipe
	// Folds are the divisions of the debates, each unseen in one.
	Folds int `json:"folds"`
	// Large says what is done of it from a base of so many weights in products on: the
	// first OfFolds of the folds, with M members of TrainPairs pairs, on gold preferences
	// alone where it says so.
	Large *large `json:"large,omitempty"`
}

type large struct {
	Weights    int64 `json:"weights"`
	OfFolds    int   `json:"of_folds"`
	M          int   `json:"m"`
	TrainPairs int   `json:"train_pairs"`
	GoldAlone  bool  `json:"gold_alone"`
}

func settingsOf(size lab.Size) settings {
	s := settings{Recipe: debates.Recipes[size], Folds: 2}
	switch size {
	case lab.Tiny:
		s.M, s.Epochs = 2, 1
	case lab.Small:
		s.M = 3
	case lab.Standard:
		s.TrainPairs, s.ValidPairs, s.NearPairs, s.Chars, s.Epochs = 0, 500, 1400, 0, 1
		s.Folds, s.Large = 4, &large{Weights: 50_000_000, OfFolds: 1, M: 4, TrainPairs: 1024, GoldAlone: true}
	case lab.Paper:
		s.Chars, s.Epochs, s.Folds = 0, 2, 14
	}
	return s
}

// settingsFor are the settings of a lab's size and base: how many folds are done, and
// whether votes are learned from as well as gold preferences.
func settingsFor(l *lab.Lab) (s settings, folds int, votes bool, err error) {
	s = settingsOf(l.Size)
	folds, votes = s.Folds, true
	if s.Large != nil {
		weights, err := l.Weights()
		if err != nil {
			return s, 0, false, err
		}
		if weights >= s.Large.Weights {
			folds, votes = s.Large.OfFolds, !s.Large.GoldAlone
			s.M, s.TrainPairs = s.Large.M, s.Large.TrainPairs
		}
	}
	return s, folds, votes, nil
}

// Experiment asks what averaging members of one base is worth on debates that none has seen.
func Experiment() *lab.Experiment {
	return &lab.Experiment{
		Name:  "members",
		Title: "Members on debates that they never saw",
		Question: "Every debate is unseen in one of several folds. How accurate are members there, their weight average and their ensemble, over the number of members? " +
			"May two members be averaged, and is the average as good as the ensemble? Labels are gold preferences, or the crowd's votes as they are.",
		Minutes:  3,
		Settings: func(s lab.Size) any { return settingsOf(s) },
		Trainings: func(l *lab.Lab) ([]lab.Training, error) {
			p, err := plan(l)
			if err != nil {
				return nil, err
			}
			var out []lab.Training
			for _, folds := range p.trainings {
				out = append(out, folds...)
			}
			return out, nil
		},
		Measure: func(ctx context.Context, l *lab.Lab) (any, error) { return measure(ctx, l) },
		Analyse: analyse,
	}
}

// measurements is what was measured.
type measurements struct {
	M int `json:"m"`
	// Debates are the names of all; clusters of pairs are places in it.
	Debates []string   `json:"debates"`
	Folds   []fold     `json:"folds"`
	Labels  []labelled `json:"labels"`
}

// fold is what the members of a fold are judged on.
type fold struct {
	Unseen []int    `json:"unseen"` // debates
	Valid  lab.Test `json:"valid"`
	Near   lab.Test `json:"near"`
	// Words are the margins of Near by a bag of words that learned from the gold
	// preferences of the fold's members.
	Words lab.Rewards `json:"words"`
	// Longer are those by the rule "the longer argument": the logarithm of the ratio of the
	// lengths in characters.
	Longer lab.Rewards `json:"longer,omitempty"`
}

// labelled are the members of one kind of labels, fold by fold.
type labelled struct {
	Name string `json:"name"`
	Runs []run  `json:"runs"`
}

// run are the rewards of a fold's members and of their averages.
type run struct {
	Pairs int `json:"pairs"` // that they learned from
	// Read are the places of the pairs of Valid of which these members, of votes, read both
	// arguments; those are not judged on. Nil where it was not measured.
	Read  []int          `json:"read,omitzero"`
	Valid methods.Scores `json:"valid"`
	Near  methods.Scores `json:"near"`
	// Revision is that of the average of all members, where it is served.
	Revision string `json:"revision,omitempty"`
}

// Kinds of labels.
const (
	gold  = "gold preferences"
	crowd = "votes as they are"
)

// planned is the experiment before anything is trained.
type planned struct {
	debates   []string
	folds     []debates.Fold // with the pairs that are sampled of each
	valid     []*lab.Set     // of each fold
	near      []*lab.Set
	trainings [2][]lab.Training // of gold and of crowd, by fold
	m         int
	votes     bool // whether there are any of crowd
	large     bool // settings.Large is done of it
}

// plan draws the pairs and writes the sets.
func plan(l *lab.Lab) (*planned, error) {
	s, done, votes, err := settingsFor(l)
	if err != nil {
		return nil, err
	}
	p := &planned{m: s.M, votes: votes, large: done < s.Folds}
	if p.debates, p.folds, err = debates.Folds(l, s.Folds); err != nil {
		return nil, err
	}
	p.folds = p.folds[:done]
	for k := range p.folds {
		if err := p.prepare(l, &s, k); err != nil {
			return nil, fmt.Errorf("fold %d: %w", k+1, err)
		}
	}
	return p, nil
}

// prepare writes the sets of a fold and plans its members.
func (p *planned) prepare(l *lab.Lab, s *settings, k int) error {
	f := &p.folds[k]
	write := func(what string, pairs *[]data.Pair, n int, seed uint64) (*lab.Set, error) {
		*pairs = s.Sample(*pairs, n, seed)
		return l.NewSet(fmt.Sprintf("fold-%d-%s-%d", k+1, what, len(*pairs)), *pairs)
	}
	train, err := write("train", &f.Train, s.TrainPairs, debates.SeedTrain)
	if err != nil {
		return err
	}
	valid, err := write("valid", &f.Valid, s.ValidPairs, debates.SeedJudge)
	if err != nil {
		return err
	}
	near, err := write("near", &f.Near, s.NearPairs, debates.SeedJudge)
	if err != nil {
		return err
	}
	p.valid, p.near = append(p.valid, valid), append(p.near, near)
	t, err := s.Training(fmt.Sprintf("fold-%d", k+1), l.Base, train)
	if err != nil {
		return err
	}
	p.trainings[0] = append(p.trainings[0], t)
	if !p.votes {
		return nil
	}
	f.Votes = s.sampleVotes(f.Votes)
	voted := t
	voted.Name += "-votes"
	path, err := debates.WriteVotes(l, fmt.Sprintf("fold-%d-votes-%d", k+1, len(f.Votes)), f.Votes)
	if err != nil {
		return err
	}
	voted.Plan.Run.Train, voted.Plan.Run.Votes = []string{path}, rm.SoftVotes
	p.trainings[1] = append(p.trainings[1], voted)
	return nil
}

// sampleVotes draws as many votes as Recipe.Sample draws pairs.
func (s *settings) sampleVotes(votes []data.Votes) []data.Votes {
	pairs := make([]data.Pair, len(votes))
	at := make(map[string]int, len(votes))
	for i, v := range votes {
		pairs[i] = data.Pair{ID: v.ID, Prompt: v.Prompt, Chosen: v.A1, Rejected: v.A2}
		at[v.ID] = i
	}
	var out []data.Votes
	for _, p := range s.Sample(pairs, s.TrainPairs, debates.SeedTrain) {
		out = append(out, votes[at[p.ID]])
	}
	return out
}

func measure(ctx context.Context, l *lab.Lab) (*measurements, error) {
	p, err := plan(l)
	if err != nil {
		return nil, err
	}
	m := &measurements{M: p.m, Debates: p.debates, Labels: []labelled{{Name: gold}}}
	if p.votes {
		m.Labels = append(m.Labels, labelled{Name: crowd})
	}
	for k := range p.folds {
		f, err := p.fold(k)
		if err != nil {
			return nil, fmt.Errorf("fold %d: %w", k+1, err)
		}
		m.Folds = append(m.Folds, *f)
	}
	for i := range m.Labels {
		for k, t := range p.trainings[i] {
			dirs, err := l.Members(ctx, t.Name, t.Plan)
			if err != nil {
				return nil, err
			}
			f := &p.folds[k]
			one := run{Pairs: []int{len(f.Train), len(f.Votes)}[i]}
			if m.Labels[i].Name == crowd {
				one.Read = debates.ReadOf(f.Valid, f.Votes)
			}
			for _, s := range []struct {
				set *lab.Set
				to  *methods.Scores
			}{{p.valid[k], &one.Valid}, {p.near[k], &one.Near}} {
				r, err := methods.Score(ctx, l, s.set, dirs,
					lab.Through(l, "scoring averages on "+s.set.Name, groups(len(dirs))))
				if err != nil {
					return nil, fmt.Errorf("%s: %w", t.Name, err)
				}
				*s.to = *r
			}
			if one.Revision, err = l.Revision(ctx, dirs); err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
			m.Labels[i].Runs = append(m.Labels[i].Runs, one)
		}
	}
	return m, nil
}

// fold is what the members of the k-th fold are judged on, and a bag of words.
func (p *planned) fold(k int) (*fold, error) {
	f := &p.folds[k]
	out := &fold{Unseen: f.Unseen, Valid: lab.Test{Name: "valid"}, Near: lab.Test{Name: "near"}}
	for _, s := range []struct {
		to    *lab.Test
		pairs []data.Pair
	}{{&out.Valid, f.Valid}, {&out.Near, f.Near}} {
		for _, pair := range s.pairs {
			at, err := debates.Place(p.debates, pair)
			if err != nil {
				return nil, err
			}
			s.to.Clusters = append(s.to.Clusters, fmt.Sprint(at))
		}
	}
	for _, pair := range f.Near {
		out.Longer = append(out.Longer, longer(pair))
	}
	var learn []rm.Preference
	for _, pair := range f.Train {
		learn = append(learn, rm.Preference{Pair: pair, Label: 1})
	}
	margins, err := judge.WordMargins(learn, f.Near)
	if err != nil {
		return nil, err
	}
	for _, v := range margins {
		out.Words = append(out.Words, float32(v))
	}
	return out, nil
}

// longer is the margin of a pair by length alone.
func longer(p data.Pair) float32 {
	of := func(t data.Text) float64 { return math.Log(float64(max(1, utf8.RuneCountInString(t.Plain)))) }
	return float32(of(p.Chosen) - of(p.Rejected))
}

// groups are the members to average: every two neighbours, counted around, which is what is
// half-way between them; for more members so many neighbours that each is in a group; and all.
func groups(m int) [][]int {
	var out [][]int
	seen := map[string]bool{}
	for size := 2; size <= m; size++ {
		step := size
		if size == 2 {
			step = 1
		}
		for at := 0; at < m; at += step {
			var group []int
			for i := range size {
				group = append(group, (at+i)%m)
			}
			slices.Sort(group)
			if key := fmt.Sprint(group); !seen[key] {
				seen[key] = true
				out = append(out, group)
			}
		}
	}
	return out
}
