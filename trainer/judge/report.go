package judge

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Names of what is judged beside the members.
const (
	NameWA     = "WA"
	NameEns    = "ENS"
	NameWords  = "a bag of words"
	NameLonger = "the longer answer"
)

// Judged is how one model does. The interval of its accuracy is as the report's
// Interval says; Mean and Std calibrate it in an ensemble.
type Judged struct {
	Name string `json:"name"`
	rm.Score
	// Matched is the accuracy on pairs of about equal lengths; nil without any.
	Matched *rm.Score `json:"length_matched,omitempty"`
	// Groups are the accuracies by group, when there are several, and MatchedGroups
	// those on the pairs of Matched.
	Groups        map[string]float64 `json:"groups,omitempty"`
	MatchedGroups map[string]float64 `json:"length_matched_groups,omitempty"`
	// Reliability is how far its probabilities hold; nil where the scores are no
	// rewards, as lengths are none.
	Reliability *Reliability `json:"reliability,omitempty"`

	won, matchedWon []float64 // of each pair, of all and of Matched's, 1 where the chosen answer scores higher
}

// Reliability is how far a model's probabilities hold, with a 95 % interval.
type Reliability struct {
	eval.Reliability
	ECELow  float64 `json:"ece_low"`
	ECEHigh float64 `json:"ece_high"`
	// Temperature is that of the least log loss, which is Tempered; nil where there
	// is none: every pair is right, or a coin is better.
	Temperature *float64 `json:"temperature"`
	Tempered    *float64 `json:"log_loss_at_temperature"`
}

// Report is how members, their weight average and their ensemble do.
type Report struct {
	Pairs   int `json:"pairs"`
	Dropped int `json:"dropped_pairs,omitempty"`
	// Interval says how the intervals of accuracies were made: by Wilson's formula,
	// or by the bootstrap over groups where there are several, because pairs of
	// one group share texts or judges.
	Interval   string         `json:"interval"`
	GroupPairs map[string]int `json:"group_pairs,omitempty"`
	// MatchedPairs are the length-matched ones of GroupPairs.
	MatchedPairs map[string]int `json:"length_matched_pairs,omitempty"`
	// Served is what a server says of the model that it scored with; nil where
	// checkpoints were scored here.
	Served *Served `json:"served,omitempty"`
	// Device is what scored checkpoints here, and in which number format, where that is
	// not the CPU in float32.
	Device  string   `json:"device,omitempty"`
	Members []Judged `json:"members,omitempty"`
	WA      *Judged  `json:"wa,omitempty"`  // nil for one member
	Ens     *Judged  `json:"ens,omitempty"` // the mean of the members' rewards
	// Longer takes the length in bytes for the reward.
	Longer *Judged `json:"longer_answer"`
	// Words is a bag of words, when there is data for it.
	Words *Judged `json:"bag_of_words,omitempty"`
	// Differences set WA, or the only model there is, against all others.
	Differences []Difference `json:"differences,omitempty"`
	// Folds is how many reports were pooled.
	Folds int `json:"folds,omitempty"`
}

// All are the judged in the order of a table.
func (r *Report) All() []*Judged {
	var out []*Judged
	for i := range r.Members {
		out = append(out, &r.Members[i])
	}
	for _, j := range []*Judged{r.WA, r.Ens, r.Words, r.Longer} {
		if j != nil {
			out = append(out, j)
		}
	}
	return out
}

// seedResampling is the seed of every bootstrap: equal scores give equal reports.
const seedResampling = 1

// begin starts the report of the judge's pairs.
func (j *judge) begin(dropped int) (_ *Report, err error) {
	r := &Report{Pairs: len(j.texts), Dropped: dropped, Interval: "Wilson"}
	if j.engine != nil {
		r.Device = computedOn(j.engine)
	}
	var chosen, rejected []int
	for _, p := range j.texts {
		chosen, rejected = append(chosen, p.Chosen.Len()), append(rejected, p.Rejected.Len())
	}
	if j.matched, err = eval.LengthMatchedPairs(chosen, rejected, j.test.Tolerance); err != nil &&
		!errors.Is(err, eval.ErrEmpty) {
		return nil, err
	}
	count := map[string]int{}
	j.groups = make([]string, len(j.texts))
	for i, p := range j.texts {
		count[p.Group]++
		if j.groups[i] = p.Group; p.Group == "" {
			j.groups[i] = "pair " + strconv.Itoa(i) // of no group: by itself
		}
	}
	if len(count) < 2 {
		j.groups = nil
		return r, nil
	}
	r.GroupPairs, r.MatchedPairs = count, map[string]int{}
	for _, i := range j.matched {
		r.MatchedPairs[j.texts[i].Group]++
	}
	r.Interval = fmt.Sprintf("bootstrap over %d groups", len(count))
	return r, nil
}

// finish judges what needs no reward model, and compares.
func (j *judge) finish(r *Report) (err error) {
	chosen, rejected := make([]float64, len(j.texts)), make([]float64, len(j.texts))
	for i, p := range j.texts {
		chosen[i], rejected[i] = float64(p.Chosen.Len()), float64(p.Rejected.Len())
	}
	if r.Longer, err = j.judged(NameLonger, chosen, rejected); err != nil {
		return err
	}
	r.Longer.Reliability = nil
	if len(j.test.Baseline) > 0 {
		if r.Words, err = j.words(); err != nil {
			return err
		}
	}
	if j.groups == nil {
		return r.compare(nil, nil)
	}
	return r.compare(j.groups, at(j.groups, j.matched))
}

// judged measures scores of the judge's pairs.
func (j *judge) judged(name string, chosen, rejected []float64) (*Judged, error) {
	s, err := rm.NewScore(chosen, rejected)
	if err != nil {
		return nil, err
	}
	out := &Judged{Name: name, Score: *s, won: make([]float64, len(chosen))}
	for i, c := range chosen {
		if c > rejected[i] {
			out.won[i] = 1
		}
	}
	if err := j.interval(&out.Score, chosen, rejected); err != nil {
		return nil, err
	}
	if len(j.matched) > 0 {
		out.matchedWon = at(out.won, j.matched)
		if out.Matched, err = rm.NewScore(at(chosen, j.matched), at(rejected, j.matched)); err != nil {
			return nil, err
		}
	}
	if j.groups != nil {
		names := make([]string, len(j.texts))
		for i, p := range j.texts {
			names[i] = p.Group
		}
		out.Groups = shares(names, out.won)
		out.MatchedGroups = shares(at(names, j.matched), out.matchedWon)
	}
	out.Reliability, err = j.reliability(chosen, rejected)
	return out, err
}

// at returns the values of some indices.
func at[T any](values []T, index []int) []T {
	out := make([]T, len(index))
	for k, i := range index {
		out[k] = values[i]
	}
	return out
}

// shares returns the mean of each group's values.
func shares(groups []string, won []float64) map[string]float64 {
	out, count := map[string]float64{}, map[string]float64{}
	for i, g := range groups {
		out[g] += won[i]
		count[g]++
	}
	for g := range out {
		out[g] /= count[g]
	}
	return out
}

// interval makes the interval that of the bootstrap over groups, where there are
// several. Where every group is won, or none, samples do not scatter, and
// Wilson's interval stays: certainty does not follow.
func (j *judge) interval(s *rm.Score, chosen, rejected []float64) error {
	if j.groups == nil || s.Wins == s.Pairs || s.Wins == 0 {
		return nil
	}
	in, err := eval.StrictInterval(chosen, rejected,
		eval.Resampling{Seed: seedResampling, Clusters: j.groups})
	s.Low, s.High = in.Low, in.High
	return err
}

func (j *judge) reliability(chosen, rejected []float64) (*Reliability, error) {
	margins := make([]float64, len(chosen))
	for i, c := range chosen {
		margins[i] = c - rejected[i]
	}
	bins := eval.DefaultBins(len(margins))
	r, err := eval.Reliable(margins, bins, seedResampling)
	if err != nil {
		return nil, err
	}
	in, err := eval.ECEInterval(margins, bins, eval.Resampling{Seed: seedResampling, Clusters: j.groups})
	if err != nil {
		return nil, err
	}
	out := &Reliability{Reliability: *r, ECELow: in.Low, ECEHigh: in.High}
	if t := r.Temperature; t > 0 && !math.IsInf(t, 1) {
		out.Temperature, out.Tempered = &t, &r.Tempered
	}
	return out, nil
}
