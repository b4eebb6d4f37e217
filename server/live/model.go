package live

import (
	"context"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
)

// Model is one revision of a model under a name. It does not
// change, and its methods are called from many goroutines at once.
type Model interface {
	// Info describes the model, the same at each call.
	Info() Info

	// Prepare turns an input into what is scored, one entry for each of its
	// answers, in their order: template, tokens, truncation. in has passed
	// RewardRequest.Validate, so it has exactly one form.
	//
	// What is wrong with the input is an *api.Error whose Param is relative to
	// the input ("messages[2]", "input_ids[7]"): token_out_of_range, too_long,
	// unsupported_input, template_error, empty_input. Any other error is the
	// server's fault, is logged, and so holds no text of the input.
	Prepare(in *api.Input, o PrepareOptions) ([]Prepared, error)

	// Lane returns the queue's lane for scores of the weight average (name
	// api.ModeWA) or of one member (api.ModeMember and its name). It is called
	// only for names that follow from Info: api.ModeWA when Modes has it or
	// "both", a member's when Modes has "ens", "both" or the member itself. A
	// name has the same lane at each call.
	Lane(name string) (*batch.Lane, error)

	// Aggregate makes the ensemble's reward of its members', which are in the
	// order of Info.Members, and returns their population standard deviation.
	// how is one of the api.Aggregate words.
	Aggregate(members []float32, how string, lambda float64) (reward, std float64, err error)
}

// Vocabulary is a Model that shows its tokeniser.
type Vocabulary interface {
	// Tokenize splits text, special tokens written out in it included. An
	// *api.Error says that there is no tokeniser (unsupported_input).
	Tokenize(text string, addSpecial bool) ([]Token, error)
	// Detokenize joins ids to text. Besides Tokenize's, its error is an
	// *api.Error of token_out_of_range, whose Param is "[i]".
	Detokenize(ids []int32, skipSpecial bool) (string, error)
}

// Sizer is a Model that knows what reading an input takes at the most.
type Sizer interface {
	// PrepareSize bounds the bytes that Prepare takes for in beside its text and
	// what it returns. It is quick, as a scan of the text is.
	PrepareSize(in *api.Input) int64
}

// Prober is a Model that reads its reward at tokens of its own, which the token ids
// that it is probed with must have.
type Prober interface {
	// ProbeTokens are those, in their order; nil for none.
	ProbeTokens() []int32
}

// Textual is a Model that may score the tokens of texts alone, and is probed with no others then.
type Textual interface {
	Textual() bool
}

// Describer is a Model that says what its rewards are made of. The words are those
// of api.RewardRequest.Details.
type Describer interface {
	// AskCost says how many bytes the answer takes more for what is wanted of it, or
	// with an *api.Error about "return" that the model does not have it.
	AskCost(p *Prepared, want []string) (int64, error)
	// Ask makes room in the sequence of p, which is then scored on one lane, for
	// what is wanted.
	Ask(p *Prepared, want []string)
	// Details returns it, of p as it was scored on the lane of that name.
	Details(p *Prepared, lane string, want []string) api.Details
}

// Activator is a Model that answers only once it has taken the place of what is on its
// device, which has room for one: the live revision is drained for it after it was built,
// and requests are held meanwhile.
type Activator interface {
	// Activate takes the place, and is called once before anything is scored. After an
	// error what was there before may be gone. ctx and progress are as for Builder.Build.
	Activate(ctx context.Context, progress func(doing string, share float64)) error
}

// Settler is a Model that prepares itself for a long time of answers when it goes live, which
// would only be in the way of what is asked of it before: nobody waits for that.
type Settler interface {
	// Settle begins it, and returns at once. It is called once, before Close if at all.
	Settle()
}

// Troubled is a Model that knows whether it can be scored now.
type Troubled interface {
	// Trouble says for people why not; "" when it can. It is quick.
	Trouble() string
}

// Closer is a Model that holds what the collector does not take, such as the memory
// of a card. Close is called once when nobody holds the model any more, also for one
// that never was live. Batches that nobody waits for may still be computed.
type Closer interface{ Close() }

// Token is one token of a text.
type Token struct {
	ID      int32
	Text    string // by itself, which may be part of a character
	Special bool
}

// PrepareOptions is what a request says about how its inputs are read.
type PrepareOptions struct {
	Truncate     string // one of the api.Truncate words, never ""
	ParseSpecial bool   // whether special tokens written out in the text become tokens

	// What only requests of other stacks say; the native route leaves it zero.

	Pooling   string // which token is scored, in the words of Info.Pooling; "" is the model's own rule
	MaxTokens int    // the length from which is truncated, where that is below the context; 0 is the context
	Chat      ChatOptions
}

// ChatOptions is what a request says about how its messages become text.
type ChatOptions struct {
	AddSpecial          bool        // the tokeniser adds its special tokens to the template's
	AddGenerationPrompt bool        // the template opens a further answer
	ContinueFinal       bool        // the text ends with the last message's content, without an end of turn
	Variables           []api.Field // of the template
}

// Prepared is one answer, ready to be scored. Its tokens are Sequence.IDs.
type Prepared struct {
	Sequence  batch.Sequence
	Truncated bool
	// The answer's tokens are Sequence.IDs[AnswerFrom:AnswerTo].
	AnswerFrom, AnswerTo int
}

// Builder makes models of what they are made of. The server gives it one model
// to build at a time.
type Builder interface {
	// Check reports what is wrong with a spec that passed ModelSpec.Validate,
	// as far as that can be known without opening a file.
	Check(spec *api.ModelSpec) error
	// Build loads the model that spec describes and calls it name. It tells
	// progress, from any goroutine, what it is doing and how much of that is
	// done, in [0, 1]. It may return early once ctx has ended. Its error may
	// name files: administrators read it.
	Build(
		ctx context.Context, name string, spec *api.ModelSpec, progress func(doing string, share float64),
	) (Model, error)
	// Pairs reads the file of preference pairs of a spec's guard. Each pair is as
	// CompareRequest.Validate has it. The error may name files, lines and fields,
	// and holds no text of a pair.
	Pairs(path string) ([]api.Pair, error)
}
