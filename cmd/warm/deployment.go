package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/reward"
)

// deployment is a reward model as the server sees it.
type deployment struct {
	*reward.Deployment
	info         server.Info
	lanes        map[string]*batch.Lane
	calibrations []warm.Calibration // of the members; nil unless all have one
}

// newDeployment names a loaded reward model and gives it its lanes.
func newDeployment(name string, d *reward.Deployment, e *model.Engine) *deployment {
	c := d.Config()
	out := &deployment{Deployment: d, lanes: map[string]*batch.Lane{}, info: server.Info{
		Name: name, Revision: d.Revision, Mode: string(d.Mode), Modes: []string{string(d.Mode)},
		Architecture: c.Architecture, ContextLength: d.Context, Pooling: string(d.Pooling), DType: d.DType.String(), Label: c.Label, Created: d.Created,
		Memory: int64(d.Bytes()),
	}}
	if m := d.Average(); m != nil {
		out.info.Parameters = int64(m.Parameters())
		out.lanes[api.ModeWA] = batch.NewLane(name+"/"+api.ModeWA, &scorer{engine: e, model: m})
	}
	for i, r := range d.Members() {
		out.info.Members = append(out.info.Members, r.Name)
		m := d.Member(i)
		if m == nil {
			continue
		}
		out.info.Parameters = int64(m.Parameters())
		mode := api.ModeMember + r.Name
		out.lanes[mode] = batch.NewLane(name+"/"+mode, &scorer{engine: e, model: m})
		if mode != string(d.Mode) {
			out.info.Modes = append(out.info.Modes, mode)
		}
		if r.Calibration != nil {
			out.calibrations = append(out.calibrations, *r.Calibration)
		}
	}
	if d.Mode == reward.ModeBoth {
		out.info.Modes = append([]string{api.ModeWA, api.ModeEns}, out.info.Modes...)
		out.info.Mode = api.ModeWA
	}
	if len(out.calibrations) < len(d.Members()) {
		out.calibrations = nil
	}
	out.info.Normalized = out.calibrations != nil
	return out
}

// Info implements server.Model.
func (d *deployment) Info() server.Info { return d.info }

// Lane implements server.Model.
func (d *deployment) Lane(name string) (*batch.Lane, error) {
	if l, ok := d.lanes[name]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("model %q holds no weights for %q", d.info.Name, name)
}

// Aggregate implements server.Model.
func (d *deployment) Aggregate(members []float32, how string, lambda float64) (float64, float64, error) {
	return aggregate(members, how, lambda, d.calibrations)
}

// Prepare implements server.Model.
func (d *deployment) Prepare(in *api.Input, o server.PrepareOptions) ([]server.Prepared, error) {
	opts := reward.EncodeOptions{
		Truncate: reward.Truncation(o.Truncate), PlainText: !o.ParseSpecial,
		Pooling: model.Pooling(o.Pooling), MaxTokens: o.MaxTokens, Chat: chatOptions(o.Chat),
	}
	out := make([]server.Prepared, in.Count())
	for i := range out {
		x, err := answer(in, i)
		if err == nil {
			var e reward.Encoded
			if e, err = d.Encode(x, opts); err == nil {
				out[i] = server.Prepared{Sequence: batch.Sequence(e.Sequence), Truncated: e.Truncated}
				continue
			}
		}
		return nil, inputError(in, i, err)
	}
	return out, nil
}

// PrepareSize implements server.Sizer.
func (d *deployment) PrepareSize(in *api.Input) int64 {
	if d.Tokenizer == nil {
		return 0
	}
	text := func(s *string) int64 {
		if s == nil {
			return 0
		}
		return d.Tokenizer.Scratch(*s)
	}
	// A template keeps messages apart; prompt and response may be one text.
	most := text(in.Text) + text(in.Response) + largestMessage(d.Tokenizer, in.Messages)
	if in.Prompt != nil {
		most += text(&in.Prompt.Text) + largestMessage(d.Tokenizer, in.Prompt.Messages)
	}
	longest := int64(0)
	for i := range in.Responses {
		longest = max(longest, text(&in.Responses[i]))
	}
	return most + longest
}

// largestMessage returns the most that a message takes to be tokenised.
func largestMessage(t *tokenizer.Tokenizer, messages []api.Message) (most int64) {
	for i := range messages {
		m := &messages[i]
		size := t.Scratch(m.Content.Text)
		for _, p := range m.Content.Parts {
			size += t.Scratch(p.Text)
		}
		for _, f := range m.Extra {
			size += t.Scratch(string(f.Value))
		}
		most = max(most, size)
	}
	return most
}

func chatOptions(o server.ChatOptions) reward.ChatOptions {
	out := reward.ChatOptions{AddSpecial: o.AddSpecial, AddGenerationPrompt: o.AddGenerationPrompt, ContinueFinal: o.ContinueFinal}
	if len(o.Variables) > 0 {
		out.Variables = make(map[string]any, len(o.Variables))
		for _, v := range o.Variables {
			out.Variables[v.Name] = json.RawMessage(v.Value)
		}
	}
	return out
}

// Tokenize implements server.Vocabulary.
func (d *deployment) Tokenize(text string, addSpecial bool) ([]server.Token, error) {
	if d.Tokenizer == nil {
		return nil, api.Errorf(api.CodeUnsupportedInput, "", "%v", reward.ErrNoTokenizer)
	}
	ids := d.Tokenizer.AppendEncode(nil, text, tokenizer.Options{AddSpecial: addSpecial})
	out := make([]server.Token, len(ids))
	for i, id := range ids {
		out[i] = server.Token{ID: id, Text: d.Tokenizer.Decode(ids[i:i+1], false), Special: d.Tokenizer.IsSpecial(id)}
	}
	return out, nil
}

// Detokenize implements server.Vocabulary.
func (d *deployment) Detokenize(ids []int32, skipSpecial bool) (string, error) {
	if d.Tokenizer == nil {
		return "", api.Errorf(api.CodeUnsupportedInput, "", "%v", reward.ErrNoTokenizer)
	}
	for i, id := range ids {
		if size := d.Config().VocabSize; id < 0 || int(id) >= size {
			return "", api.Errorf(api.CodeTokenOutOfRange, fmt.Sprintf("[%d]", i), "id %d, want 0 to %d", id, size-1)
		}
	}
	return d.Tokenizer.Decode(ids, skipSpecial), nil
}

// answer returns the i-th answer of a wire input.
func answer(in *api.Input, i int) (reward.Input, error) {
	switch {
	case in.InputIDs != nil:
		return reward.Input{IDs: in.InputIDs}, nil
	case in.Text != nil:
		return reward.Input{Text: in.Text, AddSpecial: in.AddSpecialTokens != nil && *in.AddSpecialTokens}, nil
	case in.Messages != nil:
		m, err := conversation(in.Messages)
		return reward.Input{Messages: m}, err
	}
	var response string
	if in.Responses != nil {
		response = in.Responses[i]
	} else {
		response = *in.Response
	}
	if in.Prompt.Messages == nil {
		return reward.Input{Prompt: &in.Prompt.Text, Response: response}, nil
	}
	m, err := conversation(in.Prompt.Messages)
	return reward.Input{Messages: append(m, chat.NewMessage("assistant", response))}, err
}

// inputError says in the wire's terms what is wrong with an input's answer.
func inputError(in *api.Input, i int, err error) error {
	param := ""
	switch {
	case in.InputIDs != nil:
		param = "input_ids"
	case in.Text != nil:
		param = "text"
	case in.Messages != nil:
		param = "messages"
	case in.Responses != nil:
		param = fmt.Sprintf("responses[%d]", i)
	case in.Response != nil:
		param = "response"
	}
	var refused *chat.TemplateError
	switch {
	case errors.Is(err, reward.ErrTooLong):
		return api.Errorf(api.CodeTooLong, param, "%v", err)
	case errors.As(err, &refused):
		return api.Errorf(api.CodeTemplateError, param, "the chat template refuses the messages: %s", refused.Reason())
	case errors.Is(err, reward.ErrNoTemplate), errors.Is(err, reward.ErrNoTokenizer):
		return api.Errorf(api.CodeUnsupportedInput, param, "%v", err)
	case errors.Is(err, reward.ErrTokenRange):
		return api.Errorf(api.CodeTokenOutOfRange, param, "%v", err)
	case errors.Is(err, reward.ErrEmpty):
		return api.Errorf(api.CodeEmptyInput, param, "%v", err)
	}
	return err
}

// conversation turns the wire's messages into a template's. Plain ones, which
// are nearly all, share their text with the request.
func conversation(messages []api.Message) ([]chat.Message, error) {
	out := make([]chat.Message, len(messages))
	for i := range messages {
		m := &messages[i]
		if m.Extra == nil && m.Content.Parts == nil && !m.Content.Null {
			out[i] = chat.NewMessage(m.Role, m.Content.Text)
			continue
		}
		data, err := api.Encode(messages[i : i+1])
		if err != nil {
			return nil, err
		}
		one, err := chat.ParseMessages(data)
		if err != nil {
			return nil, err
		}
		out[i] = one[0]
	}
	return out, nil
}

// scorer is one model as the queue sees it.
type scorer struct {
	engine *model.Engine
	model  *model.Model
	seqs   []model.Sequence
	mu     sync.Mutex // of seqs: the queue calls from one goroutine, tests may not
}

// Score implements batch.Scorer.
func (s *scorer) Score(dst []float32, seqs []batch.Sequence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seqs = s.seqs[:0]
	for _, q := range seqs {
		s.seqs = append(s.seqs, model.Sequence(q))
	}
	err := s.engine.Score(s.model, dst, s.seqs)
	clear(s.seqs) // the tokens belong to the caller
	return err
}
