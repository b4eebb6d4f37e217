package api

import (
	"iter"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The modes of a request. ModeMember is a prefix: "member:seed-1".
const (
	ModeWA     = "wa"
	ModeEns    = "ens"
	ModeBoth   = "both"
	ModeMember = "member:"
)

// How the members of an ensemble become one reward. Std and var are the
// population's, over the members.
const (
	AggregateMean         = "mean"
	AggregateMin          = "min"
	AggregateMedian       = "median"
	AggregateMeanMinusStd = "mean_minus_std"
	AggregateMeanMinusVar = "mean_minus_var"
)

// What happens to text over the model's context.
const (
	TruncateError      = "error"
	TruncatePromptLeft = "prompt_left"
	TruncateLeft       = "left"
	TruncateRight      = "right"
)

// What a bad answer costs: the request, or itself alone.
const (
	OnErrorRequest = "request"
	OnErrorItem    = "item"
)

// What a request may ask to be returned beside the rewards.
const (
	ReturnMembers    = "members"
	ReturnTokens     = "tokens"
	ReturnAttributes = "attributes" // what a reward is made of, where a model has several outputs
	ReturnSteps      = "steps"      // the reward at the mark of each step, of models that read steps
	ReturnTrajectory = "trajectory" // the reward after every token
)

// DefaultLambda weighs the spread in mean_minus_std and mean_minus_var where a
// request gives no lambda: the value of Coste et al. (arXiv 2310.02743).
const DefaultLambda = 0.1

// RewardRequest is the body of POST /v1/reward. A zero field is left to the server.
type RewardRequest struct {
	Model              string   `json:"model,omitzero"`         // may be "" when one model is served
	Mode               string   `json:"mode,omitzero"`          // "" is the model's own default
	Aggregate          string   `json:"aggregate,omitzero"`     // "" is mean; only with ens and both
	Lambda             *float64 `json:"lambda,omitzero"`        // in [0, 1e6]; nil is DefaultLambda
	Truncate           string   `json:"truncate,omitzero"`      // "" is prompt_left
	ParseSpecial       *bool    `json:"parse_special,omitzero"` // nil is true, as transformers does
	OnError            string   `json:"on_error,omitzero"`      // "" is request
	Return             []string `json:"return,omitempty"`
	ChatTemplateKwargs Fields   `json:"chat_template_kwargs,omitempty"` // variables of the chat template, such as enable_thinking
	Inputs             []Input  `json:"inputs"`
}

// Input is what to score, in exactly one of five forms: Messages; Prompt with
// Response; Prompt with Responses; Text; InputIDs. The constructors of the same
// names make them.
type Input struct {
	Messages         []Message `json:"messages,omitempty"`
	Prompt           *Prompt   `json:"prompt,omitzero"`
	Response         *string   `json:"response,omitzero"`
	Responses        Responses `json:"responses,omitzero"` // nil is absent
	Text             *string   `json:"text,omitzero"`
	AddSpecialTokens *bool     `json:"add_special_tokens,omitzero"` // with Text alone; nil is false
	InputIDs         TokenIDs  `json:"input_ids,omitzero"`          // nil is absent

	// Fault is what was wrong with the input when it was read, where that does
	// not void the request; its Param is relative to the input. Such an input
	// has none of the forms.
	Fault *Error `json:"-"`
}

// Responses is a list of answers. It reads no null in the list: a missing
// answer must not be scored as an empty one.
type Responses []string

// TokenIDs is a list of token ids. It reads no null in the list: a missing id
// must not be scored as id 0.
type TokenIDs []int32

// Answers is an input of answers to one prompt, which is a user's text.
func Answers(prompt string, responses ...string) Input {
	return Input{Prompt: &Prompt{Text: prompt}, Responses: append(Responses{}, responses...)}
}

// Conversation is an input of messages, the last of them the assistant's.
func Conversation(messages ...Message) Input { return Input{Messages: messages} }

// Text is an input of text that carries its template already.
func Text(text string) Input { return Input{Text: &text} }

// Tokens is an input of token ids.
func Tokens(ids ...int32) Input { return Input{InputIDs: append(TokenIDs{}, ids...)} }

// Count returns how many answers in has, and so how many entries of the
// response are its own: at least one, which says what is wrong with an input
// that has none.
func (in *Input) Count() int { return max(1, len(in.Responses)) }

// Count returns how many answers r has.
func (r *RewardRequest) Count() int {
	n := 0
	for i := range r.Inputs {
		n += r.Inputs[i].Count()
	}
	return n
}

// bytes is how much text in has, with its prompt counted for each answer. A
// token id counts one, so that it is hardly ever below the number of tokens.
func (in *Input) bytes() int {
	n := len(in.InputIDs) + bytesOf(in.Messages)
	if in.Text != nil {
		n += len(*in.Text)
	}
	if in.Response != nil {
		n += len(*in.Response)
	}
	for _, r := range in.Responses {
		n += len(r)
	}
	if in.Prompt != nil {
		n += in.Count() * (len(in.Prompt.Text) + bytesOf(in.Prompt.Messages))
	}
	return n
}

func bytesOf(messages []Message) (n int) {
	for i := range messages {
		m := &messages[i]
		n += len(m.Content.Text)
		for _, p := range m.Content.Parts {
			n += len(p.Text)
		}
		for _, f := range m.Extra {
			n += len(f.Value)
		}
	}
	return n
}

// All ranges over the inputs.
func (r *RewardRequest) All() iter.Seq[*Input] {
	return func(yield func(*Input) bool) {
		for i := range r.Inputs {
			if !yield(&r.Inputs[i]) {
				return
			}
		}
	}
}

// Prompt is a user's text or, when Messages is not nil, the conversation up to
// the answer.
type Prompt struct {
	Text     string
	Messages []Message
}

// Message is one turn.
type Message struct {
	Role    string
	Content Content
	// Extra holds the other fields as they were sent, in their order: the chat
	// template may know them (tool_calls, reasoning_content, name).
	Extra []Field
}

// Field is one more field of a message.
type Field struct {
	Name  string
	Value jsontext.Value // valid JSON
}

// Content is what a message says: Text; or, when not nil, Parts; or nothing at
// all, as beside tool calls, when Null is true.
type Content struct {
	Text  string
	Parts []Part
	Null  bool
}

// Part is a piece of a message's content. Type is "text".
type Part struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// Says makes a message of plain text.
func Says(role, text string) Message { return Message{Role: role, Content: Content{Text: text}} }

// RewardResponse answers a RewardRequest.
type RewardResponse struct {
	ID         string   `json:"id"`
	Object     string   `json:"object"`  // "reward.list"
	Created    int64    `json:"created"` // Unix time, seconds
	Model      string   `json:"model"`
	Revision   string   `json:"revision"` // the one revision that scored all of Data
	Mode       string   `json:"mode"`     // the mode that answered
	Normalized bool     `json:"normalized"`
	Data       []Reward `json:"data"` // inputs in their order, the answers of each in theirs
	Usage      Usage    `json:"usage"`
}

// Reward is the reward of one answer. Rewards are finite, and written as the
// shortest decimal that reads back as the same float32.
//
// Of an answer that was refused alone (on_error: item) nothing but its place
// and Error is on the wire: there is no reward to take for one.
type Reward struct {
	Index     int            `json:"index"`  // in Data
	Input     int            `json:"input"`  // in the request's Inputs
	Answer    int            `json:"answer"` // in the input's Responses; 0 in the other forms
	Reward    float32        `json:"reward"`
	Tokens    int            `json:"tokens"`
	Truncated bool           `json:"truncated"`
	Ensemble  *float32       `json:"ensemble,omitzero"`  // mode both: the ensemble's reward
	Std       *float32       `json:"std,omitzero"`       // modes ens and both: the members' population standard deviation
	Members   []MemberReward `json:"members,omitempty"`  // mode both, and ens when asked for
	TokenIDs  TokenIDs       `json:"token_ids,omitzero"` // when asked for
	// AnswerTokens are, beside TokenIDs, the places in them of the answer's first token and of
	// that behind its last.
	AnswerTokens []int `json:"answer_tokens,omitempty"`
	Details
	Error *Error `json:"error,omitzero"` // why there is no reward; nil when there is
}

// refusedReward is what is written of a Reward with an Error.
type refusedReward struct {
	Index  int    `json:"index"`
	Input  int    `json:"input"`
	Answer int    `json:"answer"`
	Error  *Error `json:"error"`
}

// MarshalJSONTo writes a reward, or the error that there is in its place.
func (r Reward) MarshalJSONTo(enc *jsontext.Encoder) error {
	if r.Error != nil {
		return json.MarshalEncode(enc, refusedReward{r.Index, r.Input, r.Answer, r.Error})
	}
	type plain Reward
	return json.MarshalEncode(enc, plain(r))
}

// Details are what a request asks for of the model that Reward is of.
type Details struct {
	Attributes []Attribute `json:"attributes,omitempty"`
	Steps      []float32   `json:"steps,omitempty"`
	// Trajectory has the reward as it would be if the text ended after each token;
	// nil before the token that a gate reads.
	Trajectory []*float32 `json:"trajectory,omitempty"`
}

// Attribute is one value that a reward is made of.
type Attribute struct {
	Name  string  `json:"name"`
	Value float32 `json:"value"`
}

// MemberReward is the reward that one member of an ensemble gave.
type MemberReward struct {
	Name   string  `json:"name"`
	Reward float32 `json:"reward"`
}

// Usage counts the tokens of a request. Both numbers are the same: nothing is
// generated.
type Usage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

// Model describes a live model: an entry of GET /v1/models.
type Model struct {
	ID            string   `json:"id"`
	Object        string   `json:"object"`   // "model"
	Created       int64    `json:"created"`  // when this revision went live; Unix time, seconds
	OwnedBy       string   `json:"owned_by"` // "warmserve"
	Revision      string   `json:"revision"`
	Mode          string   `json:"mode"`  // of a request that names none
	Modes         []string `json:"modes"` // that a request may name
	Members       []string `json:"members"`
	Architecture  string   `json:"architecture"`
	Parameters    int64    `json:"parameters"` // of one member
	ContextLength int      `json:"context_length"`
	Pooling       string   `json:"pooling"` // which token is scored
	// Ending is how texts end, "" as the chat template has it. Head is the tensor of the score head
	// and, where that is more than one linear output, how the reward is made of its outputs;
	// Attributes are their names.
	Ending     string   `json:"ending,omitempty"`
	Returns    []string `json:"returns,omitempty"` // what Return may ask of its rewards: see RewardRequest.Details
	Head       string   `json:"head"`
	Attributes []string `json:"attributes,omitempty"`
	DType      string   `json:"dtype"`            // of the matrix products
	Device     string   `json:"device,omitempty"` // that computes, as in "cpu" and "cuda:0 NVIDIA H100"
	Normalized bool     `json:"normalized"`
	Aliases    []string `json:"aliases,omitempty"` // further names that requests may give it
	Sources    []string `json:"sources,omitempty"` // of members that came from a hub: the name and the commit
}

// ModelList is the body of GET /v1/models.
type ModelList struct {
	Object string  `json:"object"` // "list"
	Data   []Model `json:"data"`
}

// Status is the body of GET /livez and GET /readyz.
type Status struct {
	Status string   `json:"status"`           // "live" or "ready"
	Detail []string `json:"detail,omitempty"` // what is not as it should be, although the server is ready
}
