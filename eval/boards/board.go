package boards

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Item is a question of a board with the scores of its answers.
type Item struct {
	// ID names the question; RewardBench 2 tells by it which questions belong together.
	ID string
	// Subset is where the question counts, in the words of the board's own files.
	Subset string
	// Tags are where it counts besides.
	Tags []string
	// Correct is how many of the answers are right: the first ones.
	Correct int
	// Scores are finite, and of two answers at least; not all of them are right, but where there are Pairs.
	Scores []float64
	// Pairs are a right and a wrong answer each that the board compares, where it does not compare all.
	Pairs [][2]int
}

// tied tells whether a right answer has the score of a wrong one.
func (i *Item) tied() bool {
	for _, s := range i.Scores[:i.Correct] {
		if slices.Contains(i.Scores[i.Correct:], s) {
			return true
		}
	}
	return false
}

// Figure is one number of a board, and what it is made of.
type Figure struct {
	Name string `json:"name"`
	// Value is in [0, 1], but for a margin; nil where there is nothing to compute it from.
	Value *float64 `json:"value"`
	// Items is how many questions it counts, and Ties those of them where a right answer has the score
	// of a wrong one.
	Items int `json:"items"`
	Ties  int `json:"ties"`
	// Weight is what it counts for in the figure that it is a part of, relative to the other parts; 0
	// where that is not a mean of its parts.
	Weight float64 `json:"weight,omitempty"`
	// Missing are the parts that the board has and the data has not. A figure without one of its
	// sections has no value; one without some of its subsets has, as in the board's own program.
	Missing []string `json:"missing,omitempty"`
	Parts   []Figure `json:"parts,omitempty"`
	// Curve is the chance that the best by score of K answers is right, and Possible the chance that one
	// of them is, at K = 1, 2, …; nil but in figures of best of K.
	Curve    []float64 `json:"curve,omitempty"`
	Possible []float64 `json:"possible,omitempty"`
}

// Board is a leaderboard.
type Board struct {
	// Name is what the command calls it, Title what its authors do.
	Name, Title string
	score       func([]Item) ([]Figure, error)
}

// All are the boards, in the order of the alphabet.
var All = []Board{
	{"judgebench", "JudgeBench", judgeBench},
	{"ppe", "PPE", ppe},
	{"rewardbench", "RewardBench", rewardBench},
	{"rewardbench2", "RewardBench 2", rewardBench2},
	{"rm-bench", "RM-Bench", rmBench},
	{"rmb", "RMB", rmb},
}

// Named returns the board of a name.
func Named(name string) (Board, error) {
	var names []string
	for _, b := range All {
		if names = append(names, b.Name); b.Name == name {
			return b, nil
		}
	}
	return Board{}, fmt.Errorf("no board %q; want one of %s", name, strings.Join(names, ", "))
}

// Errors of Score.
var (
	// ErrNoItems: there is nothing to judge.
	ErrNoItems = errors.New("no questions")
	// ErrItem: a question is not one of the board's.
	ErrItem = errors.New("not a question of this board")
)

// Score computes the board's figures. The first is its headline; the others cut the same questions
// another way, or count other ones.
func (b Board) Score(items []Item) ([]Figure, error) {
	if len(items) == 0 {
		return nil, ErrNoItems
	}
	for i := range items {
		x := &items[i]
		if err := x.answers(); err != nil {
			return nil, err
		}
		for _, s := range x.Scores {
			if math.IsNaN(s) || math.IsInf(s, 0) {
				return nil, fmt.Errorf("%w: %s: the score %v", ErrItem, x.ID, s)
			}
		}
	}
	return b.score(items)
}

// answers refuses a question whose right and wrong answers are not as its board wants them.
func (i *Item) answers() error {
	n := len(i.Scores)
	some := i.Correct > 0 && i.Correct < n
	if !some && (i.Pairs == nil || i.Correct < 0 || i.Correct > n || n < 2) {
		return fmt.Errorf("%w: %s: %d of %d answers are right", ErrItem, i.ID, i.Correct, n)
	}
	for _, p := range i.Pairs {
		if p[0] < 0 || p[0] >= i.Correct || p[1] < i.Correct || p[1] >= n {
			return fmt.Errorf("%w: %s: answers %d and %d are no right and wrong one", ErrItem, i.ID, p[0], p[1])
		}
	}
	return nil
}

// share is the mean of what items are worth.
func share(name string, items []Item, worth func(*Item) float64) Figure {
	f := counted(name, items)
	sum := 0.0
	for i := range items {
		sum += worth(&items[i])
	}
	if len(items) > 0 {
		v := sum / float64(len(items))
		f.Value = &v
	}
	return f
}

// counted is a figure of items without its value.
func counted(name string, items []Item) Figure {
	f := Figure{Name: name, Items: len(items)}
	for i := range items {
		if items[i].tied() {
			f.Ties++
		}
	}
	return f
}

// best is 1 where the first answer scores strictly higher than every wrong one.
func best(i *Item) float64 {
	if i.Scores[0] > slices.Max(i.Scores[i.Correct:]) {
		return 1
	}
	return 0
}

// mean is the mean of parts by their weights. It has no value where a part has none.
func mean(name string, parts ...Figure) Figure {
	f := partial(name, parts...)
	if len(f.Missing) > 0 {
		f.Value = nil
	}
	return f
}

// partial is the mean of those parts that have a value.
func partial(name string, parts ...Figure) Figure {
	f := Figure{Name: name}
	sum, weights := 0.0, 0.0
	for _, p := range parts {
		f.Items += p.Items
		f.Ties += p.Ties
		if p.Value == nil {
			f.Missing = append(f.Missing, p.Name)
			if p.Items == 0 {
				continue // nothing to show
			}
		} else {
			sum += p.Weight * *p.Value
			weights += p.Weight
		}
		f.Parts = append(f.Parts, p)
	}
	if weights > 0 {
		v := sum / weights
		f.Value = &v
	}
	return f
}

// weighted gives a part its weight.
func weighted(f Figure, weight float64) Figure {
	f.Weight = weight
	return f
}

// bySubset groups items by a key of theirs.
func bySubset(items []Item, key func(*Item) string) map[string][]Item {
	out := map[string][]Item{}
	for i := range items {
		k := key(&items[i])
		out[k] = append(out[k], items[i])
	}
	return out
}

func subset(i *Item) string { return i.Subset }

// known refuses an item whose subset is none of the board's.
func known(items []Item, key func(*Item) string, want []string) error {
	for i := range items {
		if k := key(&items[i]); !slices.Contains(want, k) {
			return fmt.Errorf("%w: %s is of %q; want one of %s", ErrItem, cmp.Or(items[i].ID, "a question"),
				k, strings.Join(want, ", "))
		}
	}
	return nil
}
