package debates

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
)

// swap exchanges the answers of a share of pairs, drawn by a seed. A larger share
// includes a smaller one's pairs.
func swap(pairs []data.Pair, share float64, seed uint64) []data.Pair {
	out := slices.Clone(pairs)
	for i := range out {
		if nn.Uniform(nn.Mix(seed, uint64(i))) < share {
			out[i].Chosen, out[i].Rejected = out[i].Rejected, out[i].Chosen
		}
	}
	return out
}

// Labelling is the training pairs with some labels wrong.
type Labelling struct {
	Name  string
	Share float64
	set   *lab.Set
	Wrong []int
}

// Labellings returns the labellings of some shares of swapped labels, and the
// trainings of members on them. The members of gold labels are those that other
// experiments have.
func Labellings(l *lab.Lab, c *Corpus, shares []float64) ([]Labelling, []lab.Training, error) {
	var out []Labelling
	for _, share := range shares {
		b := Labelling{Name: "gold labels", Share: share, set: c.Train}
		if share > 0 {
			b.Name = fmt.Sprintf("%.0f %% swapped", 100*share)
			var err error
			if b.set, err = Swapped(l, c, share); err != nil {
				return nil, nil, err
			}
		}
		out = append(out, b)
	}
	trainings, err := labelled(l, c, out)
	return out, trainings, err
}

// Swapped are the training pairs, the labels of a share of them swapped.
func Swapped(l *lab.Lab, c *Corpus, share float64) (*lab.Set, error) {
	return l.NewSet(fmt.Sprintf("%s-c%02.0f", c.Train.Name, 100*share), swap(c.Train.Pairs, share, seedFlip))
}

// Voted is the labelling by one real vote for each pair, and the training of members
// on it.
func Voted(l *lab.Lab, c *Corpus) (Labelling, lab.Training, error) {
	set, err := l.NewSet(c.Train.Name+"-votes", vote(c.Train.Pairs, c.UKP.Votes, seedVote))
	if err != nil {
		return Labelling{}, lab.Training{}, err
	}
	out := []Labelling{{Name: "real votes", set: set}}
	trainings, err := labelled(l, c, out)
	if err != nil {
		return Labelling{}, lab.Training{}, err
	}
	return out[0], trainings[0], nil
}

// labelled notes which labels are wrong, and returns the trainings on labellings.
func labelled(l *lab.Lab, c *Corpus, labellings []Labelling) ([]lab.Training, error) {
	var trainings []lab.Training
	for i := range labellings {
		b := &labellings[i]
		for j, p := range b.set.Pairs {
			if p.Chosen.Plain != c.Train.Pairs[j].Chosen.Plain {
				b.Wrong = append(b.Wrong, j)
			}
		}
		name := "clean"
		if b.set != c.Train {
			name = b.set.Name[len(c.Train.Name)+1:]
		}
		t, err := c.Training(name, l.Base, b.set)
		if err != nil {
			return nil, err
		}
		trainings = append(trainings, t)
	}
	return trainings, nil
}

// vote gives each pair the label of one of its votes, drawn by a seed among those
// that prefer an answer. Answers are compared by their words: the two files of the data
// set break lines differently.
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
		if drawn := preferred[nn.Mix(seed,
			uint64(i))%uint64(len(preferred))]; words(drawn) == words(p.Rejected) {
			p.Chosen, p.Rejected = p.Rejected, p.Chosen
		}
	}
	return out
}
