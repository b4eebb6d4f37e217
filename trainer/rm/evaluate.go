package rm

import (
	"math"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/state"
)

// Score is how a model, or an ensemble, does on test pairs.
type Score struct {
	Pairs    int     `json:"pairs"`
	Wins     int     `json:"wins"` // pairs whose chosen score is larger
	Ties     int     `json:"ties"`
	Accuracy float64 `json:"accuracy"` // wins / pairs: a tie is a loss
	Low      float64 `json:"low"`      // of the accuracy's 95 % Wilson interval
	High     float64 `json:"high"`
	Margin   float64 `json:"margin"` // mean of chosen − rejected
	Mean     float64 `json:"mean"`   // of all rewards
	Std      float64 `json:"std"`    // of all rewards, of the population
}

// evaluate scores the test pairs as the server would.
func (r *run) evaluate() (*Score, error) {
	m := r.t.Model()
	if r.config.BF16 { // it is served in float32 unless somebody asks
		var err error
		if m, err = model.Load(r.base.parsed, state.NewWeights(r.t.Params()), model.LoadOptions{}); err != nil {
			return nil, err
		}
	}
	chosen, rejected, err := scorePairs(r.engine, m, r.data.test)
	if err != nil {
		return nil, err
	}
	return newScore(chosen, rejected)
}

// scorePairs scores both answers of each example.
func scorePairs(e *model.Engine, m *model.Model, pairs []example) (chosen, rejected []float64, err error) {
	const batch = 256 // pairs at a time
	scores := make([]float32, 2*batch)
	for at := 0; at < len(pairs); at += batch {
		part := pairs[at:min(len(pairs), at+batch)]
		var seqs []model.Sequence
		for i := range part {
			seqs = append(seqs, part[i].chosen, part[i].rejected)
		}
		if err := e.Score(m, scores[:len(seqs)], seqs); err != nil {
			return nil, nil, err
		}
		for i := range part {
			chosen, rejected = append(chosen, float64(scores[2*i])), append(rejected, float64(scores[2*i+1]))
		}
	}
	return chosen, rejected, nil
}

func newScore(chosen, rejected []float64) (*Score, error) {
	a, err := eval.Compare(chosen, rejected)
	if err != nil {
		return nil, err
	}
	s := &Score{Pairs: a.Pairs, Wins: a.Wins, Ties: a.Ties, Margin: a.Margin}
	s.settle()
	n := float64(2 * a.Pairs)
	for i, c := range chosen {
		s.Mean += (c + rejected[i]) / n
	}
	square := 0.0
	for i, c := range chosen {
		x, y := c-s.Mean, rejected[i]-s.Mean
		square += (x*x + y*y) / n
	}
	s.Std = math.Sqrt(square)
	return s, nil
}
