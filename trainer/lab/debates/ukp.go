package debates

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
)

// UKP is UKPConvArg1 (Habernal and Gurevych, ACL 2016) as the experiments use it:
// which of two arguments in a debate is more convincing.
type UKP struct {
	// Train are pairs with gold preferences of ten debates, and Valid such pairs of
	// the same debates whose arguments Train does not have: in distribution.
	Train, Valid []data.Pair
	// Near are pairs with gold preferences of the four other debates: near out of
	// distribution.
	Near []data.Pair
	// Votes are the crowd's votes on the pairs of Train, by id.
	Votes map[string]data.Votes
}

// heldOut tells which debates are Near: every third in alphabetical order. The
// embedded model's members have not seen them either.
func heldOut(debates []string, debate string) bool {
	i, found := slices.BinarySearch(debates, debate)
	return found && i%3 == 2
}

const seedValid = 101 // of the choice of the arguments that are held out

// ReadUKP reads and splits the data. An argument is never on both sides: of the
// arguments of the ten debates a third is Valid's, and pairs across are left out.
// A prompt is a debate's question and, on the next line, the side that is argued
// for. It ends its line, so that an argument may follow it without a template.
func ReadUKP(l *lab.Lab) (*UKP, error) {
	votes, err := l.ReadVotes("ukp/votes.jsonl.zst")
	if err != nil {
		return nil, err
	}
	pairs, err := l.ReadPairs("ukp/strict.jsonl.zst")
	if err != nil {
		return nil, err
	}
	var debates []string
	debate := make([]string, len(pairs))
	for i, p := range pairs {
		if err := json.Unmarshal(p.Meta["debate"], &debate[i]); err != nil {
			return nil, fmt.Errorf("pair %s: debate: %w", p.ID, err)
		}
		if !slices.Contains(debates, debate[i]) {
			debates = append(debates, debate[i])
		}
		var stance string
		if err := json.Unmarshal(p.Meta["stance"], &stance); err != nil {
			return nil, fmt.Errorf("pair %s: stance: %w", p.ID, err)
		}
		if stance != "" {
			pairs[i].Prompt.Plain += "\n" + stance
		}
		pairs[i].Prompt.Plain += "\n"
	}
	slices.Sort(debates)
	u := &UKP{Votes: map[string]data.Votes{}}
	for i, p := range pairs {
		a, b := ValidText(p.Chosen.Plain), ValidText(p.Rejected.Plain)
		switch {
		case heldOut(debates, debate[i]):
			u.Near = append(u.Near, p)
		case a && b:
			u.Valid = append(u.Valid, p)
		case !a && !b:
			u.Train = append(u.Train, p)
		}
	}
	train := make(map[string]data.Text, len(u.Train))
	for _, p := range u.Train {
		train[p.ID] = p.Prompt
	}
	for _, v := range votes {
		if prompt, ok := train[v.ID]; ok {
			v.Prompt = prompt
			u.Votes[v.ID] = v
		}
	}
	return u, nil
}

// ValidText tells whether an argument is Valid's, by its text alone.
func ValidText(s string) bool {
	h := uint64(seedValid)
	for _, b := range []byte(s) {
		h = nn.Mix(h, uint64(b))
	}
	return h%3 == 0
}

// Sample returns n of the pairs, drawn by a seed, in their order; all when there
// are fewer.
func Sample(pairs []data.Pair, n int, seed uint64) []data.Pair {
	if len(pairs) <= n {
		return pairs
	}
	chosen := nn.Permutation(len(pairs), seed)[:n]
	slices.Sort(chosen)
	out := make([]data.Pair, n)
	for i, at := range chosen {
		out[i] = pairs[at]
	}
	return out
}
