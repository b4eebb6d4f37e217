package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model/reward"
)

// judge is one way to reward an answer.
type judge struct {
	name   string
	reward func(a *scoredAnswer) (float64, error)
}

// judges are the average, every ensemble and each member, as far as they are held.
func (s *scoring) judges() []judge {
	d := s.model
	var out []judge
	if d.Average() != nil {
		out = append(out, judge{"WA", func(a *scoredAnswer) (float64, error) { return float64(a.Reward), nil }})
	}
	if d.Mode == reward.ModeEns || d.Mode == reward.ModeBoth {
		for _, how := range []string{api.AggregateMean, api.AggregateMedian, api.AggregateMin, api.AggregateMeanMinusStd, api.AggregateMeanMinusVar} {
			out = append(out, judge{"ENS " + how, func(a *scoredAnswer) (float64, error) {
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
		out = append(out, judge{m.Name, func(a *scoredAnswer) (float64, error) { return float64(a.members[at]), nil }})
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
		wins, ties, margin := 0, 0, 0.0
		for _, p := range s.pairs {
			c, err := j.reward(p.chosen)
			if err != nil {
				return err
			}
			r, err := j.reward(p.rejected)
			if err != nil {
				return err
			}
			margin += (c - r) / float64(len(s.pairs))
			switch {
			case c > r:
				wins++
			case c == r:
				ties++
			}
		}
		lo, hi := wilson(wins, len(s.pairs))
		fmt.Fprintf(t, "%s\t%d\t%.4f\t%.4f to %.4f\t%d\t%.3f\t\n", j.name, len(s.pairs), float64(wins)/float64(len(s.pairs)), lo, hi, ties, margin)
	}
	return t.Flush()
}

// wilson returns the 95 % score interval of a share. Source: Wilson 1927.
func wilson(wins, n int) (lo, hi float64) {
	const z = 1.959963984540054
	p, m := float64(wins)/float64(n), float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return mid - half, mid + half
}
