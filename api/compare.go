package api

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ReturnPairs asks POST /v1/compare for every pair's scores.
const ReturnPairs = "pairs"

// Aggregates are the ways in which an ensemble's members become one reward.
func Aggregates() []string {
	return []string{AggregateMean, AggregateMin, AggregateMedian, AggregateMeanMinusStd,
		AggregateMeanMinusVar}
}

// CompareRequest is the body of POST /v1/compare. A zero field is left to the server.
type CompareRequest struct {
	Model        string   `json:"model,omitzero"`
	Aggregates   []string `json:"aggregates,omitempty"`   // of the ensemble; empty is all of them
	Lambda       *float64 `json:"lambda,omitzero"`        // in [0, 1e6]; nil is DefaultLambda
	Truncate     string   `json:"truncate,omitzero"`      // "" is prompt_left
	ParseSpecial *bool    `json:"parse_special,omitzero"` // nil is true
	Return       []string `json:"return,omitempty"`       // ReturnPairs
	Pairs        []Pair   `json:"pairs"`
}

// Pair is two answers, one of which was preferred.
type Pair struct {
	ID       string     `json:"id,omitzero"` // returned with the pair's scores; need not be unique
	Prompt   *Prompt    `json:"prompt,omitzero"`
	Chosen   *Candidate `json:"chosen,omitzero"`
	Rejected *Candidate `json:"rejected,omitzero"`
}

// Candidate is an answer of a pair, in one of three forms, which the two
// answers share: Text, the answer to the pair's prompt; Messages, which follow
// the pair's prompt if there is one; Input, which is scored as it is.
type Candidate struct {
	Text     *string
	Messages []Message
	Input    *Input
}

// UnmarshalJSONFrom reads a string, a list of messages or an input.
func (c *Candidate) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*c = Candidate{}
	switch k := dec.PeekKind(); k {
	case '"':
		text, err := readString(dec)
		c.Text = &text
		return err
	case '[':
		c.Messages = []Message{}
		return json.UnmarshalDecode(dec, &c.Messages)
	case '{':
		c.Input = new(Input)
		return json.UnmarshalDecode(dec, c.Input)
	default:
		return skip(dec, k, "a string, a list of messages or an input")
	}
}

// MarshalJSONTo writes the form that c has.
func (c *Candidate) MarshalJSONTo(enc *jsontext.Encoder) error {
	switch {
	case c.Input != nil:
		return json.MarshalEncode(enc, c.Input)
	case c.Messages != nil:
		return json.MarshalEncode(enc, c.Messages)
	case c.Text != nil:
		return enc.WriteToken(jsontext.String(*c.Text))
	}
	return enc.WriteToken(jsontext.Null)
}

// DecodeCompareRequest reads the body of POST /v1/compare as
// [DecodeRewardRequest] reads its own.
func DecodeCompareRequest(body []byte) (*CompareRequest, error) {
	req := new(CompareRequest)
	if err := decode(body, req); err != nil {
		return nil, err
	}
	return req, nil
}

// Validate checks what can be known without a model, and that the pairs have at
// most maxSequences answers. Its errors are *[Error].
func (r *CompareRequest) Validate(maxSequences int) error {
	if err := r.checkWords(); err != nil {
		return err
	}
	switch {
	case r.Pairs == nil:
		return Errorf(CodeMissingField, "pairs", "pairs is missing")
	case len(r.Pairs) == 0:
		return Errorf(CodeEmptyInput, "pairs", "pairs is empty")
	case len(r.Pairs) > maxSequences/2:
		return Errorf(CodeTooManySequences, "pairs", "%d pairs, at most %d in one request", len(r.Pairs),
			maxSequences/2)
	}
	for i := range r.Pairs {
		if err := r.Pairs[i].check(); err != nil {
			return err.Under(fmt.Sprintf("pairs[%d]", i))
		}
	}
	return nil
}

func (r *CompareRequest) checkWords() *Error {
	if err := checkWords("aggregates", r.Aggregates, Aggregates()); err != nil {
		return err
	}
	if err := checkWords("return", r.Return, []string{ReturnPairs}); err != nil {
		return err
	}
	if err := checkLambda(r.Lambda); err != nil || r.Truncate == "" {
		return err
	}
	return checkWord("truncate", r.Truncate, truncations)
}

// form names the form of c; "" when it has none.
func (c *Candidate) form() string {
	switch {
	case c == nil:
		return ""
	case c.Input != nil:
		return "an input"
	case c.Messages != nil:
		return "messages"
	case c.Text != nil:
		return "a string"
	}
	return ""
}

func (p *Pair) check() *Error {
	chosen, rejected := p.Chosen.form(), p.Rejected.form()
	switch {
	case chosen == "":
		return Errorf(CodeMissingField, "chosen", "a pair needs a chosen answer")
	case rejected == "":
		return Errorf(CodeMissingField, "rejected", "a pair needs a rejected answer")
	case chosen != rejected:
		return Errorf(CodeConflictingFields, "rejected", "%s, and chosen is %s: want one form for both",
			rejected, chosen)
	case p.Chosen.Text != nil && p.Prompt == nil:
		return Errorf(CodeMissingField, "prompt",
			"answers that are strings need a prompt, which may be empty")
	case p.Chosen.Input != nil && p.Prompt != nil:
		return Errorf(CodeConflictingFields, "prompt", "answers that are inputs hold their own prompts")
	}
	if p.Prompt != nil {
		if err := p.Prompt.check(); err != nil {
			return err
		}
	}
	if err := p.Chosen.check(); err != nil {
		return err.Under("chosen")
	}
	if err := p.Rejected.check(); err != nil {
		return err.Under("rejected")
	}
	return nil
}

func (c *Candidate) check() *Error {
	switch {
	case c.Input != nil && c.Input.Responses != nil:
		return Errorf(CodeConflictingFields, "responses", "one side of a pair is one answer: want response")
	case c.Input != nil:
		return c.Input.Check()
	case c.Messages != nil:
		err := checkConversation(c.Messages)
		if err != nil {
			err.Param = strings.TrimPrefix(err.Param, "messages")
		}
		return err
	}
	return nil
}

// Inputs returns what is scored of a valid pair: one input of two answers, or
// two inputs, the chosen answer's first.
func (p *Pair) Inputs() []Input {
	switch {
	case p.Chosen.Input != nil:
		return []Input{*p.Chosen.Input, *p.Rejected.Input}
	case p.Chosen.Messages == nil:
		return []Input{{Prompt: p.Prompt, Responses: Responses{*p.Chosen.Text, *p.Rejected.Text}}}
	}
	var head []Message
	if p.Prompt != nil {
		if head = p.Prompt.Messages; head == nil {
			head = []Message{Says("user", p.Prompt.Text)}
		}
	}
	return []Input{Conversation(slices.Concat(head, p.Chosen.Messages)...),
		Conversation(slices.Concat(head, p.Rejected.Messages)...)}
}

// All ranges over the inputs of valid pairs.
func (r *CompareRequest) All() iter.Seq[*Input] {
	return func(yield func(*Input) bool) {
		for i := range r.Pairs {
			for _, in := range r.Pairs[i].Inputs() {
				if !yield(&in) {
					return
				}
			}
		}
	}
}

// CompareResponse answers a CompareRequest.
type CompareResponse struct {
	ID         string    `json:"id"`
	Object     string    `json:"object"` // "comparison"
	Created    int64     `json:"created"`
	Model      string    `json:"model"`
	Revision   string    `json:"revision"`
	Normalized bool      `json:"normalized"`
	Pairs      int       `json:"pairs"`
	Truncated  int       `json:"truncated"` // answers
	Lambda     float64   `json:"lambda"`
	Scorers    []Scorer  `json:"scorers"`          // wa, then the ensemble's aggregates, then the members
	Members    *Spread   `json:"members,omitzero"` // with an ensemble
	Data       []PairRow `json:"data,omitempty"`   // when asked for, in the order of the request
	Usage      Usage     `json:"usage"`            // of one scoring of all answers
}

// Scorer is what one way of scoring made of the pairs.
type Scorer struct {
	Name           string    `json:"name"` // "wa", "ens:mean", "member:seed-1"
	Accuracy       Estimate  `json:"accuracy"`
	Wins           int       `json:"wins"`
	Ties           int       `json:"ties"` // no wins
	Losses         int       `json:"losses"`
	TiesAsHalf     float64   `json:"accuracy_ties_as_half"`
	MeanMargin     float64   `json:"mean_margin"`
	ComputeSeconds float64   `json:"compute_seconds"` // of the batches; an ensemble's is its members' together
	AgainstWA      *Contrast `json:"against_wa,omitzero"`
}

// Contrast sets a scorer against the weight average on the same pairs.
type Contrast struct {
	AccuracyDifference     Estimate  `json:"accuracy_difference"` // wa's less the scorer's
	McNemarP               float64   `json:"mcnemar_p"`
	Agreement              Estimate  `json:"agreement"` // of their preferences
	Pearson                *Estimate `json:"pearson"`   // null where one of the two is constant
	Spearman               *Estimate `json:"spearman"`
	Kendall                *Estimate `json:"kendall"`
	MeanAbsoluteDifference float64   `json:"mean_absolute_difference"` // of the rewards
	Cost                   float64   `json:"cost"`                     // the scorer's compute seconds over wa's
}

// Estimate is a figure with its 95 % interval.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Spread says how much members differ from each other.
type Spread struct {
	MeanStd   float64  `json:"mean_std"`  // of the members' population standard deviations, over all answers
	Unanimous Estimate `json:"unanimous"` // the share of pairs on which all members prefer the same answer
}

// PairRow is the scores of one pair, by the scorers in their order.
type PairRow struct {
	Index    int       `json:"index"`
	ID       string    `json:"id,omitzero"`
	Chosen   []float32 `json:"chosen"`
	Rejected []float32 `json:"rejected"`
}
