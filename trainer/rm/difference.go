package rm

import "github.com/warmserve/warmserve/trainer/eval"

// NameMembers is the mean of the members' accuracies.
const NameMembers = "a member"

// Difference is how much more often one model is right than another on the same
// pairs. The two are right and wrong on much the same pairs, so that its interval,
// a bootstrap's 95 % over the report's groups or its pairs, is narrower than those of the
// two accuracies would suggest.
type Difference struct {
	Name       string  `json:"name"`
	Than       string  `json:"than"`
	Difference float64 `json:"difference"` // of accuracies
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
}

// compare sets the weight average, or the only model there is, against all others.
// Clusters are the groups of the pairs, or nil.
func (r *Report) compare(clusters []string) error {
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
		mean := func(index []int) float64 {
			sum := 0.0
			for _, i := range index {
				sum += first.won[i] - other.won[i]
			}
			return sum / float64(len(index))
		}
		all := make([]int, len(first.won))
		for i := range all {
			all[i] = i
		}
		d.Difference = mean(all)
		in, err := eval.Bootstrap(len(all), mean, eval.Resampling{Seed: seedResampling, Clusters: clusters})
		if err != nil {
			return err
		}
		d.Low, d.High = in.Low, in.High
		r.Differences = append(r.Differences, d)
	}
	return nil
}

// meanMember wins the share of each pair that members do.
func (r *Report) meanMember() *Judged {
	mean := &Judged{Name: NameMembers, won: make([]float64, len(r.Members[0].won))}
	for i := range r.Members {
		for k, w := range r.Members[i].won {
			mean.won[k] += w / float64(len(r.Members))
		}
	}
	return mean
}
