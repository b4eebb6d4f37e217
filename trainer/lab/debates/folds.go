package debates

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
)

// Fold is a division of UKPConvArg1 into debates that members learn from and debates that
// they never see.
type Fold struct {
	// Unseen are the debates of Near, as places in the list of all.
	Unseen []int
	// Train are pairs with gold preferences of the other debates. Valid are the pairs of
	// the same debates that have an argument which is not in Train: in distribution.
	Train, Valid []data.Pair
	// Near are the pairs of the unseen debates.
	Near []data.Pair
	// Votes are the crowd's on pairs of the other debates, those too that have no gold
	// preference, without Valid's arguments (but see [ReadOf]), pairs of equal texts and pairs
	// of which nobody prefers one.
	Votes []data.Votes
}

// lateOf is how many arguments there are to one that is Valid's of a fold: so few that most
// pairs are left to learn from.
const lateOf = 16

// late tells whether an argument is Valid's of every fold that learns from its debate.
func late(s string) bool { return hashed(s)%lateOf == 0 }

// Folds reads the debates, in alphabetical order, and divides them n ways: debate i is unseen
// in fold i modulo n, so that each is unseen once.
func Folds(l *lab.Lab, n int) (debates []string, out []Fold, err error) {
	pairs, names, err := readStrict(l)
	if err != nil {
		return nil, nil, err
	}
	debates = distinct(names)
	if n < 2 || n > len(debates) {
		return nil, nil, fmt.Errorf("%d folds of %d debates, want 2 to as many as there are debates", n, len(debates))
	}
	votes, err := l.ReadVotes(votesFile)
	if err != nil {
		return nil, nil, err
	}
	out = make([]Fold, n)
	for d := range debates {
		out[d%n].Unseen = append(out[d%n].Unseen, d)
	}
	for i, p := range pairs {
		d := slices.Index(debates, names[i])
		held := late(p.Chosen.Plain) || late(p.Rejected.Plain)
		for k := range out {
			switch f := &out[k]; {
			case d%n == k:
				f.Near = append(f.Near, p)
			case held:
				f.Valid = append(f.Valid, p)
			default:
				f.Train = append(f.Train, p)
			}
		}
	}
	for _, v := range votes {
		name, err := ask(&v.Prompt, v.Meta)
		if err != nil {
			return nil, nil, fmt.Errorf("votes %s: %w", v.ID, err)
		}
		first, second, _ := v.Count()
		if first+second == 0 || v.A1.Plain == v.A2.Plain || late(v.A1.Plain) || late(v.A2.Plain) {
			continue
		}
		d := slices.Index(debates, name)
		for k := range out {
			if d >= 0 && d%n != k {
				out[k].Votes = append(out[k].Votes, v)
			}
		}
	}
	return debates, out, nil
}

// ReadOf are the places of the pairs of which both arguments are among those of votes. The two files
// of the data set break lines differently, so that arguments are compared by their words: one
// that [Folds] held out of the pairs, by its text, it may have left in the votes.
func ReadOf(pairs []data.Pair, votes []data.Votes) []int {
	read := map[string]bool{}
	for _, v := range votes {
		read[words(v.A1)], read[words(v.A2)] = true, true
	}
	out := []int{}
	for i, p := range pairs {
		if read[words(p.Chosen)] && read[words(p.Rejected)] {
			out = append(out, i)
		}
	}
	return out
}

// words are a text's, whatever lies between them.
func words(t data.Text) string { return strings.Join(strings.Fields(t.Plain), " ") }

// Place is the place of a pair's debate among all.
func Place(debates []string, p data.Pair) (int, error) {
	var name string
	if err := json.Unmarshal(p.Meta["debate"], &name); err != nil {
		return 0, fmt.Errorf("pair %s: debate: %w", p.ID, err)
	}
	i, ok := slices.BinarySearch(debates, name)
	if !ok {
		return 0, fmt.Errorf("pair %s: debate %q is not among all", p.ID, name)
	}
	return i, nil
}

// WriteVotes writes votes to a file of the lab that trainings read, and returns its path.
func WriteVotes(l *lab.Lab, name string, votes []data.Votes) (string, error) {
	type line struct {
		ID     string   `json:"id"`
		Group  string   `json:"group,omitempty"`
		Prompt string   `json:"prompt,omitempty"`
		A1     string   `json:"a1"`
		A2     string   `json:"a2"`
		Votes  []string `json:"votes"`
	}
	var lines []line
	for _, v := range votes {
		one := line{ID: v.ID, Group: v.Group, Prompt: v.Prompt.Plain, A1: v.A1.Plain, A2: v.A2.Plain}
		for _, vote := range v.Votes {
			one.Votes = append(one.Votes, vote.String())
		}
		lines = append(lines, one)
	}
	path, _, err := lab.WriteLines(l, name, lines)
	return path, err
}
