package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/serve"
)

// scoreRow is a line of input: a wire input or a preference pair.
type scoreRow struct {
	ID       any             `json:"id,omitzero"`
	Chosen   json.RawMessage `json:"chosen,omitzero"`
	Rejected json.RawMessage `json:"rejected,omitzero"`
	api.Input
}

// scoredAnswer is the reward of one answer, as warm score writes it.
type scoredAnswer struct {
	Reward    float32            `json:"reward"`
	Ensemble  *float32           `json:"ensemble,omitempty"`
	Std       *float32           `json:"std,omitempty"`
	Members   map[string]float32 `json:"members,omitempty"`
	Tokens    int                `json:"tokens"`
	Truncated bool               `json:"truncated,omitempty"`
	scoredDetails

	members []float32
}

// scoredRow is a line of output.
type scoredRow struct {
	Line     int             `json:"line"`
	Item     int             `json:"item,omitempty"` // of an array
	ID       any             `json:"id,omitempty"`
	Chosen   *scoredAnswer   `json:"chosen,omitempty"`
	Rejected *scoredAnswer   `json:"rejected,omitempty"`
	Answers  []*scoredAnswer `json:"answers,omitempty"`
}

// all are the row's answers.
func (r *scoredRow) all() []*scoredAnswer {
	if r.Chosen != nil {
		return []*scoredAnswer{r.Chosen, r.Rejected}
	}
	return r.Answers
}

func (s *scoring) addRow(r data.Record) error {
	var row scoreRow
	if err := jsonv2.Unmarshal(r.JSON, &row); err != nil {
		return unreadable(r.JSON, err)
	}
	out := scoredRow{Line: r.At.Line, Item: r.At.Item, ID: row.ID}
	if row.Chosen != nil || row.Rejected != nil {
		if row.Chosen == nil || row.Rejected == nil {
			return errors.New("a preference pair has chosen and rejected")
		}
		chosen, err := s.side(&row.Input, row.Chosen)
		if err != nil {
			return fmt.Errorf("chosen: %w", err)
		}
		rejected, err := s.side(&row.Input, row.Rejected)
		if err != nil {
			return fmt.Errorf("rejected: %w", err)
		}
		out.Chosen, out.Rejected = chosen, rejected
		s.pairs = append(s.pairs, pairRewards{chosen, rejected})
		s.rows = append(s.rows, out)
		return nil
	}
	req := api.RewardRequest{Inputs: []api.Input{row.Input}}
	if err := req.Validate(api.DefaultMaxSequences); err != nil {
		return unreadable(r.JSON, err)
	}
	for i := range row.Input.Count() {
		x, err := serve.Answer(&row.Input, i)
		if err != nil {
			return err
		}
		a, err := s.encode(x)
		if err != nil {
			return err
		}
		out.Answers = append(out.Answers, a)
	}
	s.rows = append(s.rows, out)
	return nil
}

// wantedRow is what warm score reads.
const wantedRow = "want messages, prompt with response or responses, text, input_ids, or chosen and rejected"

// unreadable says of a record that is no input what it holds; of an input, what is wrong.
func unreadable(record []byte, err error) error {
	var f map[string]json.RawMessage
	if json.Unmarshal(record, &f) != nil {
		return fmt.Errorf("%w: %s", err, wantedRow)
	}
	for _, name := range []string{"messages", "response", "responses", "text", "input_ids"} {
		if f[name] != nil {
			return err
		}
	}
	return fmt.Errorf("columns %s: %s", strings.Join(slices.Sorted(maps.Keys(f)), ", "), wantedRow)
}

// side encodes one side of a pair: a text or messages, behind the prompt as the trainer reads pairs.
func (s *scoring) side(in *api.Input, side json.RawMessage) (*scoredAnswer, error) {
	if string(side) == "null" { // which is also how encoding/json leaves a string empty
		return nil, errors.New("missing: it is null")
	}
	var prompt, answer data.Text
	var err error
	if json.Unmarshal(side, &answer.Plain) != nil {
		if answer.Messages, err = chat.ParseMessages(side); err != nil {
			return nil, err
		}
	}
	if in.Prompt != nil {
		prompt.Plain = in.Prompt.Text
		if in.Prompt.Messages != nil {
			if prompt.Messages, err = serve.Conversation(in.Prompt.Messages); err != nil {
				return nil, err
			}
		}
		if prompt, answer, err = data.Behind(prompt, answer); err != nil {
			return nil, err
		}
	}
	switch {
	case answer.IsChat():
		return s.encode(reward.Input{Messages: slices.Concat(prompt.Messages, answer.Messages)})
	case in.Prompt == nil:
		return s.encode(reward.Input{Text: &answer.Plain, AddSpecial: new(true)})
	}
	return s.encode(reward.Input{Prompt: &prompt.Plain, Response: answer.Plain})
}

func (s *scoring) encode(x reward.Input) (*scoredAnswer, error) {
	e, err := s.model.Encode(x, reward.EncodeOptions{Truncate: reward.Truncation(s.flags.truncate)})
	if err != nil {
		return nil, err
	}
	s.model.Ask(&e, s.want)
	a := &scoredAnswer{Tokens: len(e.IDs), Truncated: e.Truncated}
	s.encoded = append(s.encoded, e)
	s.answers = append(s.answers, a)
	s.tokens += a.Tokens
	return a, nil
}
