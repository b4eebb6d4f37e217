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

func parsePublished(f fields, o lineInfo) Published {
	f.wanted = wantedPublished
	p := Published{At: o.at, ID: f.need("pair_id")}
	games := f.list("judgments")
	if len(games) == 0 {
		f.fault("judgments", ErrEmpty, "")
		return p
	}
	// Of the answers in their order; the other one has them exchanged.
	game := f.object("judgments[0]", games[0])
	judgment := game.object("judgment", game.required("judgment"))
	p.Model = judgment.str("judge_model")
	raw := judgment.required("scores")
	var scores []*float64
	if err := json.Unmarshal(raw, &scores); err != nil || len(scores) != 2 || scores[0] == nil ||
		scores[1] == nil {
		judgment.fault("scores", ErrType, "want two numbers")
		return p
	}
	p.Scores = [2]float64{*scores[0], *scores[1]}
	return p
}
