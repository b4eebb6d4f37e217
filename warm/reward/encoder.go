package reward

import (
	"cmp"
	"errors"
	"fmt"

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
	AddSpecial *bool // with Text: the tokenizer adds its special tokens; nil is yes for an encoder, whose texts all stand between them
	// IDs are tokens, scored as they stand.
	IDs []int32
}

// Truncation says what to do with an input over the context.
type Truncation string

const (
	// TruncateError refuses the input.
	TruncateError Truncation = "error"
	// TruncatePromptLeft removes, as far as needed and each from its left: the
	// prompt behind its head; the head, which is the system prompt, the tools and
	// what the template puts before the first message; the answer, whose end is
	// what is scored. A text or token ids alone are answer from end to end.
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
	// answers, texts and the template's variables as text rather than as the
	// tokens; those that the chat template puts stay tokens.
	PlainText bool
	// Pooling picks the scored token; "" leaves it to the model. Rules that go by
	// padding stand in for each other alone: a model that is read at a token of its
	// own, or at all, has no reward elsewhere.
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
	AnswerCut bool // truncation took tokens of the answer too
	// The answer's tokens are IDs[AnswerFrom:AnswerTo], a text's or token ids' all but
	// special ones; none where truncation took them.
	AnswerFrom, AnswerTo int
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
	Ending    model.Ending
	DoubleBOS bool // a template's text gets the tokenizer's special tokens, and two BOS stay
	Context   int  // tokens at most

	config  *model.Config
	causal  bool
	bos     int32    // -1 when the tokenizer has none
	eos     string   // "" when the tokenizer has none
	notes   []string // what the checkpoint says about its tokenizer and is not followed
	digests textDigests

	noTokenizer error // an ErrNoTokenizer, with what to do; nil with a tokenizer
}

// Encode returns the tokens of an input and the token to score.
func (e *Encoder) Encode(in Input, o EncodeOptions) (Encoded, error) {
	o.Truncate = cmp.Or(o.Truncate, TruncatePromptLeft)
	var err error
	if o.Pooling, err = e.pooling(o.Pooling); err != nil {
		return Encoded{}, err
	}
	if o.MaxTokens <= 0 || o.MaxTokens > e.Context {
		o.MaxTokens = e.Context
	}
	x, err := e.encoding(in, o)
	if err != nil {
		return Encoded{}, err
	}
	if err := e.check(x); err != nil {
		return Encoded{}, err
	}
	out := Encoded{}
	if n, answer := len(x.ids), x.count(regionAnswer); n > o.MaxTokens {
		if err := x.cut(o.MaxTokens, o.Truncate); err != nil {
			return Encoded{}, err
		}
		out.Truncated, out.AnswerCut = true, x.count(regionAnswer) < answer
	}
	out.IDs, out.Types = x.ids, x.types
	out.AnswerFrom, out.AnswerTo = x.answer()
	out.Read = []int32{0} // what an encoder's pooler reads
	if e.causal {
		read, missing := o.Pooling.Read(x.ids, e.config.PadTokenID, x.promptTokens())
		if missing != "" {
			return Encoded{}, fmt.Errorf("%w: pooling %s: none of the %d tokens is that", ErrInput,
				missing, len(x.ids))
		}
		if want := e.config.Reads(len(read)); len(read) != want {
			return Encoded{}, fmt.Errorf("%w: pooling %s: %d tokens, the score head reads %d",
				ErrInput, o.Pooling, len(read), want)
		}
		out.Read = read
	}
	return out, nil
}

// NoTokenizer is the error for text where there is no tokenizer, nil where there is.
func (e *Encoder) NoTokenizer() error { return e.noTokenizer }

// pooling is the rule of an input for which one is asked; "" asks for the model's.
func (e *Encoder) pooling(asked model.Pooling) (model.Pooling, error) {
	switch {
	case asked == "" || asked.Padding() && !e.Pooling.Padding():
		return e.Pooling, nil
	case e.causal && (asked == model.PoolMean) != (e.Pooling == model.PoolMean):
		return "", fmt.Errorf("%w: pooling %s: the model is loaded for %s", ErrInput, asked, e.Pooling)
	}
	return asked, nil
}

// encoding is the tokens of an input in full.
func (e *Encoder) encoding(in Input, o EncodeOptions) (*encoding, error) {
	x := &encoding{typed: e.config.TypeVocab > 0}
	if in.IDs != nil {
		x.append(in.IDs, regionAnswer, 0)
		x.begin(e.bos)
		e.end(x, in, o)
		return x, nil
	}
	if e.Tokenizer == nil {
		return nil, e.noTokenizer
	}
	limit := 0 // of a text, where what is longer is refused
	if o.Truncate == TruncateError {
		limit = o.MaxTokens
	}
	if mark, ok := o.Pooling.Lines(); ok && in.Text == nil && e.causal {
		return x, e.lined(x, in, o, mark, limit)
	}
	texts, err := e.passages(in, o)
	if err != nil {
		return nil, err
	}
	segments := []tokenizer.Segment{{Text: 0}}
	switch {
	case len(texts) == 2:
		segments = e.Tokenizer.Pair()
	case texts[0].addSpecial:
		segments = e.Tokenizer.Single()
	}
	for _, s := range segments {
		if s.Text < 0 {
			x.append(s.IDs, regionSpecial, s.TypeID)
			continue
		}
		if err := x.appendPassage(e.Tokenizer, texts[s.Text], s.TypeID, limit); err != nil {
			return nil, err
		}
	}
	if !e.DoubleBOS {
		x.dropDoubled(e.bos)
	}
	x.begin(e.bos)
	e.end(x, in, o)
	return x, nil
}

// check refuses what no model can score: nothing, and tokens that it does not have.
func (e *Encoder) check(x *encoding) error {
	if len(x.ids) == 0 {
		return fmt.Errorf("%w: there is no token", ErrEmpty)
	}
	for i, id := range x.ids {
		if id < 0 || int(id) >= e.config.VocabSize {
			return fmt.Errorf("%w: %d at position %d, want 0 to %d", ErrTokenRange, id, i,
				e.config.VocabSize-1)
		}
	}
	return nil
}

// passages are the texts of an input, two for an encoder's pair, else one.
func (e *Encoder) passages(in Input, o EncodeOptions) ([]passage, error) {
	switch {
	case in.Text != nil:
		p := passage{addSpecial: !e.causal}
		if in.AddSpecial != nil {
			p.addSpecial = *in.AddSpecial
		}
		p.add(*in.Text, regionAnswer, o.PlainText)
		return []passage{p}, nil
	case in.Messages != nil && e.Template == nil:
		return nil, fmt.Errorf("%w: send prompt and response, text or input_ids", ErrNoTemplate)
	case in.Messages != nil:
		return e.rendered(in.Messages, o)
	case in.Prompt == nil:
		return nil, fmt.Errorf("%w: no messages, prompt, text or input_ids", ErrInput)
	case !e.causal:
		var a, b passage
		a.add(*in.Prompt, regionPrompt, o.PlainText)
		b.add(in.Response, regionAnswer, o.PlainText)
		return []passage{a, b}, nil
	case e.Template != nil:
		return e.rendered([]chat.Message{chat.NewMessage("user", *in.Prompt),
			chat.NewMessage("assistant", in.Response)}, o)
	}
	p := passage{addSpecial: e.Ending != model.EndOpenRLHF}
	p.add(*in.Prompt, regionPrompt, o.PlainText)
	p.add(in.Response, regionAnswer, o.PlainText)
	e.finish(&p, o)
	return []passage{p}, nil
}

// rendered is a conversation as one text that ends as the model's do.
func (e *Encoder) rendered(messages []chat.Message, o EncodeOptions) ([]passage, error) {
	p, err := e.conversation(messages, o)
	if err != nil {
		return nil, err
	}
	e.finish(&p, o)
	return []passage{p}, nil
}
