package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/warm/reward"
)

// rewarder is one way to reward an answer.
type rewarder struct {
	name   string
	reward func(a *scoredAnswer) (float64, error)
}

// judges are the average, every ensemble and each member, as far as they are held.
func (s *scoring) judges() []rewarder {
	d := s.model
	var out []rewarder
	if d.Average() != nil {
		out = append(out, rewarder{"WA", func(a *scoredAnswer) (float64, error) { return float64(a.Reward), nil }})
	}
	if d.Mode == reward.ModeEns || d.Mode == reward.ModeBoth {
		for _, how := range []string{api.AggregateMean, api.AggregateMedian, api.AggregateMin,
			api.AggregateMeanMinusStd, api.AggregateMeanMinusVar} {
			out = append(out, rewarder{"ENS " + how, func(a *scoredAnswer) (float64, error) {
				r, _, err := d.Aggregate(a.members, how, s.flags.lambda)
				return r, err
			}})
		}
	}
	held := 0
	for i, m := range d.Members() {
		if d.Member(i) == nil {
			continue
		}
		at := held
		held++
		out = append(out, rewarder{m.Name, func(a *scoredAnswer) (float64, error) { return float64(a.members[at]), nil }})
	}
	return out
}

// summary prints the accuracy of every judge on the pairs that were scored. A tie
// is no win.
func (s *scoring) summary(w io.Writer) error {
	if len(s.pairs) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "judge\tpairs\taccuracy\t95 %% interval\tties\tmean margin\t\n")
	for _, j := range s.judges() {
		chosen, rejected := make([]float64, len(s.pairs)), make([]float64, len(s.pairs))
		for i, p := range s.pairs {
			var err error
			if chosen[i], err = j.reward(p.chosen); err != nil {
				return err
			}
			if rejected[i], err = j.reward(p.rejected); err != nil {
				return err
			}
		}
		a, err := eval.Compare(chosen, rejected)
		if err != nil {
			return err
		}
		strict := a.Strict()
		fmt.Fprintf(t, "%s\t%d\t%.4f\t%.4f to %.4f\t%d\t%.3f\t\n", j.name, len(s.pairs), strict.Value,
			strict.Low, strict.High, a.Ties, a.Margin)
	}
	return t.Flush()
}
