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
	// Train are pairs with gold preferences of ten debates, or of half of the fourteen, and
	// Valid such pairs of the same debates whose arguments Train does not have: in distribution.
	Train, Valid []data.Pair
	// Near are pairs with gold preferences of the other debates: near out of distribution.
	Near []data.Pair
	// Votes are the crowd's votes on the pairs of Train, by id.
	Votes map[string]data.Votes
}

// division says which debates are Near: the last of every so many, in alphabetical order.
type division int

const (
	thirds division = 3 // the embedded model's members have not seen Near's debates either
	halves division = 2
)

func (d division) near(debates []string, debate string) bool {
	i, found := slices.BinarySearch(debates, debate)
	return found && i%int(d) == int(d)-1
}

const seedValid = 101 // of the choice of the arguments that are held out

// readUKP reads and splits the data. An argument is never on both sides: of the
// arguments of Train's debates a third is Valid's, and pairs across are left out.
// A prompt is a debate's question and, on the next line, the side that is argued
// for. It ends its line, so that an argument may follow it without a template.
func readUKP(l *lab.Lab, d division) (*UKP, error) {
	votes, err := l.ReadVotes(votesFile)
	if err != nil {
		return nil, err
	}
	pairs, names, err := readStrict(l)
	if err != nil {
		return nil, err
	}
	debates := distinct(names)
	u := &UKP{Votes: map[string]data.Votes{}}
	var seen []data.Pair
	for i, p := range pairs {
		if d.near(debates, names[i]) {
			u.Near = append(u.Near, p)
		} else {
			seen = append(seen, p)
		}
	}
	u.Train, u.Valid = ByArguments(seen)
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

const (
	strictFile = "ukp/strict.jsonl.zst"
	votesFile  = "ukp/votes.jsonl.zst"
)

// readStrict reads the pairs with gold preferences, as they are asked, and the debate of each.
func readStrict(l *lab.Lab) (pairs []data.Pair, debates []string, err error) {
	if pairs, err = l.ReadPairs(strictFile); err != nil {
		return nil, nil, err
	}
	debates = make([]string, len(pairs))
	for i := range pairs {
		p := &pairs[i]
		if debates[i], err = ask(&p.Prompt, p.Meta); err != nil {
			return nil, nil, fmt.Errorf("pair %s: %w", p.ID, err)
		}
	}
	return pairs, debates, nil
}

// ask completes a prompt by the side that is argued for, and returns the debate.
func ask(prompt *data.Text, meta map[string]json.RawMessage) (debate string, err error) {
	if err := json.Unmarshal(meta["debate"], &debate); err != nil {
		return "", fmt.Errorf("debate: %w", err)
	}
	var stance string
	if err := json.Unmarshal(meta["stance"], &stance); err != nil {
		return "", fmt.Errorf("stance: %w", err)
	}
	if stance != "" {
		prompt.Plain += "\n" + stance
	}
	prompt.Plain += "\n"
	return debate, nil
}

// distinct are names, each once, in alphabetical order.
func distinct(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// ValidText tells whether an argument is Valid's, by its text alone.
func ValidText(s string) bool { return hashed(s)%3 == 0 }

// hashed is a number of a text alone.
func hashed(s string) uint64 {
	h := uint64(seedValid)
	for _, b := range []byte(s) {
		h = nn.Mix(h, uint64(b))
	}
	return h
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
