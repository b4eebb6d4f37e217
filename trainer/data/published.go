package data

import (
	"encoding/json"
	"iter"
)

// Published is what somebody's reward model gave the two answers of a question of JudgeBench.
type Published struct {
	At    Place
	ID    string // of the question
	Model string
	// Scores are those of the first and the second answer, as the question has them.
	Scores [2]float64
}

// wantedPublished is what the files of JudgeBench's outputs hold of reward models.
const wantedPublished = "want pair_id and judgments with a judgment of judge_model and two scores, as JudgeBench publishes them of reward models"

// Published yields the remaining records as rewards that were published, as Pairs does pairs.
func (r *Reader) Published() iter.Seq2[Published, error] {
	return objects(r, parsePublished)
}

func parsePublished(f fields, o lineInfo) (p Published, err error) {
	p.At = o.at
	if p.ID, err = f.need("pair_id", wantedPublished); err != nil {
		return p, err
	}
	games, err := f.list("judgments", wantedPublished)
	if err != nil {
		return p, err
	}
	if len(games) == 0 {
		return p, fault("judgments", ErrEmpty, "")
	}
	const name = "judgments[0]" // of the answers in their order; the other one has them exchanged
	game, err := object(name, games[0])
	if err != nil {
		return p, err
	}
	raw, err := game.required("judgment", wantedPublished)
	if err != nil {
		return p, within(name, err)
	}
	judgment, err := object(name+".judgment", raw)
	if err != nil {
		return p, err
	}
	if p.Model, err = judgment.str("judge_model"); err != nil {
		return p, within(name+".judgment", err)
	}
	if raw, err = judgment.required("scores", wantedPublished); err != nil {
		return p, within(name+".judgment", err)
	}
	var scores []*float64
	if err := json.Unmarshal(raw, &scores); err != nil || len(scores) != 2 || scores[0] == nil ||
		scores[1] == nil {
		return p, fault(name+".judgment.scores", ErrType, "want two numbers")
	}
	p.Scores = [2]float64{*scores[0], *scores[1]}
	return p, nil
}
