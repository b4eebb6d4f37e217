package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
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
		out = append(out, rewarder{"WA",
			func(a *scoredAnswer) (float64, error) { return float64(a.Reward), nil }})
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
		out = append(out, rewarder{m.Name,
			func(a *scoredAnswer) (float64, error) { return float64(a.members[at]), nil }})
	}
	return out
}

// judgedPairs is how one judge does on the pairs that were scored.
type judgedPairs struct {
	Judge    string  `json:"judge"` // WA, ENS and how, or a member
	Pairs    int     `json:"pairs"`
	Accuracy float64 `json:"accuracy"` // a tie is no win
	Low      float64 `json:"low"`      // of the 95 % interval
	High     float64 `json:"high"`
	Ties     int     `json:"ties"`
	Margin   float64 `json:"margin"` // mean of chosen − rejected
}

// judged is how every judge does; empty where no pair was scored.
func (s *scoring) judged() ([]judgedPairs, error) {
	out := []judgedPairs{}
	if len(s.pairs) == 0 {
		return out, nil
	}
	for _, j := range s.judges() {
		chosen, rejected := make([]float64, len(s.pairs)), make([]float64, len(s.pairs))
		for i, p := range s.pairs {
			var err error
			if chosen[i], err = j.reward(p.chosen); err != nil {
				return nil, err
			}
			if rejected[i], err = j.reward(p.rejected); err != nil {
				return nil, err
			}
		}
		a, err := eval.Compare(chosen, rejected)
		if err != nil {
			return nil, err
		}
		e := a.Strict()
		out = append(out, judgedPairs{j.name, len(s.pairs), e.Value, e.Low, e.High, a.Ties, a.Margin})
	}
	return out, nil
}

// summary prints how every judge does to w, and writes it to the file that --summary names.
func (s *scoring) summary(w io.Writer) error {
	all, err := s.judged()
	if err != nil {
		return err
	}
	if f := s.flags.summary; f != "" {
		data, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(f, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "judge\tpairs\taccuracy\t95 %% interval\tties\tmean margin\t\n")
	for _, j := range all {
		fmt.Fprintf(t, "%s\t%d\t%.4f\t%.4f to %.4f\t%d\t%.3f\t\n", j.Judge, j.Pairs, j.Accuracy,
			j.Low, j.High, j.Ties, j.Margin)
	}
	return t.Flush()
}
