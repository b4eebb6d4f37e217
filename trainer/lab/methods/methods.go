package methods

import (
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/warm"
)

// Scores are the scores of one test.
type Scores struct {
	Members  []lab.Scored `json:"members"`
	EMA      lab.Rewards  `json:"ema,omitempty"` // margins
	Averages []Average    `json:"averages"`      // of members
}

// Average are the margins of a weight average of members.
type Average struct {
	Members []int       `json:"members"`
	Margins lab.Rewards `json:"margins"`
}

// Method is a way to turn members into one judge.
type Method struct {
	Name string
	// Values are, for each pair of a part, how far the method is right there, in
	// [0, 1].
	Values func(r *Scores, p Part) ([]float64, error)
}

// Part is what a method is judged by: pairs of a test.
type Part struct {
	Name, Title string
	Test        int
	// Index are the test's pairs that count; nil for all.
	Index []int
	// Swapped counts a pair as fit when it is ranked against gold.
	Swapped  bool
	Clusters []string
	// Calibration are the members' rewards on the validation pairs.
	Calibration []warm.Calibration
}

// Right is 1 for each pair of the part that margins rank as the part asks.
func (p *Part) Right(margins []float64) []float64 {
	if p.Index != nil {
		chosen := make([]float64, len(p.Index))
		for i, at := range p.Index {
			chosen[i] = margins[at]
		}
		margins = chosen
	} else {
		margins = slices.Clone(margins)
	}
	if p.Swapped {
		for i := range margins {
			margins[i] = -margins[i]
		}
	}
	return lab.Wins(margins)
}

// single is the mean over the members, each alone.
func single(r *Scores, p Part) ([]float64, error) {
	var sum []float64
	for i := range r.Members {
		v := p.Right(r.Members[i].Margins())
		if sum == nil {
			sum = make([]float64, len(v))
		}
		for j := range v {
			sum[j] += v[j] / float64(len(r.Members))
		}
	}
	return sum, nil
}

// average is the weight average of all members.
func average(r *Scores, p Part) ([]float64, error) {
	for _, a := range r.Averages {
		if len(a.Members) == len(r.Members) {
			return p.Right(a.Margins.Values()), nil
		}
	}
	return nil, fmt.Errorf("no average of all %d members", len(r.Members))
}

// ensemble is an ensemble of all members, each z-scored first when it is
// calibrated.
func ensemble(a warm.Aggregate, lambda float64, calibrated bool) func(*Scores, Part) ([]float64, error) {
	return func(r *Scores, p Part) ([]float64, error) {
		e := warm.Ensemble{Aggregate: a, Lambda: lambda}
		if calibrated {
			e.Calibration = p.Calibration
		}
		margins, err := EnsembleMargins(r.Members, Everyone(len(r.Members)), e)
		if err != nil {
			return nil, err
		}
		return p.Right(margins), nil
	}
}

// The methods that verdicts compare.
var (
	Single = Method{"member alone, mean", single}
	EMA    = Method{"moving average of one run",
		func(r *Scores, p Part) ([]float64, error) { return p.Right(r.EMA.Values()), nil }}
	WA  = Method{"WA", average}
	ENS = Method{"ENS mean", ensemble(warm.Mean, 0, false)}
)

// All are the rows of the tables. z: members z-scored on the validation
// pairs first.
var All = []Method{Single, EMA, WA, ENS,
	{"ENS mean, z", ensemble(warm.Mean, 0, true)},
	{"ENS median, z", ensemble(warm.Median, 0, true)},
	{"ENS min, z", ensemble(warm.Min, 0, true)},
	{"ENS mean − std, z", ensemble(warm.MeanMinusStd, 1, true)},
	{"ENS mean − var, z", ensemble(warm.MeanMinusVar, 1, true)},
}

// Check reports scores that do not fit n pairs.
func (r *Scores) Check(n int) error {
	for i, s := range r.Members {
		if len(s.Chosen) != n || len(s.Rejected) != n {
			return fmt.Errorf("member %d: %d and %d rewards, want %d", i+1, len(s.Chosen), len(s.Rejected), n)
		}
	}
	for _, a := range r.Averages {
		if len(a.Margins) != n || len(a.Members) == 0 || slices.Max(a.Members) >= len(r.Members) ||
			slices.Min(a.Members) < 0 {
			return fmt.Errorf("average of %v: %d margins, want %d of %d members", a.Members, len(a.Margins),
				n, len(r.Members))
		}
	}
	if len(r.Members) == 0 {
		return errors.New("no members")
	}
	return nil
}
