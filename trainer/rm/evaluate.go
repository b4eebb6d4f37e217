package rm

import (
	"context"
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
func (r *run) evaluate(ctx context.Context) (*Score, error) {
	m := r.t.Model()
	if r.config.BF16 { // it is served in float32 unless somebody asks
		var err error
		if m, err = model.Load(r.base.parsed, state.NewWeights(r.t.Params()),
			model.LoadOptions{}); err != nil {
			return nil, err
		}
	}
	chosen, rejected, err := ScorePairs(ctx, r.engine, m, r.data.test)
	if err != nil {
		return nil, err
	}
	return NewScore(chosen, rejected)
}

// ScorePairs scores both answers of each example, or ends with ctx's error.
func ScorePairs(ctx context.Context, e model.Engine, m model.Model, pairs []Example) (chosen,
	rejected []float64, err error) {
	const batch = 64 // pairs at a time
	scores := make([]float32, 2*batch)
	for at := 0; at < len(pairs); at += batch {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		part := pairs[at:min(len(pairs), at+batch)]
		var seqs []model.Sequence
		for i := range part {
			seqs = append(seqs, part[i].Chosen, part[i].Rejected)
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

// NewScore measures scores of pairs.
func NewScore(chosen, rejected []float64) (*Score, error) {
	a, err := eval.Compare(chosen, rejected)
	if err != nil {
		return nil, err
	}
	s := &Score{Pairs: a.Pairs, Wins: a.Wins, Ties: a.Ties, Margin: a.Margin}
	s.Settle()
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

// Settle sets accuracy and Wilson's interval by the counts.
func (s *Score) Settle() {
	e := eval.Share(s.Wins, s.Pairs)
	s.Accuracy, s.Low, s.High = e.Value, e.Low, e.High
}

// Add counts the pairs of another fold. Mean and spread of all rewards stay zero: those of one
// fold's model say nothing of another's.
func (s *Score) Add(fold *Score) {
	n, m := float64(s.Pairs), float64(fold.Pairs)
	s.Margin = (n*s.Margin + m*fold.Margin) / (n + m)
	s.Pairs += fold.Pairs
	s.Wins += fold.Wins
	s.Ties += fold.Ties
}
