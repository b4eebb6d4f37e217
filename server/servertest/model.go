// Package servertest has a model for tests of the server and of what stands
// behind or before it: real in its interface, with a tokeniser of bytes and
// scorers that hash.
package servertest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/scorertest"
)

// The ids of the fake tokeniser: a byte is its value, and then come the marks
// of the template. Vocab is how many ids there are.
const (
	BOS   = 256
	Open  = 257 // written "<|" in text
	Close = 258 // written "|>" in text
	Vocab = 259
)

// Model is a fake model. Make one with New.
type Model struct {
	Fakes map[string]*scorertest.Fake // by lane; to be changed before the model is used

	// BeforePrepare, when set, is called first by Prepare; it may block, fail or panic.
	BeforePrepare func(*api.Input) error

	info  live.Info
	lanes map[string]*batch.Lane
}

// New returns a model of the weight average and two members, "one" and "two",
// that offers every mode. change edits its description before it is fixed.
func New(name string, change ...func(*live.Info)) *Model {
	m := &Model{
		Fakes: make(map[string]*scorertest.Fake),
		lanes: make(map[string]*batch.Lane),
		info: live.Info{Model: api.Model{
			ID: name, Revision: "sha256:" + name, Mode: api.ModeWA,
			Modes:   []string{api.ModeWA, api.ModeEns, api.ModeBoth, "member:one", "member:two"},
			Members: []string{"one", "two"}, Architecture: "FakeForSequenceClassification", Parameters: 1000,
			ContextLength: 64, Pooling: "last", Head: "score.weight", DType: "f32", Created: 1_780_000_000,
		}},
	}
	for _, c := range change {
		c(&m.info)
	}
	names := []string{api.ModeWA}
	for _, member := range m.info.Members {
		names = append(names, api.ModeMember+member)
	}
	for i, lane := range names {
		m.Fakes[lane] = &scorertest.Fake{Seed: uint64(i), Vocab: Vocab}
		m.lanes[lane] = batch.NewLane(m.info.ID+"/"+lane, m.Fakes[lane])
	}
	return m
}

// Info implements live.Model.
func (m *Model) Info() live.Info { return m.info }

// Lane implements live.Model.
func (m *Model) Lane(name string) (*batch.Lane, error) {
	if lane := m.lanes[name]; lane != nil {
		return lane, nil
	}
	return nil, fmt.Errorf("servertest: no lane %q", name)
}

// Aggregate implements live.Model.
func (m *Model) Aggregate(members []float32, how string, lambda float64) (reward, std float64, err error) {
	sorted := make([]float64, len(members))
	mean, variance := 0.0, 0.0
	for i, v := range members {
		sorted[i] = float64(v)
		mean += float64(v) / float64(len(members))
	}
	slices.Sort(sorted)
	for _, v := range sorted {
		variance += (v - mean) * (v - mean) / float64(len(members))
	}
	std = math.Sqrt(variance)
	n := len(sorted)
	switch how {
	case api.AggregateMean:
		return mean, std, nil
	case api.AggregateMin:
		return sorted[0], std, nil
	case api.AggregateMedian:
		return (sorted[(n-1)/2] + sorted[n/2]) / 2, std, nil
	case api.AggregateMeanMinusStd:
		return mean - lambda*std, std, nil
	case api.AggregateMeanMinusVar:
		return mean - lambda*variance, std, nil
	}
	return 0, 0, fmt.Errorf("servertest: aggregate %q", how)
}

// Prepare implements live.Model.
func (m *Model) Prepare(in *api.Input, o live.PrepareOptions) ([]live.Prepared, error) {
	if m.BeforePrepare != nil {
		if err := m.BeforePrepare(in); err != nil {
			return nil, err
		}
	}
	switch {
	case in.InputIDs != nil:
		for i, id := range in.InputIDs {
			if id >= Vocab {
				return nil, api.Errorf(api.CodeTokenOutOfRange, fmt.Sprintf("input_ids[%d]", i),
					"id %d, the vocabulary has %d", id, Vocab)
			}
		}
		return m.one(nil, in.InputIDs, o, "input_ids")
	case in.Text != nil:
		ids := Encode(*in.Text, o.ParseSpecial)
		if in.AddSpecialTokens != nil && *in.AddSpecialTokens {
			ids = append([]int32{BOS}, ids...)
		}
		return m.one(nil, ids, o, "text")
	case in.Messages != nil:
		last := len(in.Messages) - 1
		head := m.render(in.Messages[:last], o)
		if o.Chat.AddSpecial {
			head = append([]int32{BOS}, head...)
		}
		return m.one(head, m.render(in.Messages[last:], o), o, "messages")
	}
	prompt := in.Prompt.Messages
	if prompt == nil {
		prompt = []api.Message{api.Says("user", in.Prompt.Text)}
	}
	head := m.render(prompt, o)
	if in.Response != nil {
		return m.one(head, m.render([]api.Message{api.Says("assistant", *in.Response)}, o), o, "response")
	}
	var all []live.Prepared
	for i, response := range in.Responses {
		p, err := m.one(head, m.render([]api.Message{api.Says("assistant", response)}, o), o,
			fmt.Sprintf("responses[%d]", i))
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}

// render is the fake's template: <|role|> and the content, of each message.
func (m *Model) render(messages []api.Message, o live.PrepareOptions) []int32 {
	var ids []int32
	for _, msg := range messages {
		ids = append(ids, Open)
		ids = append(ids, Encode(msg.Role, false)...)
		ids = append(ids, Close)
		ids = append(ids, Encode(msg.Content.Text, o.ParseSpecial)...)
		for _, part := range msg.Content.Parts {
			ids = append(ids, Encode(part.Text, o.ParseSpecial)...)
		}
	}
	return ids
}

// Tokenize implements live.Vocabulary.
func (m *Model) Tokenize(text string, addSpecial bool) ([]live.Token, error) {
	ids := Encode(text, true)
	if addSpecial {
		ids = append([]int32{BOS}, ids...)
	}
	var out []live.Token
	for _, id := range ids {
		out = append(out, live.Token{ID: id, Text: word(id), Special: id >= BOS})
	}
	return out, nil
}

// Detokenize implements live.Vocabulary.
func (m *Model) Detokenize(ids []int32, skipSpecial bool) (string, error) {
	var b strings.Builder
	for i, id := range ids {
		if id < 0 || id >= Vocab {
			return "", api.Errorf(api.CodeTokenOutOfRange, fmt.Sprintf("[%d]", i),
				"id %d, the vocabulary has %d", id, Vocab)
		}
		if id < BOS || !skipSpecial {
			b.WriteString(word(id))
		}
	}
	return b.String(), nil
}

// word is a token's text.
func word(id int32) string {
	switch id {
	case BOS:
		return "<bos>"
	case Open:
		return "<|"
	case Close:
		return "|>"
	}
	return string([]byte{byte(id)})
}

// one truncates and wraps up the tokens of one answer.
func (m *Model) one(prompt, answer []int32, o live.PrepareOptions, param string) ([]live.Prepared, error) {
	ids := append(slices.Clone(prompt), answer...)
	limit := m.info.ContextLength
	if o.MaxTokens > 0 {
		limit = min(limit, o.MaxTokens)
	}
	over := len(ids) - limit
	if over > 0 {
		switch {
		case o.Truncate == api.TruncateError:
			return nil, api.Errorf(api.CodeTooLong, param, "%d tokens, the context has %d", len(ids), limit)
		case o.Truncate == api.TruncateRight:
			ids = ids[:limit]
		default:
			ids = ids[over:]
		}
	}
	return []live.Prepared{{Sequence: batch.Sequence{IDs: ids, Read: []int32{int32(len(ids) - 1)}},
		Truncated: over > 0, AnswerTo: len(ids)}}, nil
}

// Encode is the fake's tokeniser.
func Encode(text string, parseSpecial bool) []int32 {
	var ids []int32
	for i := 0; i < len(text); i++ {
		switch {
		case parseSpecial && strings.HasPrefix(text[i:], "<|"):
			ids = append(ids, Open)
			i++
		case parseSpecial && strings.HasPrefix(text[i:], "|>"):
			ids = append(ids, Close)
			i++
		default:
			ids = append(ids, int32(text[i]))
		}
	}
	return ids
}
