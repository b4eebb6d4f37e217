package judge

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/eval/boards"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/warm/reward"
)

// BoardTest is an evaluation set to judge models on as its leaderboard does. Of Test it takes Files,
// which may be directories of such files, Read, SkipBad, Workers, Engine, Open and Say.
type BoardTest struct {
	Test
	Board boards.Board
	// Published is a file of rewards that others had for the same questions; "" for none.
	Published string
}

// BoardReport is what a board would say of models.
type BoardReport struct {
	Board     string `json:"board"`
	Questions int    `json:"questions"`
	// Undecided questions are not counted: nobody preferred an answer.
	Undecided int `json:"undecided,omitempty"`
	// Cut is how many answers lost the left of their prompt to the context. Boards cut on the left too,
	// at lengths of their own.
	Cut    int          `json:"cut_answers,omitempty"`
	Served *Served      `json:"served,omitempty"`
	Device string       `json:"device,omitempty"` // as in Report
	Models []BoardModel `json:"models"`
}

// BoardModel is what a board would say of one model.
type BoardModel struct {
	Name    string          `json:"name"`
	Figures []boards.Figure `json:"figures"`
	// Published sets its rewards against those that others had; nil without a file of them, and where
	// the scores are no rewards.
	Published *Distance `json:"published,omitempty"`
}

// boardRun holds the questions and what is said of them.
type boardRun struct {
	test      BoardTest
	questions []data.Question
	published *published
	report    BoardReport
}

// BoardCheckpoints judges checkpoints as [Checkpoints] does, by the figures of a board.
func BoardCheckpoints(ctx context.Context, dirs []string, t BoardTest) (*BoardReport, error) {
	b, err := t.openFirst(dirs)
	if err != nil {
		return nil, err
	}
	defer b.Checkpoint.Close()
	r, err := newBoardRun(t)
	if err != nil {
		return nil, err
	}
	sequences, err := r.encode(b.Encoder)
	if err != nil {
		return nil, err
	}
	engine, done := t.engine()
	defer done()
	r.report.Device = computedOn(engine)
	score := func(name, dir string, config []byte, src model.Source) ([]float64, error) {
		m, err := t.load(dir, config, src, engine)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		return scoreSequences(ctx, engine, m, sequences, func(done int) { t.told(name, done, len(sequences)) })
	}
	err = t.scoreModels(ctx, dirs, score, func(_ role, name string, rewards []float64) error {
		return r.judge(name, r.byQuestion(rewards))
	})
	if err != nil {
		return nil, err
	}
	return r.finish()
}

// BoardServer judges a server's model as [Server] does, by the figures of a board.
func BoardServer(ctx context.Context, m Remote, t BoardTest) (*BoardReport, error) {
	r, err := newBoardRun(t)
	if err != nil {
		return nil, err
	}
	if err := m.choose(ctx); err != nil {
		return nil, err
	}
	queries := make([]query, len(r.questions))
	for i := range r.questions {
		q := &r.questions[i]
		queries[i] = query{at: q.At, answers: len(q.Answers),
			inputs: func() ([]api.Input, error) { return questionInputs(q) }}
	}
	replies, served, err := m.scoreAll(ctx, queries, long{truncate: api.TruncatePromptLeft}, t.told)
	if err != nil {
		return nil, err
	}
	for _, reply := range replies {
		for i := range reply {
			if reply[i].Truncated {
				r.report.Cut++
			}
		}
	}
	r.report.Served = served
	err = served.models(replies,
		func(_ role, name string, rewards [][]float64) error { return r.judge(name, rewards) })
	if err != nil {
		return nil, err
	}
	return r.finish()
}

// newBoardRun reads the questions.
func newBoardRun(t BoardTest) (*boardRun, error) {
	r := &boardRun{test: t, report: BoardReport{Board: t.Board.Name}}
	files, err := filesUnder(t.Files)
	if err != nil {
		return nil, err
	}
	seen := map[string]data.Place{}
	for _, file := range files {
		if err := r.read(file, seen); err != nil {
			return nil, err
		}
	}
	if r.report.Questions = len(r.questions); r.report.Questions == 0 {
		return nil, fmt.Errorf("no question of %s in %s", t.Board.Title, strings.Join(t.Files, ", "))
	}
	if t.Published != "" {
		if r.published, err = readPublished(t.Published); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// endings are those of files that a directory is searched for.
var endings = []string{".json", ".jsonl", ".parquet"}

// filesUnder are the files named, and those that lie in directories named.
func filesUnder(paths []string) (files []string, err error) {
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil {
			return nil, err
		} else if !info.IsDir() {
			files = append(files, path)
			continue
		}
		n := len(files)
		err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			name := strings.TrimSuffix(strings.TrimSuffix(file, ".gz"), ".zst")
			if err == nil && !d.IsDir() && slices.Contains(endings, filepath.Ext(name)) {
				files = append(files, file)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(files) == n {
			return nil, fmt.Errorf("%s: no file in it ends in %s", path, strings.Join(endings, ", "))
		}
	}
	return files, nil
}

// read appends a file's questions.
func (r *boardRun) read(path string, seen map[string]data.Place) error {
	f, err := data.Open(path, data.Options{})
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	bad := &data.Bad{File: path}
	err = data.Each(f.Questions(data.Format(r.test.Board.Name)), bad, func(q data.Question) error {
		if q.Undecided {
			r.report.Undecided++
			return nil
		}
		if first, ok := seen[q.Unique]; ok && q.Unique != "" {
			return &data.Error{Place: q.At,
				Err: fmt.Errorf("question %s stands at %s too; each may count once: name the files that are meant", q.ID, first)}
		}
		seen[q.Unique] = q.At
		r.questions = append(r.questions, q)
		return nil
	})
	if err != nil {
		return err
	}
	c := r.test.settings()
	return (&data.Files{SkipBad: c.SkipBad, Say: c.Say}).Tolerate(bad)
}

// said is an answer as the end of a conversation.
func said(answer string) []chat.Message {
	return []chat.Message{chat.NewMessage("assistant", answer)}
}

// questionInputs are a question's answers as the wire has them.
func questionInputs(q *data.Question) ([]api.Input, error) {
	if !q.Prompt.IsChat() {
		return []api.Input{api.Answers(q.Prompt.Plain, q.Answers...)}, nil
	}
	var answers [][]chat.Message
	for _, answer := range q.Answers {
		answers = append(answers, said(answer))
	}
	return conversations(q.Prompt.Messages, answers...)
}

// encode turns all answers into tokens. What is over the context is cut on the left, because a board
// counts every question.
func (r *boardRun) encode(e *reward.Encoder) (out []model.Sequence, err error) {
	for i := range r.questions {
		q := &r.questions[i]
		for k, answer := range q.Answers {
			in := reward.Input{Prompt: &q.Prompt.Plain, Response: answer}
			if q.Prompt.IsChat() {
				in = reward.Input{Messages: slices.Concat(q.Prompt.Messages, said(answer))}
			}
			enc, err := e.Encode(in, reward.EncodeOptions{})
			if err != nil {
				return nil, &data.Error{Place: q.At, Field: fmt.Sprintf("answer %d", k+1), Err: err}
			}
			if enc.Truncated {
				r.report.Cut++
			}
			out = append(out, enc.Sequence)
		}
	}
	return out, nil
}

// scoreSequences scores sequences a part at a time, so that what becomes of them in the engine has a
// bound.
func scoreSequences(ctx context.Context, e model.Engine, m model.Model,
	sequences []model.Sequence, told func(done int)) ([]float64, error) {
	const part = 512
	out := make([]float64, 0, len(sequences))
	scores := make([]float32, part)
	for some := range slices.Chunk(sequences, part) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		told(len(out))
		if err := e.Score(m, scores[:len(some)], some); err != nil {
			return nil, err
		}
		for _, s := range scores[:len(some)] {
			out = append(out, float64(s))
		}
	}
	told(len(out))
	return out, nil
}

// byQuestion cuts the rewards of all answers by question.
func (r *boardRun) byQuestion(rewards []float64) (out [][]float64) {
	for i := range r.questions {
		n := len(r.questions[i].Answers)
		out, rewards = append(out, rewards[:n:n]), rewards[n:]
	}
	return out
}

// judge adds what the board says of a model's rewards.
func (r *boardRun) judge(name string, rewards [][]float64) error {
	figures, err := r.figures(rewards)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m := BoardModel{Name: name, Figures: figures}
	if r.published != nil {
		if m.Published, err = r.published.distance(r.questions, rewards); err != nil {
			return err
		}
	}
	r.report.Models = append(r.report.Models, m)
	return nil
}

// figures are the board's of the scores of every question's answers.
func (r *boardRun) figures(scores [][]float64) ([]boards.Figure, error) {
	items := make([]boards.Item, len(r.questions))
	for i := range r.questions {
		q := &r.questions[i]
		items[i] = boards.Item{ID: q.ID, Subset: q.Subset, Tags: q.Tags, Correct: q.Correct,
			Scores: scores[i], Pairs: q.Pairs}
	}
	return r.test.Board.Score(items)
}

// finish judges what needs no reward model: the length of an answer.
func (r *boardRun) finish() (*BoardReport, error) {
	lengths := make([][]float64, len(r.questions))
	for i := range r.questions {
		for _, a := range r.questions[i].Answers {
			lengths[i] = append(lengths[i], float64(len(a)))
		}
	}
	figures, err := r.figures(lengths)
	if err != nil {
		return nil, err
	}
	r.report.Models = append(r.report.Models, BoardModel{Name: NameLonger, Figures: figures})
	return &r.report, nil
}
