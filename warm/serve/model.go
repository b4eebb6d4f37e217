package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/warm/reward"
)

// Model is a loaded reward model as the server sees it: a [live.Model].
type Model struct {
	*reward.Deployment
	info  live.Info
	lanes map[string]*batch.Lane // by mode
	close context.CancelFunc     // ends what Settle began
}

// Settle implements [live.Settler]: it moves the weights to huge pages beside what is computed with them.
func (m *Model) Settle() {
	ctx, cancel := context.WithCancel(context.Background())
	m.close = cancel
	go m.HugePages(ctx)
}

// Close implements live.Model.
func (m *Model) Close() {
	if m.close != nil {
		m.close()
	}
	m.Deployment.Close()
}

// NewModel names a loaded reward model and gives it its lanes. The engine, which
// computes its scores, is the caller's, and is closed after the server.
func NewModel(name string, d *reward.Deployment, e model.Engine) *Model {
	c := d.Config()
	out := &Model{Deployment: d, lanes: map[string]*batch.Lane{}, info: live.Info{
		Model: api.Model{
			ID: name, Revision: d.Revision, Mode: string(d.Mode), Modes: []string{string(d.Mode)},
			Architecture: c.Architecture, ContextLength: d.Context, Pooling: string(d.Pooling),
			DType: d.DType.String(), Device: e.Device(),
			Head: c.HeadTensors()[0] + c.HeadWords(), Attributes: c.AttributeNames(),
			Created: d.Created.Unix(), Normalized: d.Calibrated(),
		},
		Label: c.Label, Memory: int64(d.Bytes()),
	}}
	if !c.Causal() && !c.Averages() {
		out.info.Pooling = string(model.PoolFirst) // which is what such a model is read at, whatever was asked
	}
	for _, w := range []string{api.ReturnAttributes, api.ReturnSteps, api.ReturnTrajectory} {
		if d.Offers(WantOf([]string{w})) == nil {
			out.info.Returns = append(out.info.Returns, w)
		}
	}
	if d.Ending != model.EndAsIs {
		out.info.Ending = string(d.Ending)
	}
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
	}
	if d.Mode == reward.ModeBoth {
		out.info.Modes = append([]string{api.ModeWA, api.ModeEns}, out.info.Modes...)
		out.info.Mode = api.ModeWA
	}
	return out
}

// Info implements live.Model.
func (m *Model) Info() live.Info { return m.info }

// Lane implements live.Model.
func (m *Model) Lane(name string) (*batch.Lane, error) {
	if l, ok := m.lanes[name]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("model %q holds no weights for %q", m.info.ID, name)
}

// Prepare implements live.Model.
func (m *Model) Prepare(in *api.Input, o live.PrepareOptions) ([]live.Prepared, error) {
	opts := reward.EncodeOptions{
		Truncate: reward.Truncation(o.Truncate), PlainText: !o.ParseSpecial, MaxTokens: o.MaxTokens,
		Chat: chatOptions(o.Chat),
	}
	if o.Pooling != "" {
		var err error
		if opts.Pooling, err = model.ParsePooling(o.Pooling); err != nil {
			return nil, api.Errorf(api.CodeInvalidValue, "pooling", "%v", err)
		}
	}
	out := make([]live.Prepared, in.Count())
	for i := range out {
		x, err := Answer(in, i)
		if err == nil {
			var e reward.Encoded
			if e, err = m.Encode(x, opts); err == nil {
				out[i] = live.Prepared{
					Sequence: batch.Sequence(e.Sequence), Truncated: e.Truncated,
					AnswerFrom: e.AnswerFrom, AnswerTo: e.AnswerTo,
				}
				continue
			}
		}
		return nil, inputError(in, i, err)
	}
	return out, nil
}

// ProbeTokens implements live.Prober.
func (m *Model) ProbeTokens() []int32 { return m.Pooling.IDs() }

// PrepareSize implements live.Sizer.
func (m *Model) PrepareSize(in *api.Input) int64 {
	if m.Tokenizer == nil {
		return 0
	}
	text := func(s *string) int64 {
		if s == nil {
			return 0
		}
		return m.Tokenizer.Scratch(*s)
	}
	// A template keeps messages apart; prompt and response may be one text.
	most := text(in.Text) + text(in.Response) + largestMessage(m.Tokenizer, in.Messages)
	if in.Prompt != nil {
		most += text(&in.Prompt.Text) + largestMessage(m.Tokenizer, in.Prompt.Messages)
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

// Tokenize implements live.Vocabulary.
func (m *Model) Tokenize(text string, addSpecial bool) ([]live.Token, error) {
	if m.Tokenizer == nil {
		return nil, api.Errorf(api.CodeUnsupportedInput, "", "%v", m.NoTokenizer())
	}
	ids := m.Tokenizer.AppendEncode(nil, text, tokenizer.Options{AddSpecial: addSpecial})
	out := make([]live.Token, len(ids))
	for i, id := range ids {
		out[i] = live.Token{ID: id, Text: m.Tokenizer.Decode(ids[i:i+1], false),
			Special: m.Tokenizer.IsSpecial(id)}
	}
	return out, nil
}

// Detokenize implements live.Vocabulary.
func (m *Model) Detokenize(ids []int32, skipSpecial bool) (string, error) {
	if m.Tokenizer == nil {
		return "", api.Errorf(api.CodeUnsupportedInput, "", "%v", m.NoTokenizer())
	}
	for i, id := range ids {
		if size := m.Config().VocabSize; id < 0 || int(id) >= size {
			return "", api.Errorf(api.CodeTokenOutOfRange, fmt.Sprintf("[%d]", i),
				"id %d, want 0 to %d", id, size-1)
		}
	}
	return m.Tokenizer.Decode(ids, skipSpecial), nil
}

// scorer is one model as the queue sees it.
type scorer struct {
	engine model.Engine
	model  model.Model
}

// Score implements batch.Scorer.
func (s *scorer) Score(dst []float32, batched []batch.Sequence) error {
	seqs := make([]model.Sequence, len(batched))
	for i, q := range batched {
		seqs[i] = model.Sequence(q)
	}
	return passing(s.engine.Score(s.model, dst, seqs))
}

// passing is an error of an engine as the queue knows it.
func passing(err error) error {
	if away, ok := errors.AsType[*model.UnavailableError](err); ok {
		return &batch.UnavailableError{After: away.After, Err: err}
	}
	return err
}
