package judge

import (
	"gonum.org/v1/gonum/floats"

	"github.com/warmserve/warmserve/eval"
)

// NameMembers is the mean of the members' accuracies.
const NameMembers = "a member"

// Gap is a difference of accuracies, with a 95 % interval by the bootstrap over
// groups, or over pairs where there are no groups.
type Gap struct {
	Difference float64 `json:"difference"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
}

// Difference is how much more often one model is right than another on the same
// pairs. The two are right and wrong on much the same pairs, so that its interval
// says more than the overlap of the intervals of two accuracies.
type Difference struct {
	Name string `json:"name"`
	Than string `json:"than"`
	Gap
	Matched *Gap `json:"length_matched,omitempty"` // nil without such pairs
}

// compare sets the weight average, or the only model there is, against all others.
// The groups of all pairs and of the length-matched ones may be nil.
func (r *Report) compare(groups, matched []string) error {
	first := r.WA
	switch {
	case first != nil:
	case len(r.Members) == 1:
		first = &r.Members[0]
	default:
		first = r.Ens
	}
	if first == nil {
		return nil
	}
	var others []*Judged
	if len(r.Members) > 1 {
		others = append(others, r.meanMember())
	}
	for _, j := range []*Judged{r.Ens, r.Words, r.Longer} {
		if j != nil && j != first {
			others = append(others, j)
		}
	}
	for _, other := range others {
		d := Difference{Name: first.Name, Than: other.Name}
		all, err := gap(first.won, other.won, groups)
		if err != nil {
			return err
		}
		d.Gap = *all
		if len(first.matchedWon) > 0 {
			if d.Matched, err = gap(first.matchedWon, other.matchedWon, matched); err != nil {
				return err
			}
		}
		r.Differences = append(r.Differences, d)
	}
	return nil
}

// gap compares what two models won.
func gap(a, b []float64, groups []string) (*Gap, error) {
	mean := func(index []int) float64 {
		sum := 0.0
		for _, i := range index {
			sum += a[i] - b[i]
		}
		return sum / float64(len(index))
	}
	e, err := eval.Bootstrap(len(a), mean, eval.Resampling{Seed: seedResampling, Clusters: groups})
	if err != nil {
		return nil, err
	}
	return &Gap{Difference: e.Value, Low: e.Low, High: e.High}, nil
}

// meanMember wins the share of each pair that members do.
func (r *Report) meanMember() *Judged {
	m := &Judged{Name: NameMembers, won: make([]float64, len(r.Members[0].won)),
		matchedWon: make([]float64, len(r.Members[0].matchedWon))}
	share := 1 / float64(len(r.Members))
	for i := range r.Members {
		floats.AddScaled(m.won, share, r.Members[i].won)
		floats.AddScaled(m.matchedWon, share, r.Members[i].matchedWon)
	}
	return m
}
