package reward

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/tokenizer"
)

// Input is what to score, in exactly one of its forms.
type Input struct {
	// Messages is a conversation whose last message is the assistant's answer.
	Messages []chat.Message
	// Prompt and Response are a user's text and the answer. With a chat template
	// they are two messages; an encoder reads them as a pair of texts; otherwise
	// the response follows the prompt directly.
	Prompt   *string
	Response string
	// Text is scored as it stands, template and all.
	Text       *string
	AddSpecial bool // with Text: the tokenizer adds its special tokens
	// IDs are tokens, scored as they stand.
	IDs []int32
}

// Truncation says what to do with an input over the context.
type Truncation string

const (
	// TruncateError refuses the input.
	TruncateError Truncation = "error"
	// TruncatePromptLeft removes the left of the prompt, behind the head that
	// the template puts before the first message. The answer is never cut.
	TruncatePromptLeft Truncation = "prompt_left"
	// TruncateLeft removes the left of the text, behind its special tokens.
	TruncateLeft Truncation = "left"
	// TruncateRight removes the right of the text, the end of the answer with it.
	TruncateRight Truncation = "right"
)

// EncodeOptions say how an input becomes tokens.
type EncodeOptions struct {
	Truncate Truncation // "" is TruncatePromptLeft
	// PlainText reads the names of special tokens inside messages, prompts,
	// answers and texts as text rather than as the tokens; those that the chat
	// template puts stay tokens.
	PlainText bool
	// Pooling picks the scored token; "" leaves it to the model.
	Pooling model.Pooling
	// MaxTokens is the length from which an input is truncated, where that is
	// below the model's context; 0 is the context.
	MaxTokens int
	Chat      ChatOptions
}

// ChatOptions say how messages become text. The zero value is what a reward
// model was trained on.
type ChatOptions struct {
	AddSpecial          bool           // the tokenizer adds its special tokens to the template's
	AddGenerationPrompt bool           // the template opens a further answer
	ContinueFinal       bool           // the text ends with the last message's content, without the template's end of turn
	Variables           map[string]any // of the template, such as enable_thinking
}

// Encoded is an input ready to be scored.
type Encoded struct {
	model.Sequence
	Truncated bool
}

// Errors of Encode. They are wrapped with the figures.
var (
	// ErrTooLong is returned for an input over the context that may not, or
	// cannot, be cut.
	ErrTooLong = errors.New("longer than the context")
	// ErrNoTemplate is returned for messages when the model has no chat template.
	ErrNoTemplate = errors.New("the model has no chat template")
	// ErrNoTokenizer is returned for text when the model has no tokenizer.
	ErrNoTokenizer = errors.New("the model has no tokenizer.json: it scores input_ids alone")
	// ErrTemplate is returned when the chat template refuses the messages.
	ErrTemplate = errors.New("chat template")
	// ErrEmpty is returned for an input without a token.
	ErrEmpty = errors.New("nothing to score")
	// ErrTokenRange is returned for a token id that the model does not have.
	ErrTokenRange = errors.New("token id out of range")
	// ErrInput is returned for an input in none of the forms, or a conversation
	// that does not end with the assistant's answer.
	ErrInput = errors.New("invalid input")
)

// Encoder turns inputs into sequences. It is immutable and safe for concurrent
// use.
type Encoder struct {
	Tokenizer *tokenizer.Tokenizer // nil: token ids only
	Template  *chat.Template       // nil: no chat template
	Pooling   model.Pooling
	Context   int // tokens at most

	config *model.Config
	causal bool
	bos    int32    // -1 when the tokenizer has none
	marks  []string // the special tokens' texts
}

// text is an input before tokenisation.
type text struct {
	s          string
	head       int // bytes before the first message: the template's own
	answer     int // bytes before the answer, -1 when that is not known
	addSpecial bool
	contents   []string // of the messages, in order; nil when the text is all the user's
}

// Encode returns the tokens of an input and the token to score.
func (e *Encoder) Encode(in Input, o EncodeOptions) (Encoded, error) {
	if o.Truncate == "" {
		o.Truncate = TruncatePromptLeft
	}
	e = e.with(o)
	if in.IDs != nil {
		return e.tokens(in.IDs, o)
	}
	if e.Tokenizer == nil {
		return Encoded{}, ErrNoTokenizer
	}
	if !e.causal && in.Prompt != nil {
		return e.pair(*in.Prompt, in.Response, o)
	}
	t, err := e.render(in, o.Chat)
	if err != nil {
		return Encoded{}, err
	}
	return e.text(t, o)
}

// with returns the encoder of one input, whose options may say otherwise than
// the model.
func (e *Encoder) with(o EncodeOptions) *Encoder {
	if o.Pooling == "" && o.MaxTokens == 0 {
		return e
	}
	own := *e
	own.Pooling = cmp.Or(o.Pooling, e.Pooling)
	if o.MaxTokens > 0 {
		own.Context = min(own.Context, o.MaxTokens)
	}
	return &own
}

// render turns any form with text into one text.
func (e *Encoder) render(in Input, o ChatOptions) (text, error) {
	switch {
	case in.Text != nil:
		return text{s: *in.Text, answer: -1, addSpecial: in.AddSpecial}, nil
	case in.Messages != nil:
		if e.Template == nil {
			return text{}, fmt.Errorf("%w: send prompt and response, text or input_ids", ErrNoTemplate)
		}
		return e.conversation(in.Messages, o)
	case in.Prompt == nil:
		return text{}, fmt.Errorf("%w: no messages, prompt, text or input_ids", ErrInput)
	case e.Template != nil:
		return e.conversation([]chat.Message{chat.NewMessage("user", *in.Prompt), chat.NewMessage("assistant", in.Response)}, o)
	}
	return text{s: *in.Prompt + in.Response, answer: len(*in.Prompt), addSpecial: true}, nil
}

// conversation renders messages and finds the head and the answer in the text.
func (e *Encoder) conversation(messages []chat.Message, o ChatOptions) (text, error) {
	if n := len(messages); n == 0 || messages[n-1].Role() != "assistant" {
		return text{}, fmt.Errorf("%w: the last message must be the assistant's, whose answer is scored", ErrInput)
	}
	flat := make([]chat.Message, len(messages))
	for i, m := range messages {
		flat[i] = m.Flattened() // templates of text models expect a string
	}
	r, err := e.Template.Render(flat, chat.Options{AddGenerationPrompt: o.AddGenerationPrompt, Extra: o.Variables, Now: templateDate})
	if err != nil {
		return text{}, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	s := r.Text
	t := text{s: s, answer: -1, addSpecial: o.AddSpecial, contents: make([]string, 0, len(messages))}
	for _, m := range messages {
		t.contents = append(t.contents, content(m))
	}
	// Templates trim contents and some rewrite the answer; what is not found
	// as it stands cannot be kept apart from the prompt.
	if a := content(messages[len(messages)-1]); a != "" {
		t.answer = strings.LastIndex(s, a)
		if o.ContinueFinal && t.answer >= 0 {
			t.s = s[:t.answer+len(a)]
		}
	}
	for _, m := range messages {
		if first := content(m); first != "" && m.Role() != "system" {
			t.head = max(0, strings.Index(s, first))
			break
		}
	}
	return t, nil
}

// templateDate is the day that templates are told. It is fixed, so that a reward
// does not change at midnight, and is the one that Llama's templates fall back on.
var templateDate = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// content is the text of a message as templates print it at least: trimmed.
func content(m chat.Message) string {
	s, _ := m.Content()
	return strings.TrimSpace(s)
}

// text tokenises a text, cuts it where it must and finds the scored token.
func (e *Encoder) text(t text, o EncodeOptions) (Encoded, error) {
	opts := tokenizer.Options{AddSpecial: t.addSpecial, NoParseSpecial: o.PlainText && t.contents == nil}
	ids := make([]int32, 0, len(t.s)/3+8)
	if o.PlainText && t.contents != nil {
		var after []int32
		if t.addSpecial {
			ids, after = e.Tokenizer.SingleTemplate()
			ids = slices.Clone(ids)
		}
		ids = append(e.appendPlain(ids, t), after...)
	} else {
		ids = e.Tokenizer.AppendEncode(ids, t.s, opts)
	}
	if len(ids) > 1 && e.bos >= 0 && ids[0] == e.bos && ids[1] == e.bos {
		ids = ids[1:] // the template and the tokenizer both put one
	}
	if len(ids) == 0 {
		return Encoded{}, fmt.Errorf("%w: the text has no token", ErrEmpty)
	}
	region := region{answer: -1}
	if t.answer >= 0 && (len(ids) > e.Context || e.Pooling == model.PoolPrompt) {
		region.answer = e.shared(ids, t.s[:t.answer], opts)
		region.head = e.shared(ids, t.s[:min(t.head, t.answer)], opts)
	}
	if t.addSpecial {
		before, after := e.Tokenizer.SingleTemplate()
		region.before, region.after = len(before), len(after)
	} else if len(ids) > 0 && ids[0] == e.bos {
		region.before = 1
	}
	out := Encoded{}
	if len(ids) > e.Context {
		var err error
		if ids, err = region.cut(ids, e.Context, o.Truncate); err != nil {
			return Encoded{}, err
		}
		out.Truncated = true
	}
	out.IDs = ids
	if e.causal {
		out.At = e.Pooling.At(ids, e.config.PadTokenID, max(0, region.answer))
	}
	return out, nil
}

// appendPlain tokenises a rendered conversation with the contents as plain text.
// Only a content that names a special token is tokenised apart from what
// surrounds it, so that all others give the tokens of the whole text.
func (e *Encoder) appendPlain(ids []int32, t text) []int32 {
	done, from := 0, 0 // bytes tokenised, and where the next content is looked for
	for _, c := range t.contents {
		i := strings.Index(t.s[from:], c)
		if i < 0 {
			continue // rewritten by the template
		}
		from += i + len(c)
		if !slices.ContainsFunc(e.marks, func(m string) bool { return strings.Contains(c, m) }) {
			continue
		}
		ids = e.Tokenizer.AppendEncode(ids, t.s[done:from-len(c)], tokenizer.Options{})
		ids = e.Tokenizer.AppendEncode(ids, c, tokenizer.Options{NoParseSpecial: true})
		done = from
	}
	return e.Tokenizer.AppendEncode(ids, t.s[done:], tokenizer.Options{})
}

// shared returns how many tokens of ids come from a prefix of the text.
func (e *Encoder) shared(ids []int32, prefix string, o tokenizer.Options) int {
	p := e.Tokenizer.AppendEncode(nil, prefix, o)
	for i := range min(len(p), len(ids)) {
		if p[i] != ids[i] {
			return i
		}
	}
	return min(len(p), len(ids))
}

// pair tokenises prompt and response as an encoder's two segments.
func (e *Encoder) pair(prompt, response string, o EncodeOptions) (Encoded, error) {
	opts := tokenizer.Options{AddSpecial: true, NoParseSpecial: o.PlainText}
	ids, types := e.Tokenizer.EncodePair(prompt, response, opts)
	out := Encoded{}
	if drop := len(ids) - e.Context; drop > 0 {
		before, _ := e.Tokenizer.SingleTemplate()
		a := e.Tokenizer.AppendEncode(nil, prompt, tokenizer.Options{NoParseSpecial: o.PlainText})
		r := region{before: len(before), head: len(before), answer: len(before) + len(a)}
		var err error
		if ids, err = r.cut(ids, e.Context, o.Truncate); err != nil {
			return Encoded{}, err
		}
		if o.Truncate == TruncateRight {
			types = types[:len(ids)]
		} else {
			types = append(types[:r.before:r.before], types[r.before+drop:]...)
		}
		out.Truncated = true
	}
	if e.config.TypeVocab > 0 {
		out.Types = types
	}
	out.IDs = ids
	return out, nil
}

// tokens takes ids as they are.
func (e *Encoder) tokens(ids []int32, o EncodeOptions) (Encoded, error) {
	if len(ids) == 0 {
		return Encoded{}, fmt.Errorf("%w: no token id", ErrEmpty)
	}
	for i, id := range ids {
		if id < 0 || int(id) >= e.config.VocabSize {
			return Encoded{}, fmt.Errorf("%w: %d at position %d, want 0 to %d", ErrTokenRange, id, i, e.config.VocabSize-1)
		}
	}
	out := Encoded{}
	if len(ids) > e.Context {
		r := region{answer: -1}
		if ids[0] == e.bos {
			r.before = 1
		}
		var err error
		if ids, err = r.cut(ids, e.Context, o.Truncate); err != nil {
			return Encoded{}, err
		}
		out.Truncated = true
	}
	out.IDs = ids
	if e.causal {
		out.At = e.Pooling.At(ids, e.config.PadTokenID, 0)
	}
	return out, nil
}

// region says which tokens of a text may be cut.
type region struct {
	before, after int // special tokens at the ends
	head, answer  int // tokens before the first message, and before the answer; -1: not known
}

// cut shortens ids to limit tokens, or says why that cannot be.
func (r region) cut(ids []int32, limit int, how Truncation) ([]int32, error) {
	n, drop := len(ids), len(ids)-limit
	var from, to int // the tokens that may go
	switch how {
	case TruncateError:
		return nil, fmt.Errorf("%w: %d tokens, %d fit", ErrTooLong, n, limit)
	case TruncateLeft:
		from, to = r.before, n-r.after
	case TruncateRight:
		from, to = r.before, n-r.after
		if drop <= to-from {
			return append(ids[:to-drop:to-drop], ids[to:]...), nil
		}
	case TruncatePromptLeft:
		if r.answer < 0 {
			return nil, fmt.Errorf("%w: %d tokens, %d fit, and where the prompt ends is not marked: send prompt and response or messages, or truncate left or right", ErrTooLong, n, limit)
		}
		from, to = max(r.head, r.before), r.answer
	default:
		return nil, fmt.Errorf("%w: unknown truncation %q", ErrInput, how)
	}
	if drop > to-from {
		return nil, fmt.Errorf("%w: %d tokens, %d fit, and the prompt has only %d to remove", ErrTooLong, n, limit, max(0, to-from))
	}
	return append(ids[:from:from], ids[from+drop:]...), nil
}
