package judge

import (
	"fmt"
	"math"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/data"
)

// Distance is how far rewards are from those that others had of the same answers.
type Distance struct {
	// Model is whose rewards they are, as the file says.
	Model string `json:"model"`
	Pairs int    `json:"pairs"`
	// Alone is how many questions stand in one of the files only.
	Alone int `json:"pairs_in_one_file_only,omitempty"`
	// Differ are the questions whose answers are in another order, a tie included.
	Differ []string `json:"pairs_in_another_order"`
	// Mean is the mean of ours − theirs over all answers, Absolute that of |ours − theirs|, and Most the
	// largest of these. One that is the same everywhere is an offset, which no order shows.
	Mean     float64 `json:"mean_difference"`
	Absolute float64 `json:"mean_absolute_difference"`
	Most     float64 `json:"largest_difference"`
	// Pearson and Spearman are over all answers, with the pairs as the sample; nil where one side gives
	// every answer the same reward.
	Pearson  *eval.Estimate `json:"pearson,omitempty"`
	Spearman *eval.Estimate `json:"spearman,omitempty"`
}

// published are rewards of others, by question.
type published struct {
	file, model string
	scores      map[string][2]float64
}

// readPublished reads a file of JudgeBench's outputs.
func readPublished(path string) (*published, error) {
	f, err := data.Open(path, data.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	p := &published{file: path, scores: map[string][2]float64{}}
	bad := &data.Bad{File: path}
	err = data.Each(f.Published(), bad, func(x data.Published) error {
		p.model = x.Model
		if _, ok := p.scores[x.ID]; ok {
			return &data.Error{Place: x.At, Field: "pair_id", Err: fmt.Errorf("%s stands twice", x.ID)}
		}
		p.scores[x.ID] = x.Scores
		return nil
	})
	if err == nil {
		err = bad.Err(false)
	}
	if err == nil && len(p.scores) == 0 {
		err = fmt.Errorf("%s: no rewards in it", path)
	}
	return p, err
}

// distance sets rewards against those published.
func (p *published) distance(questions []data.Question, rewards [][]float64) (*Distance, error) {
	d := &Distance{Model: p.model, Differ: []string{}}
	var ours, theirs []float64
	for i := range questions {
		q := &questions[i]
		want, ok := p.scores[q.ID]
		if !ok {
			continue
		}
		d.Pairs++
		a, b := rewards[i][0], rewards[i][1]
		if q.Swapped { // the right answer is ours first, and theirs as it stands
			a, b = b, a
		}
		if (a > b) != (want[0] > want[1]) || (a < b) != (want[0] < want[1]) {
			d.Differ = append(d.Differ, q.ID)
		}
		ours, theirs = append(ours, a, b), append(theirs, want[0], want[1])
	}
	if d.Pairs == 0 {
		return nil, fmt.Errorf("%s: none of its %d questions is among those judged: is it of the same data?", p.file, len(p.scores))
	}
	d.Alone = len(questions) + len(p.scores) - 2*d.Pairs
	for i, v := range ours {
		by := v - theirs[i]
		d.Mean += by / float64(len(ours))
		d.Most = max(d.Most, math.Abs(by))
	}
	d.Absolute = eval.MeanAbsolute(ours, theirs)
	if r, ok := eval.Pearson(ours, theirs, d.Pairs); ok {
		d.Pearson = &r
	}
	if r, ok := eval.Spearman(ours, theirs, d.Pairs); ok {
		d.Spearman = &r
	}
	return d, nil
}
